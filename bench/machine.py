"""What processes and cores did: CPU, memory, and whether anybody else was there."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

#: The core of the server and of the generator.
SERVER_CORE, GENERATOR_CORE = 0, 1
#: More than this part of a core used by others, or stolen by the host, makes a figure noisy.
MOST_OTHERS, MOST_STOLEN = 0.03, 0.02
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_EVERY_S = 0.5


@dataclass(frozen=True)
class Sample:
    """One look. cpu_s: of a process and all it started; rss: theirs, bytes. busy_s, stolen_s: of its core."""

    at: float
    cpu_s: float
    rss: int
    busy_s: float
    stolen_s: float
    waited_s: float


@dataclass(frozen=True)
class Span:
    """What a process did from one instant to another, as parts of a core. waited: ready to run, and not let."""

    cpu: float
    cpu_s: float
    rss: int
    others: float
    stolen: float
    waited: float

    @property
    def noise(self) -> str:
        """Why this is not to be believed; "" where it is."""
        if self.others > MOST_OTHERS:
            return f"others used {100 * self.others:.0f} % of the core"
        return f"the host took {100 * self.stolen:.0f} % of the core" if self.stolen > MOST_STOLEN else ""


class Watch(threading.Thread):
    """Looks at a process and its core every half second."""

    def __init__(self, pid: int, core: int) -> None:
        super().__init__(daemon=True)
        self._process, self._core = psutil.Process(pid), core
        self._samples: list[Sample] = []
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                self._samples.append(self._look())
            except psutil.Error:
                return

    def close(self) -> None:
        self._over.set()
        self.join()

    def used(self, at: float) -> float:
        """CPU seconds used up to an instant, by the last look before it; 0 before the first."""
        return max((sample.cpu_s for sample in self._samples if sample.at <= at), default=0.0)

    def span(self, start: float, end: float) -> Span:
        """From the first look after `start` to the last before `end` (monotonic seconds)."""
        inside = [sample for sample in self._samples if start <= sample.at <= end]
        if len(inside) < 2:
            raise RuntimeError(f"only {len(inside)} looks at a process in {end - start:.1f} s: it has ended early")
        first, last = inside[0], inside[-1]
        length = last.at - first.at
        cpu_s = last.cpu_s - first.cpu_s
        return Span(
            cpu=cpu_s / length,
            cpu_s=cpu_s,
            rss=round(statistics.median(sample.rss for sample in inside[-5:])),
            others=max(0.0, last.busy_s - first.busy_s - cpu_s) / length,
            stolen=(last.stolen_s - first.stolen_s) / length,
            waited=(last.waited_s - first.waited_s) / length,
        )

    def _look(self) -> Sample:
        cpu_s = waited_s = 0.0
        rss = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                times = process.cpu_times()
                rss += process.memory_info().rss
                waited_s += int(Path(f"/proc/{process.pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
            except (psutil.Error, OSError):
                continue
            cpu_s += times.user + times.system
        return Sample(time.monotonic(), cpu_s, rss, *_core(self._core), waited_s)


def _core(core: int) -> tuple[float, float]:
    """Seconds a core was busy (interrupts left out: they are nobody's), and was stolen by the host."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _, _, _, _, steal = map(int, line.split()[1:9])
            return (user + nice + system) * _TICK_S, steal * _TICK_S
    raise RuntimeError(f"no core {core}: the benchmark needs two")


class Child:
    """A process of the benchmark, pinned to a core, with all that it starts. Used as a context."""

    def __init__(self, command: Sequence[object], core: int, log: Path, env: dict[str, str] | None = None) -> None:
        self._command = ["taskset", "-c", str(core), *map(str, command)]
        self._core, self.log = core, log
        self._env = {**os.environ, **(env or {})}

    def __enter__(self) -> Child:
        with self.log.open("wb") as out:
            self._popen = subprocess.Popen(
                self._command, stdout=out, stderr=subprocess.STDOUT, env=self._env, start_new_session=True
            )
        self.watch = Watch(self._popen.pid, self._core)
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.close()
        self.end(0.0)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def over(self) -> bool:
        return self._popen.poll() is not None

    def end(self, patience_s: float) -> int | None:
        """Ask it to end; after so long, make it. Its exit code, None where it was made to."""
        if patience_s and not self.over:
            self._popen.send_signal(signal.SIGTERM)
        try:
            return self._popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, what: Callable[[], Any], seconds: float) -> Any:
        """Wait until `what` gives something; RuntimeError where it does not, or the process ends before."""
        until = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > until or self.over:
                raise RuntimeError(f"{self._command[3]} did not get going: {self.said()[-500:]}")
            time.sleep(0.1)
        return found


def quantile(values: Iterable[float], q: float) -> float | None:
    """The q-quantile of values, None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else None


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)
