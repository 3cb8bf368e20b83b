"""Which settings of two sides of runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: Settings that define the load: runs that differ in one of them did not do the same thing.
LOAD_DEFINING = frozenset({
    "flex_disconnect_timeout", "refresh_policy", "refresh_interval", "request_timeout", "chat_length",
    "script", "dialect", "transport", "users", "spawn_rate", "sweep",
    "workload", "arrival_rate", "arrival_profile", "arrival_compress", "max_open",
})  # fmt: skip
#: What differs between any two runs and says nothing about them.
_OWN = frozenset({"name", "started_at", "ended_at", "run_dir", "chat_seed", "seed"})
_ABSENT = "not set"


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
    return tuple(dict.fromkeys(_text(settings.get(name)) for settings in side))


def _text(value: Any) -> str:
    if value is None or value == "":
        return _ABSENT
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
