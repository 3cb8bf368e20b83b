"""The server of every measure: chatload's own simulator, alone on a core, without agents: nothing but the polls."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from bench.machine import SERVER_CORE, Child

#: Nobody is dropped in a benchmark, and nobody speaks.
OPTIONS = ("--port", "0", "--flex-disconnect-timeout", "600", "--no-agents", "--idle-alert", "0")
POLL = "GetMessages"


class Server:
    """The simulator, as it runs."""

    def __init__(self, child: Child, url: str) -> None:
        self.child, self.url = child, url

    def get(self, path: str) -> bytes:
        context = ssl._create_unverified_context() if self.url.startswith("https") else None
        with urllib.request.urlopen(self.url + path, timeout=120, context=context) as answer:
            body: bytes = answer.read()
        return body

    def live(self) -> int:
        """Chats that are alive."""
        return int(json.loads(self.get("/simulator/status"))["live_sessions"])

    def polls(self) -> list[list[float]]:
        """The instants of the polls of every chat, on this machine's monotonic clock."""
        rows = (json.loads(line) for line in self.get("/simulator/ledger").splitlines())
        return [[at for at, operation, *_ in row["contacts"] if operation == POLL] for row in rows]


@contextmanager
def serving(folder: Path, *options: object) -> Iterator[Server]:
    """A simulator that serves."""
    command = [sys.executable, "-m", "chatload", "simulator", *OPTIONS, *options]
    with Child(command, SERVER_CORE, folder / "server.log") as child:
        line = child.wait_for(lambda: "listening on" in child.said() and child.said(), 20)
        yield Server(child, line.partition("listening on ")[2].split()[0])


def within(polls: list[list[float]], start: float, end: float) -> int:
    """How many polls came from one instant to another."""
    return sum(start <= at < end for chat in polls for at in chat)


def gap_errors(polls: list[list[float]], start: float, end: float, interval_s: float) -> list[float]:
    """By how much the time between two polls of a chat missed the interval, seconds; of all in a stretch of time."""
    errors = []
    for chat in polls:
        inside = [at for at in chat if start <= at < end]
        errors += [abs(later - earlier - interval_s) for earlier, later in pairwise(inside)]
    return errors


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    made, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for one run."""
    return tempfile.TemporaryDirectory(prefix="chatload-bench-", ignore_cleanup_errors=True)
