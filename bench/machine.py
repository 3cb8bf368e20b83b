"""What the kernel says of processes and cores: CPU time, memory, waiting for a CPU, steal. Linux only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """Of a process and its descendants. cpu_s: CPU time; waited_s: ready to run and not running, summed over threads
    that live; rss: bytes."""

    cpu_s: float
    waited_s: float
    rss: int


class Sample(NamedTuple):
    """One look at everything. at: monotonic clock, seconds; foreign_s: CPU time of all other processes of the machine;
    steal_s: taken by the hypervisor, summed over the cores in use."""

    at: float
    generator: Usage
    server: Usage
    foreign_s: float
    steal_s: float


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def usage(pid: int) -> Usage:
    """What a process and its descendants have used; zeros where it is gone."""
    cpu = waited = rss = 0
    for each in tree(pid):
        with suppress(OSError):
            cpu += _ticks(each)
            rss += int(Path(f"/proc/{each}/statm").read_text().split()[1])
            for task in Path(f"/proc/{each}/task").iterdir():
                waited += int((task / "schedstat").read_text().split()[1])
    return Usage(cpu * _TICK_S, waited / 1e9, rss * _PAGE)


def _ticks(pid: int) -> int:
    """utime, stime and those of children that were waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])


def foreign_s(ours: Iterable[int]) -> float:
    """CPU time used so far by all processes but `ours` and their descendants."""
    known = {each for pid in ours for each in tree(pid)}
    total = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in known:
            with suppress(OSError):
                total += _ticks(int(entry))
    return total * _TICK_S


def steal_s() -> float:
    """What the hypervisor took, summed over all cores, seconds."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) * _TICK_S


def look(generator: int, server: int) -> Sample:
    """One look, now. The process that looks is not foreign: what it uses is part of the method."""
    return Sample(
        time.monotonic(),
        usage(generator),
        usage(server),
        foreign_s((generator, server, os.getpid())),
        steal_s(),
    )
