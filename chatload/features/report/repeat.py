"""The Locust command that makes a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from chatload.plain_text import printable
from chatload.run.settings_keys import SETTINGS, Setting, written


def repeat_command(settings: Mapping[str, Any]) -> str:
    """The Locust command that makes such a run again, an option a line; no secrets, for settings hold none."""
    locustfile = settings.get("locustfile") or f"locustfiles/{settings.get('name') or 'chat'}.py"
    parts = [["locust", *_option("-f", written(locustfile)), *_words(settings, "user_classes"), "--headless"]]
    for setting in SETTINGS:
        value = settings.get(setting.name)
        if not setting.flag or not setting.is_set(value) or setting.name in ("locustfile", _needless(settings)):
            continue
        if setting.name in _MANY_WORDS:
            parts.append([setting.flag, *_words(settings, setting.name)])
        else:
            parts += _written(setting, value)
    return printable(" \\\n  ".join(map(shlex.join, parts)))


#: Options with as many values as there are words behind them.
_MANY_WORDS = frozenset({"tags", "exclude_tags"})


def _needless(settings: Mapping[str, Any]) -> str:
    """The setting that the refresh policy makes of itself: given as an option, Locust would be refused."""
    return "" if settings.get("refresh_policy") in (None, "fixed") else "refresh_interval"


def _written(setting: Setting, value: Any) -> list[list[str]]:
    if isinstance(value, bool):
        return [[setting.flag]]
    if setting.write is None and isinstance(value, list | tuple):
        return [_option(setting.flag, written(one)) for one in value]
    return [_option(setting.flag, (setting.write or written)(value))]


def _option(flag: str, value: str) -> list[str]:
    # What begins with a dash would be an option of its own.
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _words(settings: Mapping[str, Any], name: str) -> list[str]:
    values = settings.get(name)
    words = map(written, values if isinstance(values, list | tuple) else ())
    return [word for word in words if not word.startswith("-")]
