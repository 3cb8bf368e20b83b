"""One generator at one work: what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.generators import Generator, Work
from bench.machine import GENERATOR_CORE, Child, quantile
from bench.server import Server, gap_errors, scratch, serving, within
from chatload.session.histogram import Histogram
from chatload.store.reader import RunReader

#: How long a generator may take until its first chat, and what a hurried one may take longer for its ramp (seconds).
_START_S, _RAMP_GRACE_S = 90.0, 60.0
_SETTLE_S = 2.0


@dataclass
class Result:
    """What one run showed. Seconds, bytes, parts of a core; None is not known.

    refreshes: in the steady stretch, as the server's ledger has them. gap: quantiles of the error of the time between
    two polls of a chat, at the server; late, late_ramp: of chatload's own lateness, steady and from the first chat on.
    start_cpu_s: CPU from the first chat until all were there.
    pause, pause_ramp: the worst stand-still of the process. noise: why the figures are not to be believed.
    """

    generator: str
    chats: int
    held: int = 0
    refreshes: int = 0
    per_s: float = 0.0
    cpu: float = 0.0
    cpu_us: float = 0.0
    waited: float = 0.0
    server_cpu: float = 0.0
    start_cpu_s: float = 0.0
    rss: int = 0
    gap: dict[str, float] | None = None
    late: dict[str, float] | None = None
    late_ramp: dict[str, float] | None = None
    pause: float | None = None
    pause_ramp: float | None = None
    noise: str = ""
    failed: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def run(generator: Generator, work: Work, *server: object, kept: Path | None = None) -> Result:
    """Hold the work's chats once. kept: a folder for the run's files, where they are wanted."""
    result = Result(generator.name, work.chats)
    if missing := generator.missing():
        result.failed = missing
        return result
    with scratch() as name:
        folder = kept or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with serving(folder, *server) as serves:
                _hold(generator, work, serves, folder, result)
        except RuntimeError as error:
            result.failed = str(error)
    return result


def _hold(generator: Generator, work: Work, server: Server, folder: Path, result: Result) -> None:
    command, env = generator.command(folder, server.url, work), generator.env(folder, server.url, work)
    with Child(command, GENERATOR_CORE, folder / "generator.log", env) as child:
        child.wait_for(server.live, _START_S)
        began = time.monotonic()
        wanted = 0.995 * work.chats
        until = began + work.ramp_s + _RAMP_GRACE_S
        while (live := server.live()) < wanted and time.monotonic() < until and not child.over:
            time.sleep(0.5)
        result.held = live
        result.start_cpu_s = child.watch.used(time.monotonic()) - child.watch.used(began - 0.5)
        if live < wanted:
            raise RuntimeError(f"{live} of {work.chats} chats after {time.monotonic() - began:.0f} s")
        start = time.monotonic() + _SETTLE_S
        end = start + work.hold_s - _SETTLE_S
        while time.monotonic() < end and not child.over:
            time.sleep(0.1)
        _read_machine(child, server, start, end, result)
        polls = server.polls()
        result.refreshes = within(polls, start, end)
        result.per_s = result.refreshes / (end - start)
        result.cpu_us = 1e6 * result.cpu * (end - start) / max(result.refreshes, 1)
        if work.interval_s:
            result.gap = quantiles(gap_errors(polls, start, end, work.interval_s))
        result.pause_ramp, result.pause = _pauses(folder / "pauses", start, end)
        if generator.is_ours:
            child.end(60.0)
            _read_run(folder / "run", start, end, result)


def _read_machine(child: Child, server: Server, start: float, end: float, result: Result) -> None:
    span, served = child.watch.span(start, end), server.child.watch.span(start, end)
    result.cpu, result.rss, result.waited, result.server_cpu = span.cpu, span.rss, span.waited, served.cpu
    result.noise = span.noise or (served.noise and f"server: {served.noise}")


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """The ones that are shown."""
    if not values:
        return None
    return {name: quantile(values, q) or 0.0 for name, q in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))} | {
        "max": max(values)
    }


def _of(lateness: Histogram) -> dict[str, float] | None:
    if not lateness.count:
        return None
    return {
        **{name: lateness.quantile(q) or 0.0 for name, q in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))},
        "max": lateness.maximum or 0.0,
    }


def _pauses(path: Path, start: float, end: float) -> tuple[float | None, float | None]:
    """The worst pause before `start`, and from there to `end`."""
    if not path.exists():
        return None, None
    pauses = [tuple(map(float, line.split())) for line in path.read_text(encoding="ascii").splitlines() if line]
    ramp = [late for at, late in pauses if at + late < start]
    return max(ramp, default=0.0), max((late for at, late in pauses if start <= at < end), default=0.0)


def _read_run(run_dir: Path, start: float, end: float, result: Result) -> None:
    """chatload's own word: its lateness, and that its books balance."""
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    if not summary["books"]["balanced"]:
        raise RuntimeError("the books do not balance")
    offset = time.time() - time.monotonic()
    steady, ramp = Histogram(), Histogram()
    with RunReader.open(run_dir) as reader:
        for window in reader.windows():
            if window.end <= end + offset:
                ramp.merge(window.books.lateness)
                if window.start >= start + offset:
                    steady.merge(window.books.lateness)
    result.late, result.late_ramp = _of(steady), _of(ramp)
