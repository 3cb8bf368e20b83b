"""What is measured, and the goals of each."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import generators as g
from bench.generators import Generator, Work
from bench.machine import GENERATOR_CORE, Child
from bench.runs import Result, run
from bench.server import Server, certificate, scratch, serving
from bench.share import share_of_books

_BASE = "/genesys/2/chat/default"
INTERVAL_S = 5.0


@dataclass(frozen=True)
class Scale:
    """How much is done. rungs: chats held, by generator; part: all of them times this."""

    repeat: int = 3
    closed_s: float = 8.0
    hold_s: float = 26.0
    part: float = 1.0

    def chats(self, chats: int) -> int:
        return max(20, round(self.part * chats))

    def ramp_s(self, chats: int) -> float:
        """A thousand chats a second, as fast as the slowest of the peers could."""
        return max(1.0, chats / 1000)


Told = Callable[[str], None]
Rows = list[dict[str, Any]]

RUNGS: dict[str, tuple[int, ...]] = {
    g.OURS.name: (1000, 5000, 10000, 19000),
    g.OURS_REQUESTS.name: (1000,),
    g.FAST.name: (1000, 5000),
    g.NAIVE.name: (1000,),
    g.K6.name: (1000, 5000, 10000),
    g.ARTILLERY_PEER.name: (1000, 3000, 5000),
}
SHARED = ((20000, 1000), (40000, 1000), (60000, 1000), (50000, 1000))


def closed_loop(scale: Scale, tell: Told) -> Rows:
    """Refreshes a second of one core, 64 connections back to back, all accounting on."""
    rows: Rows = []
    work = Work(64, 1.0, scale.closed_s, 0.0)
    for turn in range(scale.repeat):
        for generator in g.EVERY:
            tell(f"closed loop, {generator.name}, {turn + 1} of {scale.repeat}")
            rows.append(run(generator, work).to_dict())
        tell(f"closed loop, wrk, {turn + 1} of {scale.repeat}")
        rows.append(_wrk(scale.closed_s).to_dict())
    return rows


def held(scale: Scale, tell: Told) -> Rows:
    """Chats held by one process, a connection each, refreshed every 5 s."""
    return [_held(generator, chats, scale, tell) for generator in g.EVERY for chats in RUNGS[generator.name]]


def shared(scale: Scale, tell: Told) -> Rows:
    """chatload over shared connections."""
    rows = []
    for chats, connections in SHARED:
        rows.append(_held(g.OURS, chats, scale, tell, connections=connections, ramp_s=scale.chats(chats) / 1500))
    return rows


def base(scale: Scale, tell: Told) -> Rows:
    """What each process takes with hardly a chat: memory a chat is counted from there."""
    rows = []
    for generator in g.EVERY:
        tell(f"memory without chats, {generator.name}")
        rows.append(run(generator, Work(1, 0.0, 8.0, INTERVAL_S)).to_dict())
    return rows


def tls(scale: Scale, tell: Told) -> Rows:
    """What beginning a chat over TLS takes: CPU and memory more than without."""
    rows: Rows = []
    with scratch() as name:
        made, key = certificate(Path(name))
        for generator in (g.OURS, g.FAST):
            for ca_file, options in (("", ()), (str(made), ("--tls-cert", made, "--tls-key", key))):
                tell(f"TLS, {generator.name}, {'with' if ca_file else 'without'}")
                chats = scale.chats(1000)
                # Nothing is refreshed in the while: what is used goes into the starts.
                work = Work(chats, 4.0, 8.0, 300.0, ca_file=ca_file)
                row = run(generator, work, *options).to_dict()
                rows.append({**row, "tls": bool(ca_file)})
    return rows


def store(scale: Scale, tell: Told) -> Rows:
    """The part of books, histograms and store in the CPU of chatload."""
    tell("books and store")
    return [share_of_books(scale.hold_s / 2, scale.chats(5000))]


def _held(generator: Generator, chats: int, scale: Scale, tell: Told, **more: Any) -> dict[str, Any]:
    chats = scale.chats(chats)
    tell(f"{chats} held, {generator.name}{', shared connections' if more else ''}")
    work = replace(Work(chats, scale.ramp_s(chats), scale.hold_s, INTERVAL_S), **more)
    return run(generator, work).to_dict()


def _wrk(seconds: float) -> Result:
    result = Result("wrk", 64)
    if not shutil.which("wrk"):
        result.failed = "wrk is not installed"
        return result
    with scratch() as name, serving(Path(name)) as server:
        chats = Path(name) / "chats"
        chats.write_text("".join(_lines(server, 64)), encoding="ascii")
        script = Path(__file__).parent / "server_refresh.lua"
        command = ["wrk", "-t1", "-c64", f"-d{round(seconds)}s", "-s", script, server.url]
        began = time.monotonic()
        with Child(command, GENERATOR_CORE, Path(name) / "wrk.log", {"CHATS": str(chats)}) as child:
            while not child.over:
                time.sleep(0.1)
            said = json.loads(child.said().partition("RESULT ")[2])
            span = child.watch.span(began, began + seconds)
            served = server.child.watch.span(began, began + seconds)
    result.refreshes = said["requests"]
    result.per_s = said["requests"] / said["duration_us"] * 1e6
    result.cpu, result.cpu_us = span.cpu, 1e6 * span.cpu / result.per_s
    result.server_cpu, result.noise = served.cpu, span.noise or served.noise
    return result


def _lines(server: Server, count: int) -> Iterable[str]:
    """Chats that are there, as server_refresh.lua reads them."""
    for _ in range(count):
        data = urllib.parse.urlencode({"nickname": "wrk", "subject": "bench"}).encode()
        with urllib.request.urlopen(server.url + _BASE, data) as answer:
            chat = json.loads(answer.read())
        keys = {name: chat[name] for name in ("userId", "secureKey", "alias")}
        body = urllib.parse.urlencode({**keys, "transcriptPosition": chat["nextPosition"]})
        yield f"{_BASE}/{chat['chatId']}/refresh {body}\n"


EVERY: dict[str, Callable[[Scale, Told], Rows]] = {
    "closed_loop": closed_loop,
    "base": base,
    "held": held,
    "shared": shared,
    "tls": tls,
    "store": store,
}


def commit() -> str:
    """What was measured."""
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
