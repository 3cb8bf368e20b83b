"""Runs test files on request, each in a forked child: what takes long to import is imported once.

Reads one request a line from standard input, {"tests": [...], "limits_s": [...]}, and answers it in one line. Nothing
of chatload may be imported here: the children import it from the copy that they are to test.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

#: What test files and chatload import that is not of this project.
_PRELOADED = (
    "click", "hypothesis.strategies", "jinja2", "numpy", "orjson", "pytest", "requests", "rich.table", "scipy.optimize",
    "scipy.special", "scipy.stats", "sqlite3", "unittest.mock", "xml.etree.ElementTree",
)  # fmt: skip
#: Data segment of a child at most: a mutant that allocates without end is stopped by this (bytes).
_MEMORY = 4 * 1024**3
#: A child that does not end is killed after this many times its CPU limit of wall time, as others may use the machine.
_WALL = 10
_LOOK_S = 0.02
_OUTPUT, _SCRATCH = Path(".output"), Path(".scratch")


@dataclass(frozen=True)
class Result:
    """How test files ended, run in order up to the first that fails.

    failed: that file, "" if all passed. timed_out: it used more CPU than it may, or did not end. cpu_s: CPU seconds of
    all, per file. output: the last lines of the file that failed.
    """

    failed: str
    timed_out: bool
    cpu_s: dict[str, float]
    output: str


def serve() -> None:
    """Answer requests until standard input ends."""
    for module in _PRELOADED:
        importlib.import_module(module)
    _set_up_hypothesis()
    for line in sys.stdin:
        request = json.loads(line)
        result = _run(list(zip(request["tests"], request["limits_s"], strict=True)))
        print(json.dumps(asdict(result)), flush=True)


def _set_up_hypothesis() -> None:
    """The same examples every time, and no search for simpler ones: that one fails is all that is asked."""
    from hypothesis import Phase, settings

    settings.register_profile("mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")


def _run(tests: list[tuple[str, float]]) -> Result:
    cpu_s: dict[str, float] = {}
    for test, limit_s in tests:
        status, cpu_s[test] = _run_file(test, limit_s)
        if status != 0:
            timed_out = status in (-signal.SIGXCPU, -signal.SIGKILL)
            last = "\n".join(_OUTPUT.read_text(errors="replace").splitlines()[-6:])
            return Result(test, timed_out, cpu_s, last)
    return Result("", False, cpu_s, "")


def _run_file(test: str, limit_s: float) -> tuple[int, float]:
    """Exit status (negative: the signal that ended it) and CPU seconds of one file's tests."""
    shutil.rmtree(_SCRATCH, ignore_errors=True)
    child = os.fork()
    if child == 0:
        _be_child(test, limit_s)
    ended, until = 0, time.monotonic() + _WALL * limit_s
    while not ended:
        if time.monotonic() > until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        time.sleep(_LOOK_S)
        ended, status, usage = os.wait4(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what the tests started and left running
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _be_child(test: str, limit_s: float) -> None:
    """Run pytest on one file, and end."""
    os.setsid()
    with _OUTPUT.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    seconds = max(1, round(limit_s))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    status = 1
    try:
        import pytest

        options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", f"--basetemp={_SCRATCH}"]
        status = int(pytest.main([*options, test]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
