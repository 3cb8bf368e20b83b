"""Facts of this machine, and a check of each. A fact that cannot be read is None, not an error.

Each limit names its source.
"""

import ctypes
import os
import platform
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import ceil
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from chatload.features.doctor.view import CheckResult, check
from chatload.sockets import file_limits, local_ports

#: The CPU's time and the clocks are observed for this long (seconds).
SAMPLE_S = 0.5
#: Files that a process needs besides the sockets of its chats: code, run file, log, listeners.
SPARE_FILES: Final = 200
#: A chat's memory (bytes), and what a process has before its first one: measured with 1 000 to 19 000 chats held by
#: one process; 18 kB with bare sockets, 46 kB with the requests library. The larger, for safety.
CHAT_BYTES, PROCESS_BYTES = 46_000, 150 * 2**20
#: CPU of one request and its answer (seconds of a core), chat's engine and statistics included: measured with 600 chats
#: refreshing every second over the lean transport, 165 to 205 us.
REQUEST_CPU_S: Final = 200e-6
#: A process that uses more than this share of a core sends some refreshes late.
MOST_BUSY: Final = 0.7
#: Linux keeps a port this long after its connection was closed by us (TCP_TIMEWAIT_LEN).
TIME_WAIT_S: Final = 60.0
#: Free bytes on the run folder's disk below which the check warns or fails. A session takes less than 1 kB.
DISK_WARN, DISK_BAD = 2 * 2**30, 200 * 2**20
#: Releases known to be bad: package, first version, first version that is good again, reason.
KNOWN_BAD: Final = (
    ("locust", "0", "2.47", "older than chatload was written for"),
    ("locust", "3", "9999", "newer than chatload was written for"),
    ("gevent", "0", "24.10", "older than chatload was written for"),
    ("python", "0", "3.11", "chatload needs 3.11"),
)
#: Where Locust listens unless told otherwise, and the options that change it.
_LOCUST_PORTS = {8089: "--web-port", 5557: "--master-bind-port and --master-port"}
_PACKAGES = ("chatload", "locust", "gevent")
_TIME_ERROR = 5
_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class PlannedLoad:
    """The load that is to be run. users: chats at a time. interval_s: between two GetMessages of a chat."""

    users: int = 100
    processes: int = 1
    interval_s: float = 3.0
    chat_length_s: float = 60.0


@dataclass(frozen=True)
class MachineFacts:
    """The machine, and limits of this process. None: not known (not Linux, or not readable).

    files_soft, files_hard: RLIMIT_NOFILE. ports_low, ports_high: the range of local ports, both inclusive, 0 if not
    known; ports_reserved: not available of these; time_wait: ports that closed connections still hold; tw_reuse:
    net.ipv4.tcp_tw_reuse. cores: usable ones; load: mean number of runnable processes, 1 min; steal: share of the
    CPU's time that the hypervisor gave to others; pressure: share of the time in which some process waited for a CPU,
    10 s. clock_resolution_s: of the monotonic clock; clock_synchronised: by NTP; clock_drift: by how much the wall
    clock moved against the monotonic, seconds a second. memory_available, swap_used, disk_free: bytes; disk: where.
    entropy: bits. versions: of packages, and "python". busy_ports: of Locust's own, those that are taken.
    """

    files_soft: int | None = None
    files_hard: int | None = None
    ports_low: int = 0
    ports_high: int = 0
    ports_reserved: int = 0
    time_wait: int = 0
    tw_reuse: int | None = None
    cores: float = 1.0
    load: float | None = None
    steal: float | None = None
    pressure: float | None = None
    clock_resolution_s: float | None = None
    clock_synchronised: bool | None = None
    clock_drift: float | None = None
    memory_available: int | None = None
    swap_used: int | None = None
    disk_free: int | None = None
    disk: str = "reports"
    entropy: int | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    busy_ports: tuple[int, ...] = ()


def check_machine(machine: MachineFacts, wish: PlannedLoad) -> list[CheckResult]:
    """Return a result for everything known of the machine."""
    return [
        *files(machine, wish), *ports(machine, wish), *_cpu(machine, wish), *_clock(machine), *_memory(machine, wish),
        *_disk(machine), _versions(machine), _own_ports(machine),
    ]  # fmt: skip


def files(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check open files: a chat needs one. A process can raise its soft limit to the hard one itself."""
    soft, hard = machine.files_soft, machine.files_hard
    if soft is None or hard is None:
        return
    need = ceil(wish.users / wish.processes) + SPARE_FILES
    each = f"{wish.users} chats in {wish.processes} process{'' if wish.processes == 1 else 'es'} need {need} each"
    found, change = f"{soft} open files ({hard} at most); {each}", f"ulimit -n {need}"
    if hard < need:
        change = f"as root: {change}, and run from there"
        if hard > SPARE_FILES:
            change += f", or spread them: --processes {ceil(wish.users / (hard - SPARE_FILES))}"
    elif soft < need:
        found += "; a run raises it by itself"
    yield check("open files", found, change, warn=soft < need, bad=hard < need)


def ports(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check local ports: a connection to one address and port needs one, and holds it for a minute after its close."""
    if not machine.ports_high:
        return
    there = machine.ports_high - machine.ports_low + 1 - machine.ports_reserved
    reused = machine.tw_reuse == 1
    need = wish.users + (1 if reused else ceil(wish.users / wish.chat_length_s * TIME_WAIT_S))
    free = there - machine.time_wait
    found = (
        f"{there} local ports, {machine.time_wait} of them in TIME_WAIT; {wish.users} chats of "
        f"{wish.chat_length_s:g} s need {need}"
    )
    change = 'sudo sysctl -w net.ipv4.ip_local_port_range="10240 65535"'
    if not reused:
        change += " net.ipv4.tcp_tw_reuse=1"
    if free < wish.users:
        change += ", or more addresses on either side"
    yield check("local ports", found, change, warn=free < need, bad=free < wish.users)


def _cpu(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check the CPU: a busy process refreshes its chats late, and the run is invalid. Temporary load is a warning."""
    need = wish.users / wish.interval_s * REQUEST_CPU_S
    found = f"{machine.cores:g} cores; {wish.users} chats, a refresh every {wish.interval_s:g} s, need about {need:.2g}"
    processes = ceil(need / MOST_BUSY)
    too_many, too_busy = need > MOST_BUSY * machine.cores, need / wish.processes > MOST_BUSY
    change = f"--processes {processes}"
    if too_many:
        change = f"more machines: --master here, --worker there; about {processes} processes in all"
    elif too_busy:
        found += f", in {wish.processes} process(es)"
    yield check("cores", found, change, bad=too_many or too_busy)
    if machine.load is not None:
        found = f"{machine.load:.2f} processes want to run on {machine.cores:g} cores"
        change = "end what else runs here: ps -eo pid,pcpu,comm --sort=-pcpu | head"
        yield check("load", found, change, warn=machine.load / machine.cores > MOST_BUSY)
    if machine.steal is not None:
        found = f"{100 * machine.steal:.1f} % of the CPU's time went to other virtual machines"
        change = "a machine of its own, or one with guaranteed CPU: what is stolen makes chats late"
        yield check("steal", found, change, warn=machine.steal > 0.02)
    if machine.pressure is not None:
        found = f"some process waited for a CPU in {100 * machine.pressure:.0f} % of the time"
        change = "end what else runs here, or give it less: nice, taskset"
        yield check("run queue", found, change, warn=machine.pressure > 0.2)


def _clock(machine: MachineFacts) -> Iterator[CheckResult]:
    """Check the clocks: bounds of gaps use the monotonic clock, comparison with a server's ledger the wall clock."""
    resolution_s, drift = machine.clock_resolution_s, machine.clock_drift
    if resolution_s is not None:
        found = f"monotonic, resolution {resolution_s:.2g} s"
        change = "another clock source: cat /sys/devices/system/clocksource/clocksource0/available_clocksource"
        yield check("clock", found, change, bad=resolution_s > 1e-3)
    if drift is not None:
        found = f"wall clock moves {1000 * drift:+.3f} ms a second against the monotonic one"
        yield check("clock drift", found, "wait until NTP has settled", warn=abs(drift) >= 2e-3)
    if machine.clock_synchronised is not None:
        found = "synchronised" if machine.clock_synchronised else "not synchronised (NTP), as the kernel reports"
        change = "timedatectl set-ntp true; else compare with a server's ledger by chat id only"
        yield check("clock sync", found, change, warn=not machine.clock_synchronised)


def _memory(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check memory and swap: a process that is swapped out refreshes late."""
    available, swap = machine.memory_available, machine.swap_used
    if available is not None:
        need = wish.users * CHAT_BYTES + wish.processes * PROCESS_BYTES
        found = f"{_size(available)} available; {wish.users} chats need {_size(need)} at most"
        change = "fewer chats here: more machines, --master and --worker"
        yield check("memory", found, change, warn=available < 1.5 * need, bad=available < need)
    if swap is not None:
        change = "sudo swapoff -a, where memory is enough"
        yield check("swap", f"{_size(swap)} in use", change, warn=swap > 64 * 2**20)


def _disk(machine: MachineFacts) -> Iterator[CheckResult]:
    """Check the disk: a run that cannot be written is invalid."""
    free, entropy = machine.disk_free, machine.entropy
    if free is not None:
        found = f"{_size(free)} free for {machine.disk}"
        yield check("disk", found, "--run-dir on another disk", warn=free < DISK_WARN, bad=free < DISK_BAD)
    if entropy is not None:
        yield check("entropy", f"{entropy} bits", "install rng-tools or haveged", warn=entropy < 128)


def _versions(machine: MachineFacts) -> CheckResult:
    for name, low, high, why in KNOWN_BAD:
        found = machine.versions.get(name)
        if name in machine.versions and (found is None or _parts(low) <= _parts(found) < _parts(high)):
            change = "pip install -c constraints.txt chatload" if name != "python" else "install Python 3.11 or newer"
            return check("versions", f"{name} {found or 'is not installed'}: {why}", change, bad=True)
    return check(
        "versions", ", ".join(f"{name} {found or 'not installed'}" for name, found in machine.versions.items())
    )


def _own_ports(machine: MachineFacts) -> CheckResult:
    busy = [f"port {port} is in use: {_LOCUST_PORTS.get(port, 'choose another')}" for port in machine.busy_ports]
    found = "taken" if busy else "8089 (web UI) and 5557 (master) are free"
    return check("Locust's ports", found, "; ".join(busy), warn=bool(busy))


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _steal(before: Any, after: Any) -> float | None:
    """Return the share of the CPU's time that was stolen between two readings of psutil.cpu_times().

    psutil.cpu_times_percent() is wrong for less than 1 s of CPU time: it divides by 1 s at least.
    """
    if not hasattr(after, "steal"):
        return None
    # `guest` and `guest_nice` are part of `user` and `nice`.
    names = [name for name in after._fields if "guest" not in name]
    spent: dict[str, float] = {name: getattr(after, name) - getattr(before, name) for name in names}
    return spent["steal"] / max(sum(spent.values()), 1e-9)


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def read_machine(run_dir: str | Path = "reports", sample_s: float = SAMPLE_S) -> MachineFacts:
    """Return all facts of this machine; takes sample_s seconds. run_dir: where runs will be written."""
    soft, hard = file_limits()
    before = _or_none(psutil.cpu_times)
    wall, mono = time.time(), time.monotonic()
    time.sleep(sample_s)
    moved, elapsed = time.time() - wall, time.monotonic() - mono
    steal = _steal(before, _or_none(psutil.cpu_times))
    low, high = local_ports()
    folder = Path(run_dir).absolute()
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
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
        steal=steal,
        pressure=_pressure(),
        clock_resolution_s=time.get_clock_info("monotonic").resolution,
        clock_synchronised=_synchronised(),
        clock_drift=(moved - elapsed) / elapsed if elapsed else None,
        memory_available=_available_memory(),
        swap_used=_or_none(lambda: int(psutil.swap_memory().used)),
        disk_free=_or_none(lambda: shutil.disk_usage(existing).free),
        disk=str(run_dir),
        entropy=_number("/proc/sys/kernel/random/entropy_avail"),
        versions={"python": platform.python_version()} | {name: _or_none(partial(version, name)) for name in _PACKAGES},
        busy_ports=tuple(port for port in _LOCUST_PORTS if _busy(port)),
    )


def _or_none(read: Callable[[], _Value]) -> _Value | None:
    with suppress(OSError, ValueError, AttributeError, RuntimeError, PackageNotFoundError):
        return read()
    return None


def _text(path: str | Path) -> str:
    return _or_none(partial(Path(path).read_text, encoding="ascii", errors="replace")) or ""


def _number(path: str | Path) -> int | None:
    return _or_none(lambda: int(_text(path)))


def _reserved(low: int, high: int) -> int:
    count = 0
    for span in _text("/proc/sys/net/ipv4/ip_local_reserved_ports").strip().split(","):
        first, _, last = span.partition("-")
        if first.isdigit():
            count += max(0, min(int(last or first), high) - max(int(first), low) + 1)
    return count


def _time_wait() -> int:
    """Return the number of connections in TIME_WAIT, by the kernel's count: /proc/net/tcp is slow if there are many."""
    found = re.search(r"^TCP:.*\btw (\d+)", _text("/proc/net/sockstat"), re.MULTILINE)
    return int(found[1]) if found else 0


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


def _pressure() -> float | None:
    """Return the share of the last 10 s in which some process waited for a CPU (Linux PSI)."""
    found = re.search(r"avg10=([\d.]+)", _text("/proc/pressure/cpu"))
    return float(found[1]) / 100 if found else None


def _synchronised() -> bool | None:
    """Return whether the kernel regards its clock as synchronised: adjtimex(2), called without changing anything."""
    buffer = ctypes.create_string_buffer(512)
    state: int | None = _or_none(lambda: ctypes.CDLL(None, use_errno=True).adjtimex(buffer))
    return None if state is None or state < 0 else state != _TIME_ERROR


def _available_memory() -> int | None:
    """Return the bytes available without swapping; less if a control group limits them."""
    available = _or_none(lambda: int(psutil.virtual_memory().available))
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for folder in _control_groups("memory"):
        for limit, used in ((_number(folder / most), _number(folder / now)) for most, now in names):
            if available is not None and limit is not None and used is not None:
                available = min(available, max(0, limit - used))
    return available


def _busy(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
