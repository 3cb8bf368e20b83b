"""The generators that are compared: how each holds the same chats."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
ARTILLERY = Path(__file__).parent / "node_modules/artillery/bin/run"


@dataclass(frozen=True)
class Work:
    """What a generator is to do. chats begin evenly over ramp_s, and are held for hold_s more; interval_s between two
    refreshes of one, 0 is back to back. connections: shared by all, 0 is one each."""

    chats: int
    ramp_s: float
    hold_s: float
    interval_s: float
    connections: int = 0
    ca_file: str = ""

    @property
    def seconds(self) -> float:
        """From the first chat on."""
        return self.ramp_s + self.hold_s


@dataclass(frozen=True)
class Generator:
    """One of them. most: chats worth trying (it fails before); command: of (folder, url, work)."""

    name: str
    command: Callable[[Path, str, Work], list[object]]
    missing: Callable[[], str] = field(default=lambda: "")
    is_ours: bool = False

    def env(self, folder: Path, url: str, work: Work) -> dict[str, str]:
        """What its script reads."""
        return {
            "BENCH_HOST": url, "BENCH_CHATS": str(work.chats), "BENCH_RAMP": f"{max(work.ramp_s, 1):g}",
            "BENCH_INTERVAL": f"{work.interval_s:g}", "BENCH_SECONDS": f"{work.seconds:g}",
            "BENCH_PAUSES": str(folder / "pauses"), "ARTILLERY_DISABLE_TELEMETRY": "true", "K6_NO_USAGE_REPORT": "true",
            "PYTHONPATH": os.pathsep.join((str(PEERS.parent.parent), str(PEERS))),
        }  # fmt: skip


def _locust(script: str, *options: object) -> Callable[[Path, str, Work], list[object]]:
    def command(folder: Path, url: str, work: Work) -> list[object]:
        rate = max(1, round(work.chats / work.ramp_s)) if work.ramp_s else work.chats
        return [
            sys.executable, "-m", "locust", "-f", PEERS / script, "--headless", "-u", work.chats, "-r", rate,
            "--host", url, "-t", f"{round(work.seconds) + 60}s", *options,
        ]  # fmt: skip

    return command


def _ours(*options: object) -> Callable[[Path, str, Work], list[object]]:
    def command(folder: Path, url: str, work: Work) -> list[object]:
        more = ["--connections", work.connections] if work.connections else []
        more += ["--ca-file", work.ca_file] if work.ca_file else []
        interval = work.interval_s or 1e-6
        return [
            *_locust("ours.py", *options)(folder, url, work), "--flex-disconnect-timeout", 600,
            "--refresh-interval", f"{interval:.7f}", "--chat-length", 36000, "--run-dir", folder / "run", *more,
        ]  # fmt: skip

    return command


def _k6(folder: Path, url: str, work: Work) -> list[object]:
    return [_binary("k6"), "run", "--quiet", "--no-usage-report", "--address", "", PEERS / "k6.js"]


def _artillery(folder: Path, url: str, work: Work) -> list[object]:
    return ["node", ARTILLERY, "run", "--quiet", PEERS / "artillery.yml"]


def _binary(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or ""


OURS = Generator("chatload", _ours(), is_ours=True)
OURS_REQUESTS = Generator("chatload, requests", _ours("--transport", "requests"), is_ours=True)
NAIVE = Generator("Locust HttpUser", _locust("naive.py"))
FAST = Generator("Locust FastHttpUser", _locust("fast.py"))
K6 = Generator("k6", _k6, lambda: "" if _binary("k6") else "k6 is not installed")
ARTILLERY_PEER = Generator("artillery", _artillery, lambda: "" if ARTILLERY.exists() else "artillery is not installed")
EVERY = (OURS, OURS_REQUESTS, FAST, NAIVE, K6, ARTILLERY_PEER)
