"""Writes report.html of an ended run in a process of its own: drawing it takes seconds, and another run may go on."""

import sys
from pathlib import Path

import gevent
from gevent import subprocess

from chatload.swarm import log

#: The page of a million sessions is drawn within this time (seconds) on a slow machine.
_LIMIT_S = 300.0


class ReportProcess:
    """The process that writes the page of one run. page: its file. It starts at once, and logs a failure."""

    def __init__(self, run_dir: Path) -> None:
        self.page = run_dir / "report.html"
        self._writing = gevent.spawn(self._write, run_dir)

    def wait(self) -> bool:
        """Return whether the page was written, once it is known."""
        return bool(self._writing.get())

    def _write(self, run_dir: Path) -> bool:
        command = [sys.executable, "-m", "chatload.features.report.page", str(run_dir)]
        try:
            # In a session of its own: a Ctrl-C that ends the generator must not end it.
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                errors="replace", timeout=_LIMIT_S, start_new_session=True, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
        else:
            if done.returncode == 0:
                log.info("chatload: report: %s", self.page)
                return True
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        log.warning("chatload: report.html was not written (%s); `chatload report %s` writes it", why, run_dir)
        return False
