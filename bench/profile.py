"""Where the CPU of a Python generator goes: its stacks, sampled by py-spy from outside."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.processes import running
from bench.work import Work

FILE = "stacks.txt"
#: A tool has begun by then (seconds).
BEGIN_S = 5.0
_SAMPLES_PER_S = 200
#: Parts of the generator, each the files its innermost known frame is in. The first that a stack has counts.
PARTS = {
    "store": ("chatload/store/", "swarm/recorder.py", "sqlite3"),
    "books": ("session/books.py", "session/record.py", "swarm/facts.py"),
    "histograms": ("session/histogram.py",),
    "Locust's statistics": ("swarm/tally.py", "locust/stats.py"),
    "engine": ("chatload/session/", "swarm/driver.py"),
    "protocol": ("chatload/protocol/",),
    "transport": ("chatload/swarm/",),
}
#: The parts that the goal is about.
BOOKKEEPING = ("store", "books", "histograms")


def record(stack: ExitStack, pid: int, work: Work, folder: Path, core: int) -> None:
    """Begin to sample a process; it is over before the steady part is."""
    command = [
        *(str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(pid), "--format", "raw"),
        *("--full-filenames", "--rate", str(_SAMPLES_PER_S), "--duration", str(max(1, int(work.steady_s) - 3))),
        *("--output", str(folder / FILE)),
    ]
    stack.enter_context(running(command, core, folder / "py-spy.txt"))


def shares(file: Path) -> dict[str, Any] | None:
    """The parts' shares in the samples of a profile; None where there is none."""
    return None if not file.exists() else count(file.read_text().splitlines())


def count(lines: Iterable[str]) -> dict[str, Any] | None:
    """Shares of PARTS in stacks, outermost frame first, `frame;frame count`: of the innermost frame that is in one."""
    found, total = dict.fromkeys([*PARTS, "other"], 0), 0
    for line in lines:
        frames, _, number = line.rpartition(" ")
        if not number.isdigit():
            continue
        total += int(number)
        found[_part(frames)] += int(number)
    return {"samples": total, "shares": {part: n / total for part, n in found.items()}} if total else None


def _part(frames: str) -> str:
    for frame in reversed(frames.split(";")):
        for part, files in PARTS.items():
            if any(file in frame for file in files):
                return part
    return "other"
