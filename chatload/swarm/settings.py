"""What a run writes down about itself, and where."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from locust.env import Environment

import chatload
from chatload.chat.sweep import fractions_in
from chatload.swarm.option_values import number, whole
from chatload.swarm.plan import Plan
from chatload.swarm.workload import OpenWorkload

#: Options that are written down as they were given.
_AS_GIVEN = (
    "persona",
    "refresh_policy",
    "allow_late_refresh",
    "service",
    "dialect",
    "script",
    "transport",
    "insecure",
    "ca_file",
    "client_cert",
    "target_owner_agrees",
    "locustfile",
    "user_classes",
    "tags",
    "exclude_tags",
    "equal_weights",
)


def default_run_dir(options: Any) -> Path:
    """reports/<UTC time>-<name of the locustfile>."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Path("reports") / f"{stamp}-{run_name(options)}"


def run_name(options: Any) -> str:
    """The run's short name: its locustfile's."""
    return Path(str(getattr(options, "locustfile", None) or "run").split(",")[0]).stem


def run_settings(environment: Environment, plan: Plan) -> dict[str, Any]:
    """Settings, versions and seed: what it takes to repeat the run, without secrets. What each means to the load is in
    `chatload.run.settings_keys`."""
    options: Any = environment.parsed_options
    policy, script = plan.settings.policy, plan.settings.script
    workers = len(environment.runner.clients) if hasattr(environment.runner, "clients") else 0
    connections = whole(options, "connections")
    own_length = bool(options.script) and number(options, "chat_length") is None
    return {
        "name": run_name(options),
        "started_at": datetime.now(UTC).timestamp(),
        "host": plan.host,
        "flex_disconnect_timeout": policy.timeout_s,
        "refresh_interval": policy.interval_s,
        "request_timeout": plan.settings.request_timeout_s,
        "refresh_fraction": number(options, "refresh_fraction"),
        "long_poll": plan.settings.long_poll_s,
        "chat_length": None if own_length else script.chat_length.mean(),
        **{name: getattr(options, name, None) for name in _AS_GIVEN},
        "script_sha256": _digest(options.script),
        "dialect_sha256": _digest(options.dialect),
        "connections": connections,
        "connections_in_all": connections * max(1, workers),
        "chats": plan.chats,
        "chat_seed": plan.seed,
        "max_sessions": plan.rules.max_sessions,
        "max_requests_per_s": plan.rules.max_requests_per_s,
        **({"sweep": list(fractions_in(options.sweep))} if plan.settings.arms else {}),
        **(_open_workload(plan.workload) if plan.workload else {}),
        **plan.gate.settings(),
        "keep_windows": plan.keep_windows_s,
        "users": options.num_users,
        "spawn_rate": options.spawn_rate,
        "run_time": options.run_time,
        "stop_timeout": environment.stop_timeout,
        "workers": workers,
        "chatload_version": chatload.__version__,
        "locust_version": version("locust"),
        "python_version": platform.python_version(),
    }


def _open_workload(workload: OpenWorkload) -> dict[str, Any]:
    profile = workload.settings["arrival_profile"]
    return {"workload": "open", **workload.settings, "arrival_profile_sha256": _digest(profile)}


def _digest(file: str | None) -> str:
    """SHA-256 of what is in a file: under one name there may be another customer tomorrow. Empty where it is none."""
    path = Path(file or "")
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
