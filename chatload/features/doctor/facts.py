"""What is known of the machine and of the host, and what is wanted of them. Values only; `reading` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wish:
    """What is to be run. users: chats at once; processes: of the generator; interval_s: between two GetMessages of a
    chat; chat_length_s: mean."""

    users: int = 100
    processes: int = 1
    interval_s: float = 3.0
    chat_length_s: float = 60.0


@dataclass(frozen=True)
class Machine:
    """The machine, and limits of this process. None is not known (not Linux, or not to be read).

    files_soft, files_hard: RLIMIT_NOFILE. ports_low, ports_high: the range of local ports, both inclusive;
    ports_reserved: of these not to be had; time_wait: ports that closed connections still hold; tw_reuse:
    net.ipv4.tcp_tw_reuse. cores: that may be used; load: mean number of runnable processes, 1 min; steal: share of the
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
    """What came of asking a host.

    refused: why it was not asked; the target guard's words. addresses: of its name; resolve_s, connect_s, tls_s: how
    long each took, None where it did not come to that; trouble: what went wrong on the way, as a transport says it.
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
