"""The user classes of a locustfile: their settings, read from class attributes and checked before a run begins."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from chatload.chat.customer import HOOKS
from chatload.chat.script import CustomerScript, checked_script
from chatload.errors import UsageError
from chatload.protocol.secret import Secret
from chatload.run.settings import FLAG, OF_A_CLASS, TEXT, RunSettings, option_of, written

#: Locust's name of the tag that the task of every class of customers has.
TASK_TAG = "chat"
#: The settings that a class has together: one of them alone would contradict what an option says about another.
_REFRESH = ("refresh_policy", "refresh_interval", "refresh_fraction")
#: Names of objects of chatload's base classes; a class must not replace them, nor what those classes define.
_RESERVED = frozenset({"chat_run", "leave", "stop"})
#: How similar a name must be to a known one to be taken for a misspelling of it.
_CLOSE = 0.75


class ChatNotBegun(Exception):
    """A customer got no chat, because `before_chat` failed. It is counted as a session that was never accepted."""


@dataclass(frozen=True)
class UserClass:
    """What a locustfile says of one class of customers.

    name: "" stands for a run without a locustfile. host: with its login; None if the class names none. own: the
    settings that it has in place of those of the options, by name. script: one that was written in Python.
    """

    name: str = ""
    host: Secret | None = None
    weight: float = 1.0
    fixed_count: int = 0
    tags: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    script: CustomerScript | None = None

    def changes(self) -> dict[str, Any]:
        """Return the changes that make the settings of this class out of those of the options."""
        changes: dict[str, Any] = dict(self.own)
        if "refresh_policy" in changes:
            changes |= {name: None for name in _REFRESH if name not in changes}
        return changes


def is_customer(user_class: Any) -> bool:
    """Return whether a Locust user class holds chats."""
    return bool(getattr(user_class, "holds_chats", False))


def read_classes(user_classes: Iterable[Any]) -> tuple[UserClass, ...]:
    """Return what the classes of customers say, in alphabetical order. Raises UsageError."""
    customers = sorted((one for one in user_classes if is_customer(one)), key=lambda one: str(one.__name__))
    return tuple(map(read_class, customers))


def read_class(user_class: Any) -> UserClass:
    """Return what a class says. Raises UsageError for a value that cannot be used, or a name that has no effect."""
    name = user_class.__name__
    _check_names(user_class)
    own: dict[str, Any] = {}
    script: CustomerScript | None = None
    for setting in OF_A_CLASS:
        value = getattr(user_class, setting, None)
        if value is None:
            continue
        if setting == "script" and isinstance(value, CustomerScript):
            script = checked_script(value, f"user class {name}: script")
        else:
            own[setting] = _value(name, setting, value)
    weight, fixed_count = user_class.weight, user_class.fixed_count
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < inf:
        raise _wrong(name, "weight", weight, "a number of 0 or more")
    if isinstance(fixed_count, bool) or not isinstance(fixed_count, int) or fixed_count < 0:
        raise _wrong(name, "fixed_count", fixed_count, "a whole number of 0 or more")
    host = getattr(user_class, "host_login", None) or user_class.host
    if host is not None and not isinstance(host, str | Secret):
        raise _wrong(name, "host", host, "the URL of a host")
    tags = {tag for each in user_class.tasks for tag in getattr(each, "locust_tag_set", ())}
    hooks = tuple(hook for hook in HOOKS if hasattr(user_class, hook) and not _is_default(user_class, hook))
    return UserClass(
        name,
        host if host is None or isinstance(host, Secret) else Secret(host),
        float(weight),
        fixed_count,
        tuple(sorted(tags - {TASK_TAG})),
        hooks,
        own,
        script,
    )


def _is_default(user_class: Any, hook: str) -> bool:
    return _is_of(next(base for base in user_class.__mro__ if hook in vars(base)), "chatload")


def _is_of(base: type, package: str) -> bool:
    """Return whether a class is one of a package. A class that was made without `class` may have any module's name."""
    is_there = base.__module__.startswith(f"{package}.") and base.__module__ in sys.modules
    return is_there and getattr(sys.modules[base.__module__], base.__name__, None) is base


def _value(name: str, setting: str, value: Any) -> Any:
    """Return the value of a setting, which may be written as in Python or as on the command line."""
    option = option_of(setting)
    if option.kind is FLAG:
        if not isinstance(value, bool):
            raise _wrong(name, setting, value, "True or False")
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float | Path):
        raise _wrong(name, setting, value, option.kind.expected)
    text = written(value)
    if option.choices and text not in option.choices:
        raise _wrong(name, setting, value, f"one of {', '.join(option.choices)}")
    if option.kind is TEXT and not isinstance(value, str | Path):
        raise _wrong(name, setting, value, option.kind.expected)
    try:
        return option.kind.parse(text.strip())
    except ValueError:
        raise _wrong(name, setting, value, option.kind.expected) from None


def _check_names(user_class: Any) -> None:
    """Refuse names in the body of a class that nothing reads: they are often misspelt."""
    bases = [base for base in user_class.__mro__ if base is not object]
    of_locust = {name for base in bases if _is_of(base, "locust") for name in vars(base)}
    ours = {name for base in bases if _is_of(base, "chatload") for name in vars(base)}
    known = {*of_locust, *OF_A_CLASS, *HOOKS, "host_login"} - _RESERVED
    reserved = ours - known | _RESERVED
    if user_class.is_source:
        known -= {"wait_time", "wait_function", "min_wait", "max_wait"}
    for base in bases:
        if _is_of(base, "chatload") or _is_of(base, "locust"):
            continue
        for name in vars(base):
            if name.startswith("_") or name in known:
                continue
            near = difflib.get_close_matches(name, known, 1, _CLOSE)
            if name in reserved and is_customer(base):
                raise UsageError(
                    f"user class {base.__name__}: {name} is a name of chatload's own", "choose another one"
                )
            if is_customer(base):
                _refuse(user_class, base, name, near)
            elif near:
                # A class beside ChatUser may have names of its own, but not one that looks like a misspelt one.
                raise UsageError(f"user class {base.__name__}: {name} has no effect", f"did you mean {near[0]}?")
    tasks = [each for each in user_class.tasks if not getattr(each, "is_chatload_task", False)]
    if tasks:
        what = getattr(tasks[0], "__name__", str(tasks[0]))
        raise UsageError(
            f"user class {user_class.__name__}: task {what} beside its chat",
            "the one task of a customer is its chat; put other tasks into a user class of their own",
        )


def _refuse(user_class: Any, base: type, name: str, near: list[str]) -> None:
    where = f"user class {base.__name__}"
    if name == "tags":
        raise UsageError(f"{where}: tags has no effect", 'write @tag("NAME") of Locust above the class')
    if name in RunSettings.__dataclass_fields__ and name != "host":
        raise UsageError(
            f"{where}: {name} is a setting of the whole run, not of a class", f"give it as {option_text(name)}"
        )
    if user_class.is_source and name == "wait_time":
        raise UsageError(f"{where}: wait_time has no effect", "chats of an ArrivalUser arrive at --arrival-rate")
    meant = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"{where}: {name} has no effect", f"{meant}names of your own begin with an underscore")


def option_text(setting: str) -> str:
    """Return the flag of a setting, or its name if no option sets it."""
    try:
        return option_of(setting).flag
    except AssertionError:
        return setting


def _wrong(name: str, setting: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"user class {name}: {setting} = {value!r}: expected {expected}")
