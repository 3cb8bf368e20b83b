"""Reads the facts of this machine. A fact that cannot be read is None, not an error."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import psutil

from chatload.features.doctor.checks import MachineFacts
from chatload.file_limits import file_limits

#: The CPU's time and the clocks are observed for this long (seconds).
SAMPLE_S = 0.5
#: Where Locust listens unless told otherwise: its web UI, its master.
_PORTS = (8089, 5557)
_TIME_ERROR = 5
_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
Value = TypeVar("Value")


def local_ports() -> tuple[int | None, int | None]:
    """Return the range of local ports, both inclusive."""
    return _pair("/proc/sys/net/ipv4/ip_local_port_range") or (None, None)


def read_machine(run_dir: str | Path = "reports", sample_s: float = SAMPLE_S) -> MachineFacts:
    """Return all facts of this machine; takes sample_s seconds. run_dir: where runs will be written."""
    soft, hard = file_limits()
    before, wall, mono = _cpu_times(), time.time(), time.monotonic()
    time.sleep(sample_s)
    after, moved, elapsed = _cpu_times(), time.time() - wall, time.monotonic() - mono
    low, high = local_ports()
    disk = _existing(Path(run_dir))
    return MachineFacts(
        files_soft=soft,
        files_hard=hard,
        ports_low=low,
        ports_high=high,
        ports_reserved=_reserved(low, high),
        time_wait=_time_wait(),
        tw_reuse=_number("/proc/sys/net/ipv4/tcp_tw_reuse"),
        cores=_cores(),
        load=_or_none(lambda: os.getloadavg()[0]),
        steal=_steal(before, after),
        pressure=_pressure(),
        clock_resolution_s=time.get_clock_info("monotonic").resolution,
        clock_synchronised=_synchronised(),
        clock_drift=(moved - elapsed) / elapsed if elapsed else None,
        memory_available=_memory(),
        swap_used=_or_none(lambda: int(psutil.swap_memory().used)),
        disk_free=_or_none(lambda: shutil.disk_usage(disk).free),
        disk=str(run_dir),
        entropy=_number("/proc/sys/kernel/random/entropy_avail"),
        versions={"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        busy_ports=tuple(port for port in _PORTS if _busy(port)),
    )


_PACKAGES = ("chatload", "locust", "gevent")


def _or_none(read: Callable[[], Value]) -> Value | None:
    with suppress(OSError, ValueError, AttributeError, RuntimeError):
        return read()
    return None


def _text(path: str | Path) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="ascii", errors="replace")
    return ""


def _number(path: str | Path) -> int | None:
    return _or_none(lambda: int(_text(path)))


def _pair(path: str) -> tuple[int, int] | None:
    def read() -> tuple[int, int]:
        low, high = _text(path).split()
        return int(low), int(high)

    return _or_none(read)


def _reserved(low: int | None, high: int | None) -> int:
    """Return how many ports of the range the kernel reserves."""
    count = 0
    for span in _text("/proc/sys/net/ipv4/ip_local_reserved_ports").strip().split(","):
        first, _, last = span.partition("-")
        if first.isdigit() and low is not None and high is not None:
            count += max(0, min(int(last or first), high) - max(int(first), low) + 1)
    return count


def _time_wait() -> int:
    """Return the number of connections in TIME_WAIT, by the kernel's count: /proc/net/tcp is slow if there are many."""
    for line in _text("/proc/net/sockstat").splitlines():
        words = line.split()
        if words[:1] == ["TCP:"] and "tw" in words:
            return int(words[words.index("tw") + 1])
    return 0


def _cores() -> float:
    """Return the cores that this process may use: its affinity, and the least quota of its control groups."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for folder in _control_groups("cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = (_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        if quota.isdigit() and period.strip().isdigit():
            cores = min(cores, int(quota) / int(period))
    return round(cores, 2)


def _control_groups(controller: str) -> Iterator[Path]:
    """The folder of this process's control group, and those of all above it, for each of them limits it; of version 2
    (whose line in the list names no controller) and of version 1. In a container the last is all there is."""
    for line in _text(_OWN_GROUPS).splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = _GROUPS / controller if names else _GROUPS
        folder = root / path.strip("/")
        yield from (group for group in (folder, *folder.parents) if group.is_relative_to(root))


def _cpu_times() -> Any:
    return _or_none(psutil.cpu_times)


def _steal(before: Any, after: Any) -> float | None:
    if before is None or not hasattr(before, "steal"):
        return None
    total = sum(after[:8]) - sum(before[:8])
    return max(0.0, (after.steal - before.steal) / total) if total > 0 else None


def _pressure() -> float | None:
    """Share of the last 10 s in which some process waited for a CPU (Linux PSI)."""
    for word in _text("/proc/pressure/cpu").split():
        name, _, value = word.partition("=")
        if name == "avg10":
            return float(value) / 100
    return None


def _synchronised() -> bool | None:
    """Return whether the kernel regards its clock as synchronised: adjtimex(2), called without changing anything."""
    with suppress(OSError, AttributeError):
        buffer = ctypes.create_string_buffer(512)
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
        return None if state < 0 else bool(state != _TIME_ERROR)
    return None


def _memory() -> int | None:
    """Return the bytes available without swapping; less if a control group limits them."""
    available = _or_none(lambda: int(psutil.virtual_memory().available))
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for folder in _control_groups("memory"):
        for limit, used in ((_number(folder / most), _number(folder / now)) for most, now in names):
            if available is not None and limit is not None and used is not None:
                available = min(available, max(0, limit - used))
    return available


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _busy(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
