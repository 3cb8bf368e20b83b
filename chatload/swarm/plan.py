"""The run's plan: the options' values, checked once, turned into what the users share."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chatload.chat.policy import RefreshPolicy, make_policy
from chatload.chat.script import CustomerScript, load_script
from chatload.chat.settings import SessionSettings
from chatload.chat.sweep import fractions_in, swept
from chatload.chat.widget import POLL_S
from chatload.chat.widget import REQUEST_TIMEOUT_S as WIDGET_TIMEOUT_S
from chatload.errors import UsageError
from chatload.protocol.dialect import Dialect, load_dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.wire import Detail, WireRequest
from chatload.rules import Rules, read_rules
from chatload.run.retention import KEEP_S, LEAST_KEEP_S
from chatload.swarm.option_list import listed
from chatload.swarm.option_values import existing_file, number, whole
from chatload.swarm.workload import OpenWorkload, make_open_workload
from chatload.target import anywhere, require_agreed
from chatload.thresholds.gate import Gate, make_gate
from chatload.transport import Endpoint, Transport, make_factory

#: One call may take this long in all by default (seconds); less under a short timeout.
REQUEST_TIMEOUT_S = 10.0
_PREFLIGHT_TRIES = 3
_UNREACHABLE = frozenset(
    {
        *(Detail.REFUSED, Detail.NAME, Detail.UNREACHABLE, Detail.NOT_AGREED),
        *(Detail.TLS, Detail.EXPIRED, Detail.OTHER_NAME, Detail.UNTRUSTED),
    }
)


@dataclass(frozen=True)
class Plan:
    """Everything the users of one process share. host: its URL without user and password. chats: stop
    once so many have ended, 0 is never. encoder: builds the requests of `dialect` for `service`. gate: the
    thresholds. workload: how chats arrive, None where each user holds one after another. rules: its ceilings.
    owner_agrees: to load on this host, wherever its name leads. keep_windows_s: see `store.retention`."""

    host: str
    service: str
    dialect: Dialect
    encoder: Encoder
    settings: SessionSettings
    chats: int
    seed: int
    open_transport: Callable[[], Transport]
    gate: Gate
    workload: OpenWorkload | None = None
    rules: Rules = Rules()
    owner_agrees: bool = False
    keep_windows_s: float = KEEP_S


def make_plan(options: Namespace, host: str | None, agreed: Iterable[str] = ()) -> Plan:
    """The plan in Locust's parsed options; raises UsageError for what cannot be meant. agreed: hosts whose owners
    agree, beside those in the options."""
    if not host:
        raise UsageError("no host to test", "give it with --host http://HOST:PORT")
    dialect = load_dialect(options.dialect)
    if options.persona == "widget":
        dialect = dialect.with_trailing_slash("RequestChat")
    settings = _settings(options, dialect)
    rules = rules_of(options)
    endpoint = _endpoint(options, host, [*listed(options.target_owner_agrees), *agreed], rules)
    if endpoint.tls:
        _ = endpoint.context  # built before the first chat, and a bad certificate is a user's mistake
    return Plan(
        host=endpoint.url,
        service=options.service,
        dialect=dialect,
        encoder=Encoder(dialect, options.service),
        settings=swept(settings, fractions_in(getattr(options, "sweep", ""))),
        chats=whole(options, "chats"),
        seed=whole(options, "chat_seed"),
        open_transport=make_factory(options.transport, endpoint, connections=_connections(options)),
        gate=make_gate(
            listed(options.threshold),
            listed(options.abort_on),
            number(options, "confidence") or 95.0,
            bool(options.allow_inconclusive),
            named=options.gate or "",
            long_poll_s=settings.long_poll_s,
        ),
        workload=_workload(options),
        rules=rules,
        owner_agrees=endpoint.admits is anywhere,
        keep_windows_s=_keep_windows(options),
    )


def rules_of(options: Namespace) -> Rules:
    """What holds for a run with these options; raises UsageError, FileError."""
    return read_rules().lowered(number(options, "max_sessions"), number(options, "max_requests_per_s"))


def _settings(options: Namespace, dialect: Dialect) -> SessionSettings:
    timeout = number(options, "flex_disconnect_timeout")
    if timeout is None:
        raise UsageError("--flex-disconnect-timeout is missing", "give the server's own setting in seconds")
    policy = _policy(options, timeout)
    script = load_script(options.script) if options.script else CustomerScript()
    length = number(options, "chat_length")
    if length is not None:
        script = script.with_chat_length(length)
    dialect.require(extra.operation for extra in script.extras)
    request_timeout, long_poll = number(options, "request_timeout"), number(options, "long_poll")
    if request_timeout is None:
        request_timeout = WIDGET_TIMEOUT_S if options.persona == "widget" else min(REQUEST_TIMEOUT_S, timeout / 2)
    return SessionSettings(
        policy,
        request_timeout,
        script,
        dialect.keeps_ended_s,
        dialect.long_poll_s if long_poll is None else long_poll,
        options.persona,
        dialect.agent_end_removes_customer,
    )


#: What says how often, and for which policy alone it means anything.
_OF_POLICY = {"refresh_interval": "fixed", "refresh_fraction": "fraction"}


def _policy(options: Namespace, timeout: float) -> RefreshPolicy:
    for name, kind in _OF_POLICY.items():
        if number(options, name) is not None and options.refresh_policy != kind:
            option = f"--{name.replace('_', '-')} {getattr(options, name)}"
            raise UsageError(
                f"{option} is for --refresh-policy {kind}, and this run's is {options.refresh_policy}",
                f"add --refresh-policy {kind}, or leave it out",
            )
    interval = number(options, "refresh_interval")
    if options.persona == "widget":
        if options.refresh_policy != "fixed":
            raise UsageError(
                f"--persona widget polls on a fixed clock, not by --refresh-policy {options.refresh_policy}",
                "leave one of them out",
            )
        interval = POLL_S if interval is None else interval
    return make_policy(
        options.refresh_policy,
        timeout,
        interval,
        number(options, "refresh_fraction"),
        bool(options.allow_late_refresh),
    )


def _keep_windows(options: Namespace) -> float:
    keep_s = float(whole(options, "keep_windows"))
    if 0 < keep_s < LEAST_KEEP_S:
        raise UsageError(f"--keep-windows {keep_s:g} is under an hour", f"give {LEAST_KEEP_S:g} or more, or 0 for ever")
    return keep_s


def _connections(options: Namespace) -> int:
    connections = whole(options, "connections")
    if connections and options.transport != "lean":
        raise UsageError(f"--transport {options.transport} shares no connections", "leave --connections out")
    return connections


def _workload(options: Namespace) -> OpenWorkload | None:
    if not hasattr(options, "arrival_rate"):  # known only where a locustfile has sources
        return None
    return make_open_workload(
        number(options, "arrival_rate"),
        existing_file(options, "arrival_profile"),
        number(options, "arrival_compress"),
        whole(options, "max_open"),
        getattr(options, "arrivals_shared", None),
    )


def _endpoint(options: Namespace, host: str, agreed: Iterable[str], rules: Rules) -> Endpoint:
    """Where to connect to, as far as its owner agrees to that; raises UsageError."""
    endpoint = Endpoint(
        host,
        verify=not options.insecure,
        ca_file=existing_file(options, "ca_file"),
        client_cert=existing_file(options, "client_cert"),
    )
    proxied = False
    if options.transport == "requests":
        from chatload.transport import requests_transport

        proxied = requests_transport.proxied(endpoint.url)
    endpoint.admits = require_agreed(endpoint.host, agreed, rules, proxied=proxied)
    return endpoint


def preflight(plan: Plan) -> None:
    """`check_service` for a run."""
    check_service(plan.encoder, plan.open_transport, plan.settings.request_timeout_s, plan.host, plan.service)


def check_service(
    encoder: Encoder, open_transport: Callable[[], Transport], timeout_s: float, host: str, service: str
) -> None:
    """Ask the service once for a chat that does not exist: no chat is opened, but a host that cannot
    be reached and a service that is not there are found before the run, not by it.

    Raises UsageError. Passing faults (a timeout, a 5xx) are the run's to report, not refused here.
    """
    keys = {"chat_id": "preflight", "user_id": "0", "secure_key": "0", "alias": "0", "position": "0"}
    request: WireRequest = encoder.encode("GetMessages", keys)
    transport = open_transport()
    try:
        for _ in range(_PREFLIGHT_TRIES):
            result = transport.call(request, timeout_s)
            if result.failure is None or result.detail not in _UNREACHABLE:
                break
    finally:
        transport.close()
    if result.failure is not None and result.detail in _UNREACHABLE:
        raise UsageError(f"{host} cannot be reached: {result.detail}", "check --host, and that it is up")
    if result.failure is None and 300 <= result.http_status < 500 and result.http_status != 429:
        raise UsageError(
            f"{host} has no chat service {service!r} at {request.path}: HTTP {result.http_status}",
            "check --service, --dialect and --host",
        )
