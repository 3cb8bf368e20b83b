"""Running one target in a child process: for so long, every input within its bounds of time and memory."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import given as given_inputs

from tests.fuzz.targets import TARGETS, Target

#: One input may take this long (CPU seconds), and the process may grow by this much (bytes).
INPUT_S = 5.0
GROWTH_BYTES = 512 * 2**20
_BATCH = 100
_MOST_FINDINGS = 5


class Result(NamedTuple):
    """What came of fuzzing one target. peak_mb: of the process, above what it had before the first input."""

    target: str
    executions: int
    cpu_s: float
    slowest_s: float
    peak_mb: float
    findings: list[str]


class TooSlow(Exception):
    """An input took longer than INPUT_S."""


def fuzz(names: list[str], cpu_s: float, start_seed: int) -> Iterator[Result]:
    """Fuzz targets one after the other, each for so much CPU time; a crash or a kill of the child is a finding."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(names, cpu_s, start_seed, theirs))
    child.start()
    theirs.close()
    for name in names:
        try:
            yield Result(*ours.recv())
        except EOFError:
            child.join()
            yield Result(name, 0, 0.0, 0.0, 0.0, [f"the process died: exit code {child.exitcode}"])
            break
    child.join()


def _child(names: list[str], cpu_s: float, start_seed: int, pipe: Connection) -> None:
    signal.signal(signal.SIGVTALRM, _too_slow)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + GROWTH_BYTES, resource.RLIM_INFINITY))
    for name in names:
        pipe.send(tuple(_fuzz(name, TARGETS[name], cpu_s, start_seed)))


def _fuzz(name: str, target: Target, cpu_s: float, start_seed: int) -> Result:
    before = _peak()
    executions, slowest = 0, 0.0
    findings: dict[str, str] = {}

    def once(value: Any) -> None:
        nonlocal executions, slowest
        executions += 1
        begun = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, INPUT_S)
        try:
            target.run(value)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            slowest = max(slowest, time.process_time() - begun)

    start, number = time.process_time(), start_seed
    while time.process_time() - start < cpu_s and len(findings) < _MOST_FINDINGS:
        number += 1
        try:
            seed(number)(_settings(given_inputs(target.inputs)(once)))()
        except Exception as error:  # noqa: BLE001 - whatever a target raises is the finding
            where = _where(error)
            findings.setdefault(where, f"{where}: {str(error)[:300]} (seed {number})")
    cpu, grown = time.process_time() - start, (_peak() - before) / 2**20
    return Result(name, executions, round(cpu, 1), round(slowest, 3), round(grown, 1), list(findings.values()))


def _where(error: Exception) -> str:
    trace = traceback.extract_tb(error.__traceback__)
    ours = [f"{frame.filename}:{frame.lineno}" for frame in trace if "/chatload/" in frame.filename]
    return f"{type(error).__name__} {ours[-1] if ours else ''}"


_settings = settings(
    max_examples=_BATCH, database=None, deadline=None, phases=(Phase.generate, Phase.shrink), verbosity=Verbosity.quiet,
    suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
)  # fmt: skip


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _too_slow(*_: object) -> None:
    raise TooSlow
