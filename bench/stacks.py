"""Where the CPU of a Python generator goes: its stacks, sampled by py-spy from outside.

It says what to look at, and proves no share: a function that is over in a microsecond has often returned before its
stack is read, and the sample is lost; and what the engine books by itself is the engine's.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
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
_BEFORE_PACKAGE = re.compile(r"^.*/(?:site-packages/|python3\.\d+/|(?=chatload/))")
#: So many functions are told of.
_FUNCTIONS = 45
#: Parts of the generator, each the files its innermost known frame is in. The first that a stack has counts.
PARTS = {
    "store": ("chatload/run/writer.py", "chatload/run/windows.py", "swarm/coordinator.py", "sqlite3"),
    "books": ("run/books.py", "chat/record.py", "swarm/worker_report.py"),
    "histograms": ("run/histogram.py",),
    "Locust's statistics": ("swarm/patches/request_statistics.py", "locust/stats.py"),
    "engine": ("chatload/chat/", "swarm/driver.py"),
    "protocol": ("chatload/protocol/",),
    "transport": ("chatload/transport/", "chatload/swarm/"),
}


def record(stack: ExitStack, pid: int, work: Work, folder: Path, core: int) -> None:
    """Begin to sample a process; it is over before the steady part is."""
    command = [
        *(str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(pid), "--format", "raw"),
        # A process that is stopped to be looked at is found at its system calls more often than it is there.
        *("--threads", "--nonblocking", "--full-filenames", "--rate", str(_SAMPLES_PER_S)),
        *("--duration", str(max(1, int(work.steady_s) - 3))),
        *("--output", str(folder / FILE)),
    ]
    stack.enter_context(running(command, core, folder / "py-spy.txt"))


def shares(file: Path) -> dict[str, Any] | None:
    """The parts' shares in the samples of a profile; None where there is none."""
    return None if not file.exists() else count(file.read_text().splitlines())


def count(lines: Iterable[str]) -> dict[str, Any] | None:
    """Shares in stacks, `thread;outermost frame;...;innermost frame count`, of the thread that has most of them.

    shares: of PARTS, a stack belonging to its innermost frame that is in one. functions: of the innermost frames
    alone, the greatest first.
    """
    threads: dict[str, list[tuple[list[str], int]]] = {}
    for line in lines:
        stack, _, number = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if frames and number.isdigit():
            threads.setdefault(thread, []).append((frames, int(number)))
    if not threads:
        return None
    # Threads that wait for work have samples too.
    stacks = max(threads.values(), key=lambda each: sum(n for _, n in each))
    total = sum(n for _, n in stacks)
    parts, functions = dict.fromkeys([*PARTS, "other"], 0), Counter[str]()
    for frames, n in stacks:
        parts[_part(frames)] += n
        functions[_function(frames[-1])] += n
    return {
        "samples": total,
        "shares": {part: n / total for part, n in parts.items()},
        "functions": {name: n / total for name, n in functions.most_common(_FUNCTIONS)},
    }


def text(profile: dict[str, Any]) -> str:
    """A profile to be read: its parts, and the functions that took most themselves."""
    lines = [f"{profile['samples']} samples of the stack, back to back, 64 chats (see docs/bench.md)", ""]
    for title, found in (("part", profile["shares"]), ("function, without what it calls", profile["functions"])):
        lines += [f"  share  {title}", *(f"{100 * share:6.2f} %  {name}" for name, share in found.items()), ""]
    return "\n".join(lines)


def _function(frame: str) -> str:
    """`name (path:line)` without the line, and from the package on."""
    name, _, place = frame.rpartition(" (")
    return f"{name}  {_BEFORE_PACKAGE.sub('', place.rpartition(':')[0])}"


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        for part, files in PARTS.items():
            if any(file in frame for file in files):
                return part
    return "other"
