"""A run's plan: everything that the users of a process share, made from options that are checked once."""

from __future__ import annotations

import platform
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chatload
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
class RunPlan:
    """Everything the users of one process share.

    run: the settings of the run. settings: those of its chats. encoder: builds the requests of `dialect`. gate: the
    thresholds. workload: how chats arrive, None where each user holds one after another. rules: the ceilings on the
    load. owner_agrees: the host's owner agrees to load, at any address.
    """

    run: RunSettings
    settings: SessionSettings
    dialect: Dialect
    encoder: Encoder
    open_transport: OpenTransport
    gate: Gate
    workload: OpenWorkload | None = None
    rules: TargetRules = TargetRules()
    owner_agrees: bool = False


def make_plan(options: Namespace, host: str | None, agreed: Iterable[str] = ()) -> RunPlan:
    """Make the plan of Locust's parsed options. Raises UsageError, FileError.

    host: the URL under test, with its login. agreed: hosts whose owners agree, beside those in the options.
    """
    if not host:
        raise UsageError("no host to test", "give it with --host http://HOST:PORT")
    given = RunSettings(**values_of(options))
    dialect = load_dialect(given.dialect)
    if given.persona == "widget":
        dialect = dialect.with_trailing_slash("RequestChat")
    script = load_script(given.script) if given.script else CustomerScript()
    dialect.require(extra.operation for extra in script.extras)
    workload = make_open_workload(given)
    shared = getattr(options, "arrivals_shared", None)
    if workload is not None and shared is not None:
        workload = workload.shared_out(*shared)
    run = _resolved(given, dialect, script, workload)
    rules = read_rules().lowered(run.max_sessions, run.max_requests_per_s)
    endpoint = Endpoint(host, verify=not run.insecure, ca_file=run.ca_file or None, client_cert=run.client_cert or None)
    proxied = False
    if run.transport == "requests":
        from requests.utils import get_environ_proxies

        proxied = bool(get_environ_proxies(endpoint.url))
    endpoint.admits = require_agreed(endpoint.host, [*run.target_owner_agrees, *agreed], rules, proxied=proxied)
    open_transport = make_factory(run.transport, endpoint, run.connections)
    gate = gate_of(run, options.gate or "")
    run = replace(
        run,
        host=endpoint.url,
        max_sessions=rules.max_sessions,
        max_requests_per_s=rules.max_requests_per_s,
        approval_id=rules.approval_id,
        allowed_hours=tuple(map(str, rules.hours)),
        **gate.settings(),
    )
    return RunPlan(
        run=run,
        settings=session_settings(run, dialect, script),
        dialect=dialect,
        encoder=Encoder(dialect, run.service),
        open_transport=open_transport,
        gate=gate,
        workload=workload,
        rules=rules,
        owner_agrees=endpoint.admits is anywhere,
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
    chat_length = script.chat_length.mean() if given.chat_length is None and not given.script else given.chat_length
    script_text = stored_script(given.script) if given.script else ""
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
        workers=workers,
        stop_timeout=environment.stop_timeout,
        connections_in_all=plan.run.connections * max(1, workers),
        chatload_version=chatload.__version__,
        locust_version=version("locust"),
        python_version=platform.python_version(),
    )
