"""What a site or a project allows: targets, sessions, requests per second. Read from chatload.toml.

Two files are read: the site's (SITE_FILE), and the project's (the one that CHATLOAD_CONFIG names, otherwise
./chatload.toml). A key of the project's file overrides the same key of the site's, and the command line overrides both.
The keys of a file with `locked = true` can only be made stricter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from chatload.errors import UsageError
from chatload.protocol.toml_file import FromFile, load_toml

SITE_FILE: Final = Path("/etc/chatload.toml")
PROJECT_FILE: Final = "chatload.toml"
VARIABLE: Final = "CHATLOAD_CONFIG"
_CEILINGS = {"max_sessions": "--max-sessions", "max_requests_per_s": "--max-requests-per-s"}


@dataclass(frozen=True)
class TargetRules:
    """What the config files allow together.

    allowed_targets: hosts whose owners agreed: names, *.domain, addresses, networks. max_sessions: sessions open at
    once. max_requests_per_s: requests per second of all processes together. None: no ceiling. locks: each key that a
    locked file sets, and the path of that file.
    """

    allowed_targets: tuple[str, ...] = ()
    max_sessions: int | None = None
    max_requests_per_s: float | None = None
    locks: Mapping[str, str] = field(default_factory=dict)

    def lowered(self, max_sessions: float | None, max_requests_per_s: float | None) -> TargetRules:
        """Return these rules with the ceilings of the command line.

        Raises:
            UsageError: a locked file has a lower ceiling.
        """
        given = {"max_sessions": max_sessions, "max_requests_per_s": max_requests_per_s}
        for key, value in given.items():
            ceiling = getattr(self, key)
            if value is not None and key in self.locks and value > ceiling:
                message = f"{_CEILINGS[key]} {value:g} is above the {ceiling:g} that {self.locks[key]} has locked"
                raise UsageError(message, f"stay at {ceiling:g} or below, or ask the owner of that file")
        sessions = self.max_sessions if max_sessions is None else int(max_sessions)
        rate = self.max_requests_per_s if max_requests_per_s is None else max_requests_per_s
        return replace(self, max_sessions=sessions, max_requests_per_s=rate)

    def origin(self, key: str) -> str:
        """Return where a ceiling can be changed, as a hint for the user."""
        where = self.locks.get(key)
        return f"{where} has locked it: ask the owner of that file" if where else f"raise {_CEILINGS[key]} to allow it"


def read_rules(environment: Mapping[str, str] = os.environ, site: Path | None = None) -> TargetRules:
    """Return the rules that apply to this process. site: the site's file, SITE_FILE by default.

    Raises:
        FileError: a file is wrong, or the one that CHATLOAD_CONFIG names cannot be read.
    """
    site = SITE_FILE if site is None else site
    named = environment.get(VARIABLE)
    project = Path(named or PROJECT_FILE)
    files = [path for path, must in ((site, False), (project, bool(named))) if must or path.is_file()]
    rules = TargetRules()
    for file, path in [(load_toml(path, RulesFile), path) for path in files]:
        rules = _merged(rules, file, str(path))
    return rules


def _merged(rules: TargetRules, file: RulesFile, source: str) -> TargetRules:
    """Return the rules with the keys of another file, which override earlier ones except where these are locked."""
    locks = dict(rules.locks)
    changed: dict[str, Any] = {}
    for key in file.model_fields_set - {"locked"}:
        value = getattr(file, key)
        if key not in locks:
            changed[key] = value
        elif key in _CEILINGS:
            changed[key] = min(value, getattr(rules, key))
        if file.locked:
            locks.setdefault(key, source)
    return replace(rules, **changed, locks=locks)


_HOSTS = 'expected a list of hosts, such as ["chat.staging.example", "*.lab.example", "203.0.113.0/28"]'


def _hosts(value: Any) -> tuple[str, ...]:
    """Return the checked list of names, *.domains, addresses and networks."""
    if not isinstance(value, list):
        raise ValueError(_HOSTS)
    for entry in value:
        if not isinstance(entry, str) or not entry or entry in ("*", "*."):
            raise ValueError(f"{_HOSTS}, not {entry!r}")
        if "/" in entry:
            try:
                ip_network(entry)
            except ValueError as error:
                raise ValueError(f"{entry!r} is no network ({error})") from None
    return tuple(value)


class RulesFile(FromFile):
    """The keys of a chatload.toml (see TargetRules). locked: its keys can only be made stricter."""

    allowed_targets: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = ()
    max_sessions: Annotated[int, Field(gt=0)] | None = None
    max_requests_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    locked: bool = False
