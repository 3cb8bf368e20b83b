"""Where chatload's CPU time goes, by py-spy's samples of a process that holds chats."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.generators import OURS, Work
from bench.machine import GENERATOR_CORE, Child
from bench.server import scratch, serving

#: Parts of the code, by what a stack has in it; the first that fits.
PARTS = {
    "store, books and histograms": (
        "/chatload/store/", "/chatload/session/books.py", "/chatload/session/histogram.py", "/chatload/swarm/facts.py",
        "/chatload/swarm/recorder.py", "/chatload/swarm/wire.py", "/chatload/swarm/crew.py",
        "/chatload/session/timeline.py",
    ),
    "Locust's statistics": ("/chatload/swarm/tally.py", "/locust/stats.py"),
    "transport": ("/chatload/swarm/connection.py", "/chatload/swarm/lean.py", "/chatload/swarm/http_answer.py"),
    "waiting": ("/chatload/swarm/parking.py",),
    "engine": ("/chatload/session/", "/chatload/protocol/"),
    "driver": ("/chatload/swarm/",),
}  # fmt: skip
_IDLE = ("gevent/_threading.py", "threadpool.py")


def share_of_books(seconds: float, chats: int) -> dict[str, Any]:
    """The parts of a process's samples, while it holds chats and they end and begin all the while."""
    with scratch() as name, serving(Path(name)) as server:
        folder = Path(name)
        # A chat a minute, so that the store has rows to write.
        work = Work(chats, max(1.0, chats / 1000), seconds, 1.0)
        command = [*OURS.command(folder, server.url, work), "--chat-length", 60]
        with Child(command, GENERATOR_CORE, folder / "generator.log", OURS.env(folder, server.url, work)) as child:
            child.wait_for(lambda: server.live() >= 0.9 * chats, 60)
            raw = folder / "profile"
            spy = Path(sys.executable).parent / "py-spy"
            taken = subprocess.run(
                [spy, "record", "-d", str(round(seconds)), "-r", "250", "-f", "raw", "--full-filenames", "-o", raw,
                 "--pid", str(child.pid)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if taken.returncode:
                return {"failed": taken.stderr[-300:], "parts": {}}
            return {"chats": chats, "parts": parts(raw.read_text(encoding="utf-8")), "failed": ""}


def parts(raw: str) -> dict[str, float]:
    """py-spy's raw stacks as parts of 1."""
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if any(idle in stack for idle in _IDLE):
            continue
        found[_part(stack.split(";"))] += int(count)
    total = found.total()
    return {part: count / total for part, count in found.most_common()} if total else {}


def _part(frames: list[str]) -> str:
    """By the innermost frame that is of a part; books win wherever they are in a stack."""
    books = PARTS["store, books and histograms"]
    if any(each in frame for frame in frames for each in books):
        return "store, books and histograms"
    for frame in reversed(frames):
        for part, names in PARTS.items():
            if any(each in frame for each in names):
                return part
    return "gevent and Locust"
