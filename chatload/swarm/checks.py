"""Checks before a run: ceilings on sessions and requests, limits of this machine, user classes, and the service."""

import os
from argparse import Namespace
from collections.abc import Iterable, Sequence

from chatload.chat.settings import SessionSettings
from chatload.errors import UsageError
from chatload.features.doctor.machine import MachineFacts, PlannedLoad, files, ports
from chatload.plausibility import doubtful
from chatload.protocol.encode import Encoder
from chatload.protocol.wire import REFUSED_LOGIN, Detail
from chatload.run.settings import OF_A_CLASS, SETTINGS, RunSettings, option_of
from chatload.sockets import local_ports, raise_file_limit
from chatload.swarm import log
from chatload.target import TargetRules
from chatload.thresholds.gate import Gate
from chatload.transport import OpenTransport

#: Requests per message of a customer: StartTyping, StopTyping, SendMessage.
_PER_MESSAGE = 3
_SERVICE_TRIES = 3
_UNREACHABLE = frozenset(
    {
        *(Detail.REFUSED, Detail.NAME, Detail.UNREACHABLE, Detail.NOT_AGREED),
        *(Detail.TLS, Detail.EXPIRED, Detail.OTHER_NAME, Detail.UNTRUSTED),
    }
)


def planned_rate(users: int, settings: SessionSettings) -> float:
    """Return the requests per second of `users` that all hold a chat.

    They are polls, and the other requests of a chat of mean length: RequestChat, Disconnect, and as many messages of
    the customer as there is time for.
    """
    script = settings.script
    length = max(script.chat_length.mean(), 0.1)
    time_for = length / max(script.think.mean() + script.typing.mean(), 0.1)
    others = 2 + _PER_MESSAGE * min(script.messages.mean(), time_for)
    return users * (1 / settings.mean_interval_s + others / length)


def refuse_above_ceiling(rules: TargetRules, users: int, mix: Sequence[tuple[float, SessionSettings]]) -> None:
    """Raise UsageError if so many users would exceed a ceiling. mix: the share and settings of each user class."""
    if rules.max_sessions is not None and users > rules.max_sessions:
        ceiling = f"the ceiling of {rules.max_sessions} sessions"
        raise UsageError(f"{users} users are above {ceiling}", rules.origin("max_sessions"))
    rate = sum(share * planned_rate(users, settings) for share, settings in mix)
    if rules.max_requests_per_s is not None and rate > rules.max_requests_per_s:
        intervals = dict.fromkeys(f"{settings.mean_interval_s:g} s" for _, settings in mix)
        raise UsageError(
            f"{users} users with a refresh every {' or '.join(intervals)} make about {rate:.3g} requests/s, "
            f"above the ceiling of {rules.max_requests_per_s:g}",
            f"fewer users or a longer interval; {rules.origin('max_requests_per_s')}",
        )


def doubts(run: RunSettings, gate: Gate) -> list[str]:
    """Return a warning for each setting and each threshold of a run that surely is meant otherwise."""
    values = {name: getattr(run, name) for name, setting in SETTINGS.items() if setting.option is not None}
    numbers = {option_of(name).flag: value for name, value in values.items() if isinstance(value, int | float)}
    found = doubtful(numbers) + gate.doubts()
    for one in run.classes:
        own = {
            option_of(name).flag: value
            for name in OF_A_CLASS
            if isinstance(value := getattr(one, name, None), int | float) and value != values[name]
        }
        found += [f"user class {one.name}: {text}" for flag in own for text in doubtful({**numbers, **own}, flag)]
    return found


def refuse_beyond_limits(options: Namespace) -> None:
    """Raise UsageError if this machine's processes may not open a file for every user.

    Too few local ports are only logged: a host may have several addresses.
    """
    soft, hard = raise_file_limit()
    processes = options.processes or 1
    if options.master and not options.processes:
        return  # its workers are on other machines, with limits of their own
    low, high = local_ports()
    machine = MachineFacts(files_soft=soft, files_hard=hard, ports_low=low, ports_high=high)
    users = options.num_users or 1
    wish = PlannedLoad(
        min(users, int(options.connections or 0) or users), processes if processes > 0 else os.cpu_count() or 1
    )
    for row in files(machine, wish):
        if row.state == "bad":
            raise UsageError(f"too few open files: {row.found}", row.change)
    for row in ports(machine, wish):
        if row.state == "bad":
            log.warning("chatload: too few local ports: %s; %s", row.found, row.change)


def check_users(user_classes: Iterable[type], is_open: bool) -> None:
    """Raise UsageError if the user classes do not fit the workload. is_open: the options ask for arrivals."""
    sources = {bool(getattr(user_class, "is_source", False)) for user_class in user_classes}
    if True not in sources:
        if is_open:
            raise UsageError("--arrival-rate and --arrival-profile are for locustfiles/arrivals.py")
    elif False in sources:
        raise UsageError(
            "the sources of an open workload share its rate with all users of a run",
            "start other users in a locust process of their own",
        )
    elif not is_open:
        raise UsageError("no arrivals are asked for", "give --arrival-rate PER_S or --arrival-profile FILE.csv")


def check_service(
    encoder: Encoder,
    open_transport: OpenTransport,
    timeout_s: float,
    host: str,
    service: str,
    has_headers: bool = False,
    login: str = "a header of --dialect (docs/running.md), or a hook (docs/python.md)",
) -> None:
    """Ask the service for a chat that does not exist, which opens no chat.

    has_headers: chats have headers from a hook, which this request has not: it may be refused for that (401, 403).
    login: where a key or token can be given, as a hint for the user.

    Raises UsageError if the host cannot be reached, or has no such service. Temporary faults (a timeout, a 5xx) raise
    nothing: the run reports them.
    """
    keys = {"chat_id": "preflight", "user_id": "0", "secure_key": "0", "alias": "0", "position": "0"}
    request = encoder.encode("GetMessages", keys)
    transport = open_transport()
    try:
        for _ in range(_SERVICE_TRIES):
            result = transport.call(request, timeout_s)
            if result.failure is None or result.detail not in _UNREACHABLE:
                break
        else:
            raise UsageError(f"{host} cannot be reached: {result.detail}", "check --host, and that it is up")
    finally:
        transport.close()
    unknown = (429, *REFUSED_LOGIN) if has_headers else (429,)
    if result.failure is None and 300 <= result.http_status < 500 and result.http_status not in unknown:
        if result.http_status in REFUSED_LOGIN:
            raise UsageError(
                f"{host} refuses requests: HTTP {result.http_status} at {request.path}",
                f"check the API key or token: {login}",
            )
        raise UsageError(
            f"{host} has no chat service {service!r} at {request.path}: HTTP {result.http_status}",
            "check --service, --dialect and --host",
        )
