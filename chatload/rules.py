"""What a site or a project allows: targets, sessions, requests per second. Read from chatload.toml.

Two files count: the site's, SITE_FILE, and the project's: what CHATLOAD_CONFIG names, else ./chatload.toml. The
project's keys go before the site's, and the command line before both, but for what a file with `locked = true` says:
that can be made stricter only.
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
    """allowed_targets: hosts whose owners agreed: names, *.domain, addresses, networks. max_sessions: open at once.
    max_requests_per_s: of all processes together. None is no ceiling. locks: each key that a locked file has said, and
    that file."""

    allowed_targets: tuple[str, ...] = ()
    max_sessions: int | None = None
    max_requests_per_s: float | None = None
    locks: Mapping[str, str] = field(default_factory=dict)

    def lowered(self, max_sessions: float | None, max_requests_per_s: float | None) -> TargetRules:
        """These rules with ceilings from the command line; raises UsageError where a locked file has lower ones."""
        given = {"max_sessions": max_sessions, "max_requests_per_s": max_requests_per_s}
        for key, value in given.items():
            ceiling = getattr(self, key)
            if value is not None and key in self.locks and value > ceiling:
                message = f"{_CEILINGS[key]} {value:g} is above the {ceiling:g} that {self.locks[key]} has locked"
                raise UsageError(message, f"stay at {ceiling:g} or below, or ask whoever keeps that file")
        sessions = self.max_sessions if max_sessions is None else int(max_sessions)
        rate = self.max_requests_per_s if max_requests_per_s is None else max_requests_per_s
        return replace(self, max_sessions=sessions, max_requests_per_s=rate)

    def origin(self, key: str) -> str:
        """Where a ceiling can be changed."""
        where = self.locks.get(key)
        return f"{where} has locked it: ask whoever keeps that file" if where else f"raise {_CEILINGS[key]} if meant"


def read_rules(environment: Mapping[str, str] = os.environ, site: Path | None = None) -> TargetRules:
    """The rules that hold here and now; site: SITE_FILE by default. Raises FileError for a bad file."""
    site = SITE_FILE if site is None else site
    named = environment.get(VARIABLE)
    project = Path(named or PROJECT_FILE)
    files = [path for path, must in ((site, False), (project, bool(named))) if must or path.is_file()]
    rules = TargetRules()
    for file, path in [(load_toml(path, RulesFile), path) for path in files]:
        rules = _merged(rules, file, str(path))
    return rules


def _merged(rules: TargetRules, file: RulesFile, source: str) -> TargetRules:
    """The rules with a further file's on top: a later file goes before, except where an earlier has locked."""
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
    """A list of names, *.domains, addresses and networks."""
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
    """The keys of a chatload.toml, as in TargetRules. locked: what it says can only be made stricter."""

    allowed_targets: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = ()
    max_sessions: Annotated[int, Field(gt=0)] | None = None
    max_requests_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    locked: bool = False
