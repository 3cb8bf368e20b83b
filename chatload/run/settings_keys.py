"""The settings of a run: which option gives each of them, which change the load, and how two sides of runs differ.

SETTINGS is the one place that says so. From it come `compare`'s check of what must agree, the refusals of `forecast`
and the report's command that repeats a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final


def written(value: Any) -> str:
    """A setting's value as its option takes it: numbers exactly, and whole ones without a fraction."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _with_commas(values: Any) -> str:
    return ",".join(map(written, values)) if isinstance(values, list | tuple) else written(values)


def _rounded(value: float) -> str:
    # As a fraction it was a percentage.
    return written(round(value, 9))


@dataclass(frozen=True)
class Setting:
    """One setting of a run, as its run file has it.

    name: its key. flag: the option that gives it, empty where none does. changes_load: runs that differ in it did not
    put on the same load. replayed: `forecast` can replay a run that has it. zero: a 0 is a value, and not the default.
    write: its value as the option takes it; lists without one are written as the option many times.
    """

    name: str
    flag: str = ""
    changes_load: bool = False
    replayed: bool = True
    zero: bool = False
    write: Callable[[Any], str] | None = None

    def is_set(self, value: Any) -> bool:
        """Whether this value is anything but the default."""
        return (value not in (None, "", "None", "0") and bool(value)) or (self.zero and value in (0, "0"))


#: Every setting of a run, in the order in which the command that repeats it has them.
SETTINGS: Final = (
    Setting("name"),
    Setting("started_at"),
    Setting("locustfile", "-f"),
    Setting("user_classes", changes_load=True),
    Setting("host", "--host"),
    Setting("users", "-u", changes_load=True),
    Setting("spawn_rate", "-r", changes_load=True),
    Setting("run_time", "-t", write=lambda seconds: f"{written(seconds)}s"),
    Setting("stop_timeout", "-s", zero=True),
    Setting("workers", "--processes"),
    Setting("tags", "--tags", changes_load=True),
    Setting("exclude_tags", "--exclude-tags", changes_load=True),
    Setting("equal_weights", "--equal-weights", changes_load=True),
    Setting("flex_disconnect_timeout", "--flex-disconnect-timeout", changes_load=True),
    Setting("persona", "--persona", changes_load=True),
    Setting("refresh_policy", "--refresh-policy", changes_load=True),
    # What the policy comes to, whatever it is; the fraction is what was given for it.
    Setting("refresh_interval", "--refresh-interval", changes_load=True),
    Setting("refresh_fraction", "--refresh-fraction"),
    Setting("allow_late_refresh", "--allow-late-refresh"),
    Setting("sweep", "--sweep", changes_load=True, replayed=False, write=_with_commas),
    Setting("service", "--service"),
    Setting("dialect", "--dialect", changes_load=True),
    Setting("dialect_sha256", changes_load=True),
    Setting("script", "--script", changes_load=True),
    Setting("script_sha256", changes_load=True),
    # Not set where it is the script's.
    Setting("chat_length", "--chat-length", changes_load=True),
    Setting("chats", "--chats"),
    Setting("chat_seed", "--chat-seed"),
    Setting("request_timeout", "--request-timeout", changes_load=True),
    Setting("long_poll", "--long-poll", changes_load=True, replayed=False),
    Setting("transport", "--transport", changes_load=True),
    Setting("connections", "--connections", changes_load=True, replayed=False),
    # --connections is of each process.
    Setting("connections_in_all", changes_load=True),
    Setting("ca_file", "--ca-file"),
    Setting("client_cert", "--client-cert"),
    Setting("insecure", "--insecure"),
    Setting("target_owner_agrees", "--target-owner-agrees"),
    # A load shape that asks for more is held to it, and a capacity search goes no higher.
    Setting("max_sessions", "--max-sessions", changes_load=True),
    Setting("max_requests_per_s", "--max-requests-per-s"),
    Setting("workload", changes_load=True, replayed=False),
    Setting("arrival_rate", "--arrival-rate", changes_load=True),
    Setting("arrival_profile", "--arrival-profile", changes_load=True),
    Setting("arrival_profile_sha256", changes_load=True),
    Setting("arrival_compress", "--arrival-compress", changes_load=True),
    Setting("max_open", "--max-open", changes_load=True),
    Setting("start_sessions", "--start-sessions", changes_load=True, replayed=False),
    Setting("step_hold", "--step-hold", changes_load=True),
    Setting("step_bound", "--step-bound", changes_load=True),
    Setting("resolution", "--resolution", changes_load=True, write=_rounded),
    Setting("step_thresholds", "--threshold", changes_load=True),
    Setting("thresholds", "--threshold"),
    Setting("abort_on", "--abort-on"),
    Setting("confidence", "--confidence", write=lambda share: _rounded(100 * share)),
    Setting("allow_inconclusive", "--allow-inconclusive"),
    Setting("keep_windows", "--keep-windows", zero=True),
    Setting("chatload_version"),
    Setting("locust_version"),
    Setting("python_version"),
)
#: chatload's options that say only where a run is watched and where its files go: no settings of it.
NOT_SETTINGS: Final = frozenset({"--gate", "--prometheus-port", "--prometheus-host", "--run-dir"})
#: Settings that define the load: runs that differ in one of them did not do the same thing.
LOAD_DEFINING: Final = frozenset(setting.name for setting in SETTINGS if setting.changes_load)
#: What differs between any two runs and says nothing about them.
_OWN = frozenset({"name", "started_at", "ended_at", "run_dir", "chat_seed", "seed"})
_ABSENT = "not set"
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


def not_replayed(settings: Mapping[str, Any]) -> str:
    """What in a run's settings `forecast` cannot replay, as the option that gave it; empty where there is nothing."""
    for setting in SETTINGS:
        value = settings.get(setting.name)
        if not setting.replayed and setting.is_set(value):
            return f"{setting.flag or setting.name} {(setting.write or written)(value)}"
    return ""


@dataclass(frozen=True)
class SettingDifference:
    """One setting that is not the same in all runs: its values on each side, in order of appearance."""

    name: str
    base: tuple[str, ...]
    new: tuple[str, ...]
    defines_load: bool

    def __str__(self) -> str:
        return f"{self.name}: base {', '.join(self.base)}; new {', '.join(self.new)}"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form."""
        return asdict(self)


def settings_differences(
    base: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[SettingDifference]:
    """The settings that are not equal in all runs, those that define the load first.

    Those that differ within a side too: such runs are no repetitions of one another.
    """
    names = dict.fromkeys(name for settings in (*base, *new) for name in settings if name not in _OWN)
    found = []
    for name in names:
        before, after = _values(name, base), _values(name, new)
        if len({*before, *after}) > 1:
            found.append(SettingDifference(name, before, after, name in LOAD_DEFINING))
    return sorted(found, key=lambda difference: (not difference.defines_load, difference.name))


def _values(name: str, side: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_text(name, settings.get(name)) for settings in side))


def _text(name: str, value: Any) -> str:
    if value in (None, "") or (name in _BY_NAME and not _BY_NAME[name].is_set(value)):
        return _ABSENT
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
