"""The checks of `chatload doctor`: facts of the machine and the host, and a result for each check. Pure.

Each limit names its source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any, Final, Literal

from chatload.render import words


@dataclass(frozen=True)
class PlannedLoad:
    """The load that is to be run.

    users: chats at a time. processes: of the generator. interval_s: between two GetMessages of a chat. chat_length_s:
    mean.
    """

    users: int = 100
    processes: int = 1
    interval_s: float = 3.0
    chat_length_s: float = 60.0


@dataclass(frozen=True)
class MachineFacts:
    """The machine, and limits of this process. None: not known (not Linux, or not readable).

    files_soft, files_hard: RLIMIT_NOFILE. ports_low, ports_high: the range of local ports, both inclusive;
    ports_reserved: not available of these; time_wait: ports that closed connections still hold; tw_reuse:
    net.ipv4.tcp_tw_reuse. cores: usable ones; load: mean number of runnable processes, 1 min; steal: share of the
    CPU's time that the hypervisor gave to others; pressure: share of the time in which some process waited for a CPU,
    10 s. clock_resolution_s: of the monotonic clock; clock_synchronised: by NTP; clock_drift: by how much the wall
    clock moved against the monotonic, seconds a second. memory_available, swap_used, disk_free: bytes; disk: where.
    entropy: bits. versions: of packages, and "python". busy_ports: of Locust's own, those that are taken.
    """

    files_soft: int | None = None
    files_hard: int | None = None
    ports_low: int | None = None
    ports_high: int | None = None
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


@dataclass(frozen=True)
class HostFacts:
    """What was found on the way to a host.

    refused: why nothing was sent to it, in the words of the target guard. addresses: of its name; resolve_s, connect_s,
    tls_s: duration of each step, None if it was not reached; trouble: the failure on the way, as a transport says it.
    tls: whether it is https; verified: whether its certificate was; expires_in_s: until that certificate ends. outcome:
    of RequestChat, and detail; chat_s: how long its answer took; goodbye: the outcome of its Disconnect, empty where no
    chat was opened. clock_gap_s: the server's Date minus our clock, within a second.
    """

    url: str
    refused: str = ""
    addresses: tuple[str, ...] = ()
    resolve_s: float | None = None
    connect_s: float | None = None
    trouble: str = ""
    tls: bool = False
    verified: bool = True
    tls_s: float | None = None
    expires_in_s: float | None = None
    outcome: str = ""
    detail: str = ""
    chat_s: float | None = None
    goodbye: str = ""
    clock_gap_s: float | None = None


# -- checks ----------------------------------------------------------------------------------------


State = Literal["ok", "warn", "bad"]

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
_DAY_S = 86400.0


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. found: the facts; change: what to do, with the command; empty if nothing."""

    name: str
    state: State
    found: str
    change: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form."""
        return asdict(self)


def check_machine(machine: MachineFacts, wish: PlannedLoad) -> list[CheckResult]:
    """Return a result for everything known of the machine."""
    return [row for check in _MACHINE for row in check(machine, wish)]


def check_host(host: HostFacts) -> list[CheckResult]:
    """Return a result for every step on the way to a chat, as far as it went."""
    return list(_host(host))


def worst(rows: list[CheckResult]) -> State:
    """Return the worst state."""
    states = {row.state for row in rows}
    return "bad" if "bad" in states else "warn" if "warn" in states else "ok"


def files(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check open files: a chat needs one. A process can raise its soft limit to the hard one itself."""
    if machine.files_soft is None or machine.files_hard is None:
        return
    need = ceil(wish.users / wish.processes) + SPARE_FILES
    soft, hard = machine.files_soft, machine.files_hard
    each = f"{wish.users} chats in {wish.processes} process{'' if wish.processes == 1 else 'es'} need {need} each"
    found = f"{soft} open files ({hard} at most); {each}"
    if hard < need:
        processes = ceil(wish.users / max(hard - SPARE_FILES, 1))
        more = f", or spread them: --processes {processes}" if hard > SPARE_FILES else ""
        yield CheckResult("open files", "bad", found, f"as root: ulimit -n {need}, and run from there{more}")
    elif soft < need:
        yield CheckResult("open files", "warn", f"{found}; a run raises it by itself", f"ulimit -n {need}")
    else:
        yield CheckResult("open files", "ok", found)


def ports(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check local ports: a connection to one address and port needs one, and holds it for a minute after its close."""
    if machine.ports_low is None or machine.ports_high is None:
        return
    there = machine.ports_high - machine.ports_low + 1 - machine.ports_reserved
    held = 1 if machine.tw_reuse == 1 else ceil(wish.users / wish.chat_length_s * TIME_WAIT_S)
    need = wish.users + held
    free = there - machine.time_wait
    found = (
        f"{there} local ports, {machine.time_wait} of them in TIME_WAIT; {wish.users} chats of "
        f"{wish.chat_length_s:g} s need {need}"
    )
    widen = 'sudo sysctl -w net.ipv4.ip_local_port_range="10240 65535"'
    reuse = "" if machine.tw_reuse == 1 else " net.ipv4.tcp_tw_reuse=1"
    if free < wish.users:
        yield CheckResult("local ports", "bad", found, f"{widen}{reuse}, or more addresses on either side")
    elif free < need:
        yield CheckResult("local ports", "warn", found, f"{widen}{reuse}")
    else:
        yield CheckResult("local ports", "ok", found)


def cpu(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check the CPU: a busy process refreshes its chats late, and the run is invalid. Temporary load is a warning."""
    need = wish.users / wish.interval_s * REQUEST_CPU_S
    each = need / wish.processes
    found = f"{machine.cores:g} cores; {wish.users} chats, a refresh every {wish.interval_s:g} s, need about {need:.2g}"
    processes = ceil(need / MOST_BUSY)
    if need > MOST_BUSY * machine.cores:
        yield CheckResult(
            "cores", "bad", found, f"more machines: --master here, --worker there; about {processes} processes in all"
        )
    elif each > MOST_BUSY:
        yield CheckResult("cores", "bad", f"{found}, in {wish.processes} process(es)", f"--processes {processes}")
    else:
        yield CheckResult("cores", "ok", found)
    if machine.load is not None:
        busy = machine.load / machine.cores
        state: State = "warn" if busy > MOST_BUSY else "ok"
        change = "" if state == "ok" else "end what else runs here: ps -eo pid,pcpu,comm --sort=-pcpu | head"
        yield CheckResult("load", state, f"{machine.load:.2f} processes want to run on {machine.cores:g} cores", change)
    if machine.steal is not None:
        state = "warn" if machine.steal > 0.02 else "ok"
        change = (
            "" if state == "ok" else "a machine of its own, or one with guaranteed CPU: what is stolen makes chats late"
        )
        yield CheckResult(
            "steal", state, f"{100 * machine.steal:.1f} % of the CPU's time went to other virtual machines", change
        )
    if machine.pressure is not None:
        state = "warn" if machine.pressure > 0.2 else "ok"
        change = "" if state == "ok" else "end what else runs here, or give it less: nice, taskset"
        yield CheckResult(
            "run queue", state, f"some process waited for a CPU in {100 * machine.pressure:.0f} % of the time", change
        )


def clock(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check the clocks: bounds of gaps use the monotonic clock, comparison with a server's ledger the wall clock."""
    if machine.clock_resolution_s is not None:
        fine = machine.clock_resolution_s <= 1e-3
        found = f"monotonic, resolution {machine.clock_resolution_s:.2g} s"
        yield CheckResult("clock", "ok" if fine else "bad", found, "" if fine else "another clock source: "
                  "cat /sys/devices/system/clocksource/clocksource0/available_clocksource")  # fmt: skip
    if machine.clock_drift is not None:
        steady = abs(machine.clock_drift) < 2e-3
        found = f"wall clock moves {1000 * machine.clock_drift:+.3f} ms a second against the monotonic one"
        yield CheckResult(
            "clock drift", "ok" if steady else "warn", found, "" if steady else "wait until NTP has settled"
        )
    if machine.clock_synchronised is not None:
        state: State = "ok" if machine.clock_synchronised else "warn"
        found = "synchronised" if machine.clock_synchronised else "not synchronised (NTP), as the kernel reports"
        change = (
            "" if state == "ok" else "timedatectl set-ntp true; else compare with a server's ledger by chat id only"
        )
        yield CheckResult("clock sync", state, found, change)


def memory(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check memory and swap: a process that is swapped out refreshes late."""
    if machine.memory_available is not None:
        need = wish.users * CHAT_BYTES + wish.processes * PROCESS_BYTES
        found = f"{_size(machine.memory_available)} available; {wish.users} chats need {_size(need)} at most"
        state: State = (
            "bad" if machine.memory_available < need else "warn" if machine.memory_available < 1.5 * need else "ok"
        )
        change = "" if state == "ok" else "fewer chats here: more machines, --master and --worker"
        yield CheckResult("memory", state, found, change)
    if machine.swap_used is not None:
        used = machine.swap_used > 64 * 2**20
        change = "sudo swapoff -a, where memory is enough" if used else ""
        yield CheckResult("swap", "warn" if used else "ok", f"{_size(machine.swap_used)} in use", change)


def disk(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check the disk: a run that cannot be written is invalid."""
    if machine.disk_free is not None:
        state: State = "bad" if machine.disk_free < DISK_BAD else "warn" if machine.disk_free < DISK_WARN else "ok"
        change = "" if state == "ok" else "--run-dir on another disk"
        yield CheckResult("disk", state, f"{_size(machine.disk_free)} free for {machine.disk}", change)
    if machine.entropy is not None:
        low = machine.entropy < 128
        yield CheckResult(
            "entropy", "warn" if low else "ok", f"{machine.entropy} bits", "install rng-tools or haveged" if low else ""
        )


def versions(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check the installed versions against those known to be bad."""
    found = ", ".join(f"{name} {version or 'not installed'}" for name, version in machine.versions.items())
    for name, low, high, why in KNOWN_BAD:
        version = machine.versions.get(name)
        if name in machine.versions and (version is None or _version(low) <= _version(version) < _version(high)):
            change = "pip install -c constraints.txt chatload" if name != "python" else "install Python 3.11 or newer"
            yield CheckResult("versions", "bad", f"{name} {version or 'is not installed'}: {why}", change)
            return
    yield CheckResult("versions", "ok", found)


def own_ports(machine: MachineFacts, wish: PlannedLoad) -> Iterator[CheckResult]:
    """Check the ports that Locust itself listens on."""
    options = {8089: "--web-port", 5557: "--master-bind-port and --master-port"}
    busy = [f"port {port} is in use: {options.get(port, 'choose another')}" for port in machine.busy_ports]
    state: State = "warn" if busy else "ok"
    yield CheckResult(
        "Locust's ports", state, "taken" if busy else "8089 (web UI) and 5557 (master) are free", "; ".join(busy)
    )


_MACHINE: tuple[Callable[[MachineFacts, PlannedLoad], Iterator[CheckResult]], ...] = (
    files, ports, cpu, clock, memory, disk, versions, own_ports,
)  # fmt: skip


def _host(host: HostFacts) -> Iterator[CheckResult]:
    if host.refused:
        yield CheckResult("target", "bad", host.refused.partition("; ")[0], host.refused.partition("; ")[2])
        return
    if host.resolve_s is not None and not host.addresses:
        yield CheckResult(
            "name", "bad", f"{host.url}: name not resolved", "check --host, and this machine's DNS: resolvectl status"
        )
        return
    if host.resolve_s is not None:
        slow = host.resolve_s > 0.5
        found = f"{', '.join(host.addresses)} in {words.seconds(host.resolve_s)}"
        yield CheckResult(
            "name",
            "warn" if slow else "ok",
            found,
            "use a nearer DNS resolver: names are resolved every 30 s" if slow else "",
        )
    if host.connect_s is None:
        yield CheckResult(
            "connection",
            "bad",
            host.trouble or "cannot be opened",
            "check --host, and that it is up and not behind a firewall",
        )
        return
    far = host.connect_s > 0.25
    change = "a generator nearer to the host" if far else ""
    yield CheckResult("connection", "warn" if far else "ok", f"TCP in {words.seconds(host.connect_s)}", change)
    if host.tls:
        yield from _tls(host)
        if host.tls_s is None:
            return
    yield from _chat(host)
    if host.clock_gap_s is not None:
        far = abs(host.clock_gap_s) > 2
        found = f"differs from ours by {host.clock_gap_s:+.0f} s" if far else "within 2 s of ours"
        yield CheckResult(
            "server's clock",
            "warn" if far else "ok",
            found,
            "synchronise both (NTP) before comparing with its ledger" if far else "",
        )


#: Part of OpenSSL's message -> what to change. --insecure is offered only for messages about trust.
_TLS_CHANGES: Mapping[str, str] = {
    "has expired": "renew the server's certificate; this machine's date, if it is wrong",
    "not yet valid": "this machine's date, if it is wrong; else the server's certificate",
    "is not valid for": "--host by the name that the certificate is for",
    "WRONG_VERSION_NUMBER": "no TLS is spoken at this port: --host http://..., or its https port",
    "timed out": "check the port in --host, and any proxy or firewall before the server: nothing answers at this port",
}
_TLS_CHANGE = "--ca-file FILE with its authority; --client-cert FILE if it asks for one; --insecure for one run"


def _tls(host: HostFacts) -> Iterator[CheckResult]:
    if host.tls_s is None:
        trouble = host.trouble or "TLS failed"
        change = next((change for part, change in _TLS_CHANGES.items() if part in trouble), _TLS_CHANGE)
        yield CheckResult("TLS", "bad", trouble, change)
        return
    said = "" if host.verified else ", certificate NOT verified (--insecure)"
    state: State = "ok" if host.verified else "warn"
    found = f"handshake in {words.seconds(host.tls_s)}{said}"
    yield CheckResult("TLS", state, found, "" if host.verified else "--ca-file FILE")
    if host.expires_in_s is not None:
        days = host.expires_in_s / _DAY_S
        state = "bad" if days < 0 else "warn" if days < 14 else "ok"
        yield CheckResult("certificate", state, f"ends in {days:.0f} days", "" if state == "ok" else "renew it")


def _chat(host: HostFacts) -> Iterator[CheckResult]:
    took = f" in {words.seconds(host.chat_s)}" if host.chat_s is not None else ""
    if host.outcome != "0/false":
        found = f"RequestChat: {host.outcome or 'no answer'}{took}{f' ({host.detail})' if host.detail else ''}"
        yield CheckResult("chat", "bad", found, "check --service and --dialect, and that agents' service is open")
        return
    if host.goodbye not in ("0/true", "0/false"):
        found = f"RequestChat 0/false{took}, but Disconnect: {host.goodbye or 'no answer'}"
        yield CheckResult(
            "chat", "warn", found, "check --dialect: a chat that is not disconnected stays open until its timeout"
        )
        return
    yield CheckResult("chat", "ok", f"RequestChat 0/false{took}, Disconnect {host.goodbye}")


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])
