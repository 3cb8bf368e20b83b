"""The checks of `chatload doctor`: facts in, rows out. Pure; each limit with where it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final, Literal

from chatload.features.doctor.facts import HostFacts, Machine, Wish

State = Literal["ok", "warn", "bad"]

#: Files a process needs beside its chats' sockets: code, run file, log, other listeners.
SPARE_FILES: Final = 200
#: A chat's memory (bytes), and what a process has before its first one: measured with 1 000 to 19 000 chats held by
#: one process; 18 kB with bare sockets, 46 kB with the requests library. The larger, for safety.
CHAT_BYTES, PROCESS_BYTES = 46_000, 150 * 2**20
#: CPU of one request and its answer (seconds of a core), chat's engine and statistics included: measured with 600 chats
#: refreshing every second over the lean transport, 165 to 205 us.
REQUEST_CPU_S: Final = 200e-6
#: Above this share of a core a process is late for its refreshes now and then.
MOST_BUSY: Final = 0.7
#: Linux keeps a port this long after its connection was closed by us (TCP_TIMEWAIT_LEN).
TIME_WAIT_S: Final = 60.0
#: So much of the run folder's disk should be free (bytes): a session's row and its part of the windows is below 1 kB.
DISK_WARN, DISK_BAD = 2 * 2**30, 200 * 2**20
#: The generator's own packages, what it was tested with, and releases known to be bad: from, up to (not included), why.
KNOWN_BAD: Final = (
    ("locust", "0", "2.47", "older than chatload was written for"),
    ("locust", "3", "9999", "newer than chatload was written for"),
    ("gevent", "0", "24.10", "older than chatload was written for"),
    ("python", "0", "3.11", "chatload needs 3.11"),
)
_DAY_S = 86400.0


@dataclass(frozen=True)
class Row:
    """One check. found: what there is; change: what to do, with the command; empty where nothing is."""

    name: str
    state: State
    found: str
    change: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form."""
        return asdict(self)


def check_machine(machine: Machine, wish: Wish) -> list[Row]:
    """A row for everything known of the machine."""
    return [row for check in _MACHINE for row in check(machine, wish)]


def check_host(host: HostFacts) -> list[Row]:
    """A row for every step on the way to a chat, as far as it went."""
    return list(_host(host))


def worst(rows: list[Row]) -> State:
    """The worst state among them."""
    states = {row.state for row in rows}
    return "bad" if "bad" in states else "warn" if "warn" in states else "ok"


def files(machine: Machine, wish: Wish) -> Iterator[Row]:
    """A chat is a socket, and a socket a file. A process may raise its soft limit to the hard one itself."""
    if machine.files_soft is None or machine.files_hard is None:
        return
    need = ceil(wish.users / wish.processes) + SPARE_FILES
    soft, hard = machine.files_soft, machine.files_hard
    each = f"{wish.users} chats in {wish.processes} process{'' if wish.processes == 1 else 'es'} need {need} each"
    found = f"{soft} open files ({hard} at most); {each}"
    if hard < need:
        processes = ceil(wish.users / max(hard - SPARE_FILES, 1))
        more = f", or spread them: --processes {processes}" if hard > SPARE_FILES else ""
        yield Row("open files", "bad", found, f"as root: ulimit -n {need}, and run from there{more}")
    elif soft < need:
        yield Row("open files", "warn", f"{found}; a run raises it by itself", f"ulimit -n {need}")
    else:
        yield Row("open files", "ok", found)


def ports(machine: Machine, wish: Wish) -> Iterator[Row]:
    """A connection to one address and port of the host takes a local port, and keeps it for a minute after us."""
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
        yield Row("local ports", "bad", found, f"{widen}{reuse}, or more addresses on either side")
    elif free < need:
        yield Row("local ports", "warn", found, f"{widen}{reuse}")
    else:
        yield Row("local ports", "ok", found)


def cpu(machine: Machine, wish: Wish) -> Iterator[Row]:
    """Chats held by a busy process are refreshed late, and the run is invalid. What is so only now is a warning."""
    need = wish.users / wish.interval_s * REQUEST_CPU_S
    each = need / wish.processes
    found = f"{machine.cores:g} cores; {wish.users} chats, a refresh every {wish.interval_s:g} s, need about {need:.2g}"
    processes = ceil(need / MOST_BUSY)
    if need > MOST_BUSY * machine.cores:
        yield Row(
            "cores", "bad", found, f"more machines: --master here, --worker there; about {processes} processes in all"
        )
    elif each > MOST_BUSY:
        yield Row("cores", "bad", f"{found}, in {wish.processes} process(es)", f"--processes {processes}")
    else:
        yield Row("cores", "ok", found)
    if machine.load is not None:
        busy = machine.load / machine.cores
        state: State = "warn" if busy > MOST_BUSY else "ok"
        change = "" if state == "ok" else "end what else runs here: ps -eo pid,pcpu,comm --sort=-pcpu | head"
        yield Row("load", state, f"{machine.load:.2f} processes want to run on {machine.cores:g} cores", change)
    if machine.steal is not None:
        state = "warn" if machine.steal > 0.02 else "ok"
        change = (
            "" if state == "ok" else "a machine of its own, or one with guaranteed CPU: what is stolen makes chats late"
        )
        yield Row(
            "steal", state, f"{100 * machine.steal:.1f} % of the CPU's time went to other virtual machines", change
        )
    if machine.pressure is not None:
        state = "warn" if machine.pressure > 0.2 else "ok"
        change = "" if state == "ok" else "end what else runs here, or give it less: nice, taskset"
        yield Row(
            "run queue", state, f"some process waited for a CPU in {100 * machine.pressure:.0f} % of the time", change
        )


def clock(machine: Machine, wish: Wish) -> Iterator[Row]:
    """Bounds of gaps rest on the monotonic clock, comparison with a server's ledger on the wall clock."""
    if machine.clock_resolution_s is not None:
        fine = machine.clock_resolution_s <= 1e-3
        found = f"monotonic, resolution {machine.clock_resolution_s:.2g} s"
        yield Row("clock", "ok" if fine else "bad", found, "" if fine else "another clock source: "
                  "cat /sys/devices/system/clocksource/clocksource0/available_clocksource")  # fmt: skip
    if machine.clock_drift is not None:
        steady = abs(machine.clock_drift) < 2e-3
        found = f"wall clock moves {1000 * machine.clock_drift:+.3f} ms a second against the monotonic one"
        yield Row("clock drift", "ok" if steady else "warn", found, "" if steady else "wait until NTP has settled")
    if machine.clock_synchronised is not None:
        state: State = "ok" if machine.clock_synchronised else "warn"
        found = "synchronised" if machine.clock_synchronised else "the kernel says that nobody keeps the clock"
        change = (
            "" if state == "ok" else "timedatectl set-ntp true; else compare with a server's ledger by chat id only"
        )
        yield Row("clock sync", state, found, change)


def memory(machine: Machine, wish: Wish) -> Iterator[Row]:
    """Memory of chats and processes; what is swapped out answers late."""
    if machine.memory_available is not None:
        need = wish.users * CHAT_BYTES + wish.processes * PROCESS_BYTES
        found = f"{_size(machine.memory_available)} available; {wish.users} chats need {_size(need)} at most"
        state: State = (
            "bad" if machine.memory_available < need else "warn" if machine.memory_available < 1.5 * need else "ok"
        )
        change = "" if state == "ok" else "fewer chats here: more machines, --master and --worker"
        yield Row("memory", state, found, change)
    if machine.swap_used is not None:
        used = machine.swap_used > 64 * 2**20
        change = "sudo swapoff -a, where memory is enough" if used else ""
        yield Row("swap", "warn" if used else "ok", f"{_size(machine.swap_used)} in use", change)


def disk(machine: Machine, wish: Wish) -> Iterator[Row]:
    """A run that cannot be written down is invalid."""
    if machine.disk_free is not None:
        state: State = "bad" if machine.disk_free < DISK_BAD else "warn" if machine.disk_free < DISK_WARN else "ok"
        change = "" if state == "ok" else "--run-dir on another disk"
        yield Row("disk", state, f"{_size(machine.disk_free)} free for {machine.disk}", change)
    if machine.entropy is not None:
        low = machine.entropy < 128
        yield Row(
            "entropy", "warn" if low else "ok", f"{machine.entropy} bits", "install rng-tools or haveged" if low else ""
        )


def versions(machine: Machine, wish: Wish) -> Iterator[Row]:
    """What is installed, and what of it is known to be bad."""
    found = ", ".join(f"{name} {version or 'not installed'}" for name, version in machine.versions.items())
    for name, low, high, why in KNOWN_BAD:
        version = machine.versions.get(name)
        if name in machine.versions and (version is None or _version(low) <= _version(version) < _version(high)):
            change = "pip install -c constraints.txt chatload" if name != "python" else "install Python 3.11 or newer"
            yield Row("versions", "bad", f"{name} {version or 'is not installed'}: {why}", change)
            return
    yield Row("versions", "ok", found)


def own_ports(machine: Machine, wish: Wish) -> Iterator[Row]:
    """The ports that Locust itself listens on."""
    options = {8089: "--web-port", 5557: "--master-bind-port and --master-port"}
    busy = [f"port {port} is in use: {options.get(port, 'choose another')}" for port in machine.busy_ports]
    state: State = "warn" if busy else "ok"
    yield Row("Locust's ports", state, "taken" if busy else "8089 (web UI) and 5557 (master) are free", "; ".join(busy))


_MACHINE: tuple[Callable[[Machine, Wish], Iterator[Row]], ...] = (
    files, ports, cpu, clock, memory, disk, versions, own_ports,
)  # fmt: skip


def _host(host: HostFacts) -> Iterator[Row]:
    if host.refused:
        yield Row("target", "bad", host.refused.partition("; ")[0], host.refused.partition("; ")[2])
        return
    if host.resolve_s is not None and not host.addresses:
        yield Row(
            "name", "bad", f"{host.url}: name not resolved", "check --host, and this machine's DNS: resolvectl status"
        )
        return
    if host.resolve_s is not None:
        slow = host.resolve_s > 0.5
        found = f"{', '.join(host.addresses)} in {_ms(host.resolve_s)}"
        yield Row(
            "name",
            "warn" if slow else "ok",
            found,
            "a resolver nearer by: names are asked for every 30 s" if slow else "",
        )
    if host.connect_s is None:
        yield Row(
            "connection",
            "bad",
            host.trouble or "cannot be opened",
            "check --host, and that it is up and not behind a firewall",
        )
        return
    yield Row("connection", "warn" if host.connect_s > 0.25 else "ok", f"TCP in {_ms(host.connect_s)}",
              "a generator nearer to the host" if host.connect_s > 0.25 else "")  # fmt: skip
    if host.tls:
        yield from _tls(host)
        if host.tls_s is None:
            return
    yield from _chat(host)
    if host.clock_gap_s is not None:
        far = abs(host.clock_gap_s) > 2
        found = f"the server's is {host.clock_gap_s:+.0f} s off ours" if far else "within 2 s of ours"
        yield Row(
            "server's clock",
            "warn" if far else "ok",
            found,
            "synchronise both (NTP) before comparing with its ledger" if far else "",
        )


#: What OpenSSL says (a part of it) -> what mends that. Not to verify is no answer to what is not about trust.
_TLS_CHANGES: Mapping[str, str] = {
    "has expired": "renew the server's certificate; this machine's date, if it is wrong",
    "not yet valid": "this machine's date, if it is wrong; else the server's certificate",
    "is not valid for": "--host by the name that the certificate is for",
    "WRONG_VERSION_NUMBER": "no TLS is spoken at this port: --host http://..., or its https port",
    "timed out": "check the port in --host, and what stands before the server: nobody answers there",
}
_TLS_CHANGE = "--ca-file FILE with its authority; --client-cert FILE if it asks for one; --insecure for one run"


def _tls(host: HostFacts) -> Iterator[Row]:
    if host.tls_s is None:
        trouble = host.trouble or "TLS failed"
        change = next((change for part, change in _TLS_CHANGES.items() if part in trouble), _TLS_CHANGE)
        yield Row("TLS", "bad", trouble, change)
        return
    said = "" if host.verified else ", certificate NOT verified (--insecure)"
    state: State = "ok" if host.verified else "warn"
    yield Row("TLS", state, f"handshake in {_ms(host.tls_s)}{said}", "" if host.verified else "--ca-file FILE")
    if host.expires_in_s is not None:
        days = host.expires_in_s / _DAY_S
        state = "bad" if days < 0 else "warn" if days < 14 else "ok"
        yield Row("certificate", state, f"ends in {days:.0f} days", "" if state == "ok" else "renew it")


def _chat(host: HostFacts) -> Iterator[Row]:
    took = f" in {_ms(host.chat_s)}" if host.chat_s is not None else ""
    if host.outcome != "0/false":
        found = f"RequestChat: {host.outcome or 'no answer'}{took}{f' ({host.detail})' if host.detail else ''}"
        yield Row("chat", "bad", found, "check --service and --dialect, and that agents' service is open")
        return
    if host.goodbye not in ("0/true", "0/false"):
        found = f"RequestChat 0/false{took}, but Disconnect: {host.goodbye or 'no answer'}"
        yield Row("chat", "warn", found, "check --dialect: a chat that is not said goodbye to stays until its timeout")
        return
    yield Row("chat", "ok", f"RequestChat 0/false{took}, Disconnect {host.goodbye}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])
