"""What a run writes down about itself, and where."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from locust.env import Environment

import chatload
from chatload.swarm.plan import Plan

_OWN = (
    "persona",
    "refresh_policy",
    "allow_late_refresh",
    "service",
    "dialect",
    "script",
    "transport",
    "connections",
    "insecure",
    "chats",
    "chat_seed",
)


def default_run_dir(options: Any) -> Path:
    """reports/<UTC time>-<name of the locustfile>."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Path("reports") / f"{stamp}-{run_name(options)}"


def run_name(options: Any) -> str:
    """The run's short name: its locustfile's."""
    return Path(str(getattr(options, "locustfile", None) or "run").split(",")[0]).stem


def run_settings(environment: Environment, plan: Plan) -> dict[str, Any]:
    """Settings, versions and seed: what it takes to repeat the run. No secrets: a host's user and
    password are left out."""
    options: Any = environment.parsed_options
    host = urlsplit(plan.host)
    port = f":{host.port}" if host.port else ""
    policy = plan.settings.policy
    return {
        "name": run_name(options),
        "started_at": datetime.now(UTC).timestamp(),
        "host": f"{host.scheme}://{host.hostname}{port}{host.path}",
        "flex_disconnect_timeout": policy.timeout_s,
        "refresh_interval": policy.interval_s,
        "request_timeout": plan.settings.request_timeout_s,
        "long_poll": plan.settings.long_poll_s,
        "chat_length": plan.settings.script.chat_length.mean(),
        **{name: getattr(options, name) for name in _OWN},
        **({"sweep": [float(arm.group) for arm in plan.settings.arms]} if plan.settings.arms else {}),
        **({"workload": "open", **plan.workload.settings} if plan.workload else {}),
        **plan.gate.settings(),
        "keep_windows": plan.keep_windows_s,
        "users": options.num_users,
        "spawn_rate": options.spawn_rate,
        "run_time": options.run_time,
        "stop_timeout": environment.stop_timeout,
        "workers": len(environment.runner.clients) if hasattr(environment.runner, "clients") else 0,
        "chatload_version": chatload.__version__,
        "locust_version": version("locust"),
        "python_version": platform.python_version(),
    }
