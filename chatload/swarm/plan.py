"""A run's plan: everything that the users of a process share, made from options that are checked once."""

from __future__ import annotations

import platform
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chatload
from chatload.chat.feeder import FeederRows
from chatload.chat.personas import REQUEST_TIMEOUT_S as WIDGET_TIMEOUT_S
from chatload.chat.policy import WIDGET_INTERVAL_S, make_policy
from chatload.chat.script import CustomerScript, load_script
from chatload.chat.settings import SessionSettings
from chatload.errors import UsageError
from chatload.features.doctor.machine import SPARE_FILES
from chatload.protocol.dialect import Dialect, load_dialect
from chatload.protocol.encode import Encoder
from chatload.run.arrivals import RateProfile, arrivals, load_profile
from chatload.run.settings import (
    OF_A_CLASS,
    ClassSettings,
    RunSettings,
    digest,
    option_of,
    session_settings,
    stored_dialect,
    stored_script,
    values_of,
    written,
)
from chatload.run.windows import LEAST_KEEP_S
from chatload.sockets import NO_LIMIT, file_limits
from chatload.swarm.classes import UserClass, is_customer
from chatload.swarm.options import place_of
from chatload.target import TargetRules, anywhere, read_rules, require_agreed
from chatload.thresholds.gate import Gate, gate_of
from chatload.transport import Endpoint, OpenTransport, make_factory

if TYPE_CHECKING:
    from locust.env import Environment

#: One request may take this long in all by default (seconds); less under a short timeout.
REQUEST_TIMEOUT_S = 10.0
#: The default of --max-open where the number of open files has no limit.
_MANY = 1_000_000


@dataclass(frozen=True)
class OpenWorkload:
    """Chats that arrive whether or not earlier ones have ended.

    profile: rate over time, of all sources together. max_open: maximum number of open chats in one process. sources:
    number of sources that share the rate. began: start of the profile (seconds, this process's monotonic clock).
    """

    profile: RateProfile
    max_open: int
    sources: int = 1
    began: float = field(default_factory=time.monotonic)

    def instants(self, seed: str) -> Iterator[float]:
        """Yield when chats arrive at one source from now on (seconds, monotonic)."""
        since = time.monotonic() - self.began
        for instant in arrivals(self.profile, 1 / self.sources, seed, since):
            yield self.began + instant

    def shared_out(self, sources: int, began: float) -> OpenWorkload:
        """Return this workload with its rate shared by `sources`, in a run that began at `began` (Unix seconds)."""
        return replace(self, sources=max(1, sources), began=time.monotonic() - max(0.0, time.time() - began))

    def over(self) -> bool:
        return time.monotonic() > self.began + self.profile.length_s


def make_open_workload(given: RunSettings) -> OpenWorkload | None:
    """Return the open workload of these settings, None if they ask for none. Raises UsageError, FileError."""
    rate, file, compress = given.arrival_rate, given.arrival_profile, given.arrival_compress
    if rate is not None and file:
        raise UsageError("--arrival-rate and --arrival-profile contradict each other", "leave one of them out")
    if compress is not None and not file:
        raise UsageError("--arrival-compress needs --arrival-profile", "a constant rate has no profile to compress")
    if rate is None and not file:
        return None
    profile = RateProfile.constant(rate) if rate is not None else load_profile(file, compress or 1.0)
    limit, _ = file_limits()
    # One connection per chat.
    room = _MANY if limit == NO_LIMIT else max(1, limit - SPARE_FILES)
    return OpenWorkload(profile, given.max_open or room)


@dataclass(frozen=True)
class ClassPlan:
    """Everything the users of one class in one process share.

    name: "" in a run with only one class. run: the settings of the run, with those of this class. settings: those of
    its chats. encoder: builds the requests of `dialect`. open_host: opens a transport to another host, for hooks, or
    raises UsageError if its owner has not agreed. hooks: those that it defines. rows: of its feeder, None without one.
    share: of the users, as their weights say it.
    """

    name: str
    run: RunSettings
    settings: SessionSettings
    dialect: Dialect
    encoder: Encoder
    open_transport: OpenTransport
    open_host: Callable[[str], OpenTransport]
    hooks: tuple[str, ...] = ()
    rows: FeederRows | None = None
    share: float = 1.0


@dataclass(frozen=True)
class RunPlan:
    """Everything the users of one process share.

    run: the settings of the run. settings: those of its chats; if user classes have their own, those by the options.
    classes: what each user class has, by name. gate: the thresholds. workload: how chats arrive, None where each user
    holds one after another. rules: the ceilings on the load. agreed: hosts whose owners agree to load, at any address.
    """

    run: RunSettings
    settings: SessionSettings
    classes: Mapping[str, ClassPlan]
    gate: Gate
    workload: OpenWorkload | None = None
    rules: TargetRules = TargetRules()
    agreed: tuple[str, ...] = ()

    def of(self, user_class: str) -> ClassPlan:
        """Return what a user class has, by its name in the locustfile."""
        return self.classes[user_class] if user_class in self.classes else self.classes[""]

    @property
    def mix(self) -> list[tuple[float, SessionSettings]]:
        """The share of the users and the settings of each class."""
        return [(plan.share, plan.settings) for plan in self.classes.values()]


def make_plan(
    options: Namespace, host: str | None, agreed: Iterable[str] = (), classes: Sequence[UserClass] = ()
) -> RunPlan:
    """Make the plan of Locust's parsed options. Raises UsageError, FileError.

    host: the URL under test, with its login; None: each class has its own. agreed: hosts whose owners agree, beside
    those in the options. classes: the user classes of the run; none: the options alone.
    """
    given = RunSettings(**values_of(options))
    _check_effect(given, host, classes)
    workload = make_open_workload(given)
    shared = getattr(options, "arrivals_shared", None)
    if workload is not None and shared is not None:
        workload = workload.shared_out(*shared)
    gate = gate_of(given, options.gate or "")
    gate.require_classes([one.name for one in classes])
    rules = read_rules().lowered(given.max_sessions, given.max_requests_per_s)
    hosts = _Hosts(given, [*given.target_owner_agrees, *agreed], rules)
    common = {
        "max_sessions": rules.max_sessions,
        "max_requests_per_s": rules.max_requests_per_s,
        "approval_id": rules.approval_id,
        "allowed_hours": tuple(map(str, rules.hours)),
        **gate.settings(),
    }
    shares = shares_of(classes, getattr(options, "num_users", None) or 1)
    plans = []
    for one, share in zip(classes or [UserClass()], shares or [1.0], strict=True):
        name = one.name if len(classes) > 1 else ""
        plans.append(_class_plan(replace(given, **common), one, name, share, host, hosts, workload))
    run, settings = plans[0].run, plans[0].settings
    if len(classes) > 1:
        described = tuple(_described(plan, one) for plan, one in zip(plans, classes, strict=True))
        run, settings = _of_all(replace(given, **common), classes, host, hosts, workload)
        run = replace(run, classes=described)
    return RunPlan(run, settings, {plan.name: plan for plan in plans}, gate, workload, rules, hosts.agreed_urls())


class _Hosts:
    """The hosts of a run: classes with the same one share its addresses, its TLS context and its connections."""

    def __init__(self, given: RunSettings, agreed: list[str], rules: TargetRules) -> None:
        self._given, self._agreed, self._rules = given, agreed, rules
        self._open: dict[str, tuple[Endpoint, OpenTransport]] = {}

    def open(self, url: str) -> tuple[Endpoint, OpenTransport]:
        """Return the endpoint of a URL, and what opens a transport to it. Raises UsageError."""
        if url not in self._open:
            given = self._given
            endpoint = Endpoint(
                url, verify=not given.insecure, ca_file=given.ca_file or None, client_cert=given.client_cert or None
            )
            proxied = False
            if given.transport == "requests":
                from requests.utils import get_environ_proxies

                proxied = bool(get_environ_proxies(endpoint.url))
            endpoint.admits = require_agreed(endpoint.host, self._agreed, self._rules, proxied=proxied)
            self._open[url] = endpoint, make_factory(given.transport, endpoint, given.connections)
        return self._open[url]

    def agreed_urls(self) -> tuple[str, ...]:
        """Return the hosts whose owners agree to load at any address."""
        return tuple(endpoint.url for endpoint, _ in self._open.values() if endpoint.admits is anywhere)


def shares_of(classes: Sequence[UserClass], users: int) -> list[float]:
    """Return the share of the users that each class has. Locust starts fixed counts first, others by weight."""
    fixed = sum(one.fixed_count for one in classes)
    weights = sum(one.weight for one in classes if not one.fixed_count)
    left = max(0, users - fixed)
    total = max(1, users, fixed)
    found = []
    for one in classes:
        count = one.fixed_count if one.fixed_count else (left * one.weight / weights if weights else 0.0)
        found.append(count / total)
    return found


def _class_plan(
    given: RunSettings,
    one: UserClass,
    name: str,
    share: float,
    host: str | None,
    hosts: _Hosts,
    workload: OpenWorkload | None,
) -> ClassPlan:
    try:
        own = replace(given, **one.changes())
        if own.sweep and (name_of_it := next((each for each in one.own if each.startswith("refresh_")), "")):
            raise UsageError(f"{name_of_it} has no effect: --sweep sets the intervals", "leave it out")
        dialect = load_dialect(own.dialect)
        if own.persona == "widget":
            dialect = dialect.with_trailing_slash("RequestChat")
        script = one.script or (load_script(own.script) if own.script else CustomerScript())
        dialect.require(extra.operation for extra in script.extras)
        rows = None if script.feeder is None else script.feeder.load()
        source = own.script or (f"the script of {one.name}" if one.script else "script")
        script.check_columns(source, () if rows is None else rows.columns)
        run = _resolved(own, dialect, script, workload)
        url = host or (one.host.reveal() if one.host else None)
        if not url:
            raise UsageError("no host to test", "give it with --host http://HOST:PORT")
        endpoint, open_transport = hosts.open(url)
        if script.feeder is not None and rows is not None:
            run = replace(run, feeder=str(script.feeder), feeder_sha256=rows.sha256)
        settings = replace(session_settings(run, dialect, script), user_class=name)
    except UsageError as error:
        if not (one.own or one.script or one.host):
            raise
        raise UsageError(f"user class {one.name}: {error.message}", error.hint) from None
    arms = tuple(replace(arm, user_class=name) for arm in settings.arms)
    return ClassPlan(
        name,
        replace(run, host=endpoint.url),
        replace(settings, arms=arms),
        dialect,
        Encoder(dialect, run.service),
        open_transport,
        lambda url: hosts.open(url)[1],
        one.hooks,
        rows,
        share,
    )


def _of_all(
    given: RunSettings,
    classes: Sequence[UserClass],
    host: str | None,
    hosts: _Hosts,
    workload: OpenWorkload | None,
) -> tuple[RunSettings, SessionSettings]:
    """Return the settings of a run with several classes, and those of its chats by the options."""
    dialect = load_dialect(given.dialect)
    script = load_script(given.script) if given.script else CustomerScript()
    run = _resolved(given, dialect, script, workload)
    settings = session_settings(run, dialect, script)
    if any(one.own or one.script for one in classes):
        # What the options left open is not the same in all classes.
        run = replace(run, **{name: getattr(given, name) for name in OF_A_CLASS})
    urls = {host} if host else {one.host.reveal() for one in classes if one.host}
    if len(urls) == 1:
        run = replace(run, host=hosts.open(urls.pop())[0].url)
    return run, settings


def _described(plan: ClassPlan, one: UserClass) -> ClassSettings:
    run = plan.run
    of_class = {name: getattr(one, name) for name in ("name", "weight", "fixed_count", "tags", "hooks")}
    of_class["script"] = run.script or ("in Python" if one.script else "")
    names = {f.name for f in fields(ClassSettings)} - of_class.keys()
    return ClassSettings(**of_class, **{name: getattr(run, name) for name in names})


def _check_effect(given: RunSettings, host: str | None, classes: Sequence[UserClass]) -> None:
    """Refuse an option or a host that no class would use."""
    for name in OF_A_CLASS:
        value, option = getattr(given, name), option_of(name)
        if not classes or value in (None, "", getattr(RunSettings, name), option.value(option.default)):
            continue
        own = [one.own.get(name, one.script) if name == "script" else one.own.get(name) for one in classes]
        if all(each is not None and each != value for each in own):
            who = "user class " + classes[0].name if len(classes) == 1 else "every user class"
            place = place_of(option, value)
            hint = f"leave it out of {place}" if place else "leave it out"
            raise UsageError(f"{option.flag} {written(value)} has no effect: {who} has its own", hint)
    hosts = {one.host.reveal(): one.name for one in classes if one.host}
    if host and len(hosts) > 1:
        raise UsageError(
            f"--host takes the place of the hosts of the user classes {' and '.join(sorted(hosts.values()))}",
            "leave out --host, or the host of the classes",
        )


def _resolved(
    given: RunSettings, dialect: Dialect, script: CustomerScript, workload: OpenWorkload | None
) -> RunSettings:
    """Return the settings with the defaults that depend on other settings, and with the content of named files."""
    _check_contradictions(given)
    timeout_s = given.flex_disconnect_timeout
    if timeout_s is None:
        raise UsageError("--flex-disconnect-timeout is missing", "give the server's own setting in seconds")
    widget = given.persona == "widget"
    interval_s = WIDGET_INTERVAL_S if widget and given.refresh_interval is None else given.refresh_interval
    policy = make_policy(given.refresh_policy, timeout_s, interval_s, given.refresh_fraction, given.allow_late_refresh)
    usual_s = WIDGET_TIMEOUT_S if widget else min(REQUEST_TIMEOUT_S, timeout_s / 2)
    chat_length, script_text = given.chat_length, ""
    if given.script or script != CustomerScript():
        script_text = stored_script(given.script or script)
    elif chat_length is None:
        chat_length = script.chat_length.mean()
    dialect_text = stored_dialect(given.dialect) if Path(given.dialect).is_file() else ""
    profile = Path(given.arrival_profile).read_text(encoding="utf-8-sig") if given.arrival_profile else ""
    return replace(
        given,
        name=run_name(given.locustfile),
        refresh_interval=policy.interval_s,
        request_timeout=usual_s if given.request_timeout is None else given.request_timeout,
        long_poll=dialect.server.long_poll_s if given.long_poll is None else given.long_poll,
        chat_length=chat_length,
        script_text=script_text,
        script_sha256=digest(script_text),
        dialect_text=dialect_text,
        dialect_sha256=digest(dialect_text),
        workload="" if workload is None else "open",
        max_open=None if workload is None else workload.max_open,
        arrival_profile_text=profile,
        arrival_profile_sha256=digest(profile),
    )


#: Setting of the time between refreshes -> the only policy that uses it.
_OF_POLICY = {"refresh_interval": "fixed", "refresh_fraction": "fraction"}


def _check_contradictions(given: RunSettings) -> None:
    for name, kind in _OF_POLICY.items():
        value = getattr(given, name)
        if value is not None and given.refresh_policy != kind:
            raise UsageError(
                f"{option_of(name).flag} {written(value)} is for --refresh-policy {kind}, and this run's is "
                f"{given.refresh_policy}",
                f"add --refresh-policy {kind}, or leave it out",
            )
    if given.persona == "widget" and given.refresh_policy != "fixed":
        raise UsageError(
            f"--persona widget polls on a fixed clock, not by --refresh-policy {given.refresh_policy}",
            "leave one of them out",
        )
    if 0 < given.keep_windows < LEAST_KEEP_S:
        least = f"give {LEAST_KEEP_S:g} or more, or 0 for ever"
        raise UsageError(f"--keep-windows {given.keep_windows:g} is under an hour", least)
    if given.connections and given.transport != "lean":
        raise UsageError(f"--transport {given.transport} shares no connections", "leave --connections out")


def run_name(locustfile: str | None) -> str:
    return Path((locustfile or "run").split(",")[0]).stem


def run_dir_of(options: Namespace) -> Path:
    """Return the folder of a run with these options."""
    return Path(options.run_dir) if options.run_dir else new_run_dir(run_name(getattr(options, "locustfile", None)))


def new_run_dir(name: str) -> Path:
    """Return reports/<UTC time>-<name>."""
    return Path("reports") / f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{name}"


def run_settings(environment: Environment, plan: RunPlan) -> RunSettings:
    """Return the settings of a run that begins now: those of its plan, with its processes, users and versions."""
    options: Any = environment.parsed_options
    workers = len(environment.runner.clients) if hasattr(environment.runner, "clients") else 0
    return replace(
        plan.run,
        started_at=datetime.now(UTC).timestamp(),
        user_classes=tuple(options.user_classes or ()),
        other_user_classes=tuple(sorted(one.__name__ for one in environment.user_classes if not is_customer(one))),
        workers=workers,
        stop_timeout=environment.stop_timeout,
        connections_in_all=plan.run.connections * max(1, workers),
        chatload_version=chatload.__version__,
        locust_version=version("locust"),
        python_version=platform.python_version(),
    )
