"""What may be loaded: the rules of chatload.toml, and the target guard.

The guard: requests in bulk go to loopback and private addresses, and elsewhere only where the host's owner agrees. The
same command against a production host could cause an outage. Every command that sends load to a host calls
`require_agreed` first. It returns a function that the code that connects (`Endpoint(admits=...)`) calls for each
address before it connects. So a name that later resolves to another address (DNS rebinding, a changed record) is not
followed.

The rules: two files are read, the site's (SITE_FILE), and the project's (the one that CHATLOAD_CONFIG names, otherwise
./chatload.toml). A key of the project's file overrides the same key of the site's, and the command line overrides both.
The keys of a file with `locked = true` can only be made stricter.

The hours: outside the allowed hours of these files no load starts, and a run that is going on ends. If a file demands
an approval, no load starts without its id.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from chatload import units
from chatload.errors import UsageError
from chatload.hours import EXPECTED, EXPECTED_ZONE, AllowedHours, parse_window, zone_of
from chatload.protocol.toml_file import FromFile, load_toml, with_unit

SITE_FILE: Final = Path("/etc/chatload.toml")
PROJECT_FILE: Final = "chatload.toml"
VARIABLE: Final = "CHATLOAD_CONFIG"
_CEILINGS = {"max_sessions": "--max-sessions", "max_requests_per_s": "--max-requests-per-s"}
#: Returns whether an address, as text, may be connected to.
Admits = Callable[[str], bool]
_OPTION = "--target-owner-agrees"

#: Not `ipaddress.is_private`: it includes networks that are only not routed (documentation, link-local, carriers), and
#: it differs between Python versions. Left out on purpose: 100.64.0.0/10 (RFC 6598) is shared with a carrier and its
#: other customers; 169.254.0.0/16 and fe80::/10 (RFC 3927, RFC 4291 2.5.6) include internal services of clouds, such
#: as 169.254.169.254; 64:ff9b::/96 and 2002::/16 lead to public IPv4 addresses.
PRIVATE: Final[tuple[IPv4Network | IPv6Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",  # loopback, RFC 1122 3.2.1.3
        "::1/128",  # loopback, RFC 4291 2.5.3
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",  # RFC 1918
        "192.168.0.0/16",  # RFC 1918
        "fc00::/7",  # unique local, RFC 4193
        "0.0.0.0/32",  # "this host" (RFC 1122 3.2.1.3): a connection to it goes to this machine
        "::/128",  # the same, RFC 4291 2.5.2
    )
)


def is_private(address: str) -> bool:
    """Return whether a text is an IP address of this machine or of a private network."""
    ip = _address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip is not None and any(ip in network for network in PRIVATE)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is; None if it is a name."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


@dataclass(frozen=True)
class TargetRules:
    """What the config files allow together.

    allowed_targets: hosts whose owners agreed: names, *.domain, addresses, networks. max_sessions: sessions open at
    once. max_requests_per_s: requests per second of all processes together. None: no ceiling. hours: when load is
    allowed; all of them must be open. approval_id: the approval of the load, such as the number of a change.
    approval_required: the file that demands one, empty if none does. locks: each key that a locked file sets, and the
    path of that file. sources: each ceiling that comes from a file, and the path of that file.
    """

    allowed_targets: tuple[str, ...] = ()
    max_sessions: int | None = None
    max_requests_per_s: float | None = None
    hours: tuple[AllowedHours, ...] = ()
    approval_id: str = ""
    approval_required: str = ""
    locks: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def lowered(self, max_sessions: float | None, max_requests_per_s: float | None) -> TargetRules:
        """Return these rules with the ceilings of the command line; raises UsageError if a locked one is lower."""
        given = {"max_sessions": max_sessions, "max_requests_per_s": max_requests_per_s}
        for key, value in given.items():
            ceiling = getattr(self, key)
            if value is not None and key in self.locks and value > ceiling:
                message = f"{_CEILINGS[key]} {value:g} is above the {ceiling:g} that {self.locks[key]} has locked"
                raise UsageError(message, f"stay at {ceiling:g} or below, or ask the owner of that file")
        sessions = self.max_sessions if max_sessions is None else int(max_sessions)
        rate = self.max_requests_per_s if max_requests_per_s is None else max_requests_per_s
        sources = {key: source for key, source in self.sources.items() if given[key] is None}
        return replace(self, max_sessions=sessions, max_requests_per_s=rate, sources=sources)

    def closed(self, at: float) -> str:
        """Return why load is not allowed at an instant (Unix seconds), empty if it is."""
        for hours in self.hours:
            if not hours.are_open(at):
                opens = hours.changes_at(at)
                until = "" if opens is None else f", next from {hours.clock(opens)}"
                return f"{hours.clock(at)} is outside the allowed hours of {hours.source}: {hours}{until}"
        return ""

    def closes_at(self, at: float) -> float | None:
        """Return when the allowed hours that are open at an instant end (Unix seconds); None if they do not."""
        return min((end for hours in self.hours if (end := hours.changes_at(at)) is not None), default=None)

    def require_now(self, at: float) -> None:
        """Raise UsageError if no load may start at an instant (Unix seconds)."""
        if self.approval_required and not self.approval_id:
            raise UsageError(
                f"{self.approval_required} demands an approval, and none is given",
                f'add approval_id = "..." to {PROJECT_FILE}',
            )
        if why := self.closed(at):
            raise UsageError(why, "start it then, or ask the owner of that file")

    def origin(self, key: str) -> str:
        """Return where a ceiling can be changed, as a hint for the user."""
        if where := self.locks.get(key):
            return f"{where} has locked it: ask the owner of that file"
        if where := self.sources.get(key):
            return f"raise {key} in {where}, or give {_CEILINGS[key]}"
        return f"raise {_CEILINGS[key]} to allow it"


def read_rules(environment: Mapping[str, str] = os.environ, site: Path | None = None) -> TargetRules:
    """Return the rules that apply to this process. site: the site's file, SITE_FILE by default.

    Raises FileError if a file is wrong, or if the one that CHATLOAD_CONFIG names cannot be read.
    """
    site = SITE_FILE if site is None else site
    named = environment.get(VARIABLE)
    project = Path(named or PROJECT_FILE)
    rules = TargetRules()
    for path, must in ((site, False), (project, bool(named))):
        if must or path.is_file():
            rules = _merged(rules, load_toml(path, RulesFile), str(path))
    return rules


def _merged(rules: TargetRules, file: RulesFile, source: str) -> TargetRules:
    """Return the rules with the keys of another file, which override earlier ones except where these are locked."""
    locks, sources = dict(rules.locks), dict(rules.sources)
    changed: dict[str, Any] = {}
    for key in file.model_fields_set - {"locked", "time_zone"}:
        value = getattr(file, key)
        if key == "allowed_hours":
            # Hours of a locked file hold beside those of another one.
            hours = AllowedHours.parse(value, file.time_zone, source)
            changed["hours"] = (*rules.hours, hours) if key in locks else (hours,)
            if file.locked:
                locks.setdefault(key, source)
            continue
        if key == "approval_required":
            value = source if value else ""
        if key not in locks:
            changed[key] = value
        elif key in _CEILINGS:
            changed[key] = min(value, getattr(rules, key))
        if key in _CEILINGS and changed[key] == value:
            sources[key] = source
        if file.locked:
            locks.setdefault(key, source)
    return replace(rules, **changed, locks=locks, sources=sources)


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


def _windows(value: Any) -> tuple[str, ...]:
    """Return the checked texts of allowed hours."""
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{EXPECTED}, in a list")
    for text in value:
        parse_window(text)
    return tuple(value)


def _zone(value: Any) -> str:
    """Return the checked name of a time zone."""
    if not isinstance(value, str):
        raise ValueError(EXPECTED_ZONE)
    zone_of(value)
    return value


class RulesFile(FromFile):
    """The keys of a chatload.toml (see TargetRules). locked: its keys can only be made stricter.

    allowed_hours: windows such as "Mon-Fri 08:00-18:00", in time_zone.
    """

    allowed_targets: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = ()
    max_sessions: Annotated[int, with_unit(units.COUNT), Field(gt=0)] | None = None
    max_requests_per_s: Annotated[float, with_unit(units.RATE_PER_S), Field(gt=0, allow_inf_nan=False)] | None = None
    allowed_hours: Annotated[tuple[str, ...], BeforeValidator(_windows)] = ()
    time_zone: Annotated[str, BeforeValidator(_zone)] = "UTC"
    approval_id: str = ""
    approval_required: bool = False
    locked: bool = False


def anywhere(address: str) -> bool:
    """Admit every address: the owner of the host agreed to load on it by name."""
    return True


class NotAgreedError(OSError):
    """A name resolved to an address whose owner has not agreed to load on it."""


def resolve(host: str) -> list[str]:
    """Return all addresses of a name, as text; [] if it cannot be resolved."""
    try:
        rows: list[Any] = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def require_agreed(
    host: str,
    agreed: Iterable[str] = (),
    rules: TargetRules | None = None,
    resolve: Callable[[str], Iterable[str]] = resolve,
    proxied: bool = False,
    clock: Callable[[], float] = time.time,
) -> Admits:
    """Refuse a host (a URL or a name) that is neither loopback nor private, unless its owner agrees.

    Refuse every host outside the allowed hours, and without an approval that is demanded. clock: Unix seconds.

    A name is private if all its addresses are. A name that does not resolve is not refused here: nothing can be
    connected to. Returns a function that must be asked about each address before a connection to it is opened. Raises
    UsageError if load is refused, FileError if a config file is wrong.

    agreed: hosts from --target-owner-agrees. rules: those of the config files by default. A locked list of
    allowed_targets holds even if the owner agrees. proxied: a proxy will resolve the name, so only an address can be
    checked here.
    """
    name = host_name(host)
    rules = read_rules() if rules is None else rules
    rules.require_now(clock())
    if matches(name, rules.allowed_targets):
        return anywhere

    def own(address: str) -> bool:
        return is_private(address) or matches(address, rules.allowed_targets)

    locked = rules.locks.get("allowed_targets")
    if not locked and name in map(host_name, agreed):
        return anywhere
    problem = _not_own(name, own, resolve, proxied)
    if problem and locked:
        raise UsageError(f"{problem}, and {locked} does not allow it", "ask the owner of that file")
    if problem:
        raise UsageError(f"{problem}: load on it may be an outage", f"if its owner agrees, add {_OPTION} {name}")
    return own


def _not_own(name: str, own: Admits, resolve: Callable[[str], Iterable[str]], proxied: bool) -> str:
    """Return why a host may belong to somebody else; "" if it does not."""
    is_name = _address(name) is None
    if proxied and is_name:
        return f"a proxy decides where {name} leads"
    for address in resolve(name) if is_name else [name]:
        if not own(address):
            return f"{name} is not loopback or private" + ("" if address == name else f" ({address})")
    return ""


def host_name(host: str) -> str:
    """Return the name or address in a URL or in `name[:port]`: in lower case, without port and final dot."""
    text = host.strip()
    if "://" not in text:
        text = f"//[{text}]" if text.count(":") > 1 and not text.startswith("[") else f"//{text}"
    try:
        name = urlsplit(text).hostname or ""
    except ValueError:
        name = ""
    return name.rstrip(".").lower()


def matches(name: str, entries: Iterable[str]) -> bool:
    """Return whether a host is in a list of names, URLs, addresses, *.domain (not the domain itself) and networks.

    An entry that is none of these matches no host.
    """
    name = host_name(name)
    address = _address(name)
    for entry in entries:
        if entry.startswith("*."):
            if name.endswith(entry[1:].lower()) and address is None:
                return True
        elif "/" in entry and "://" not in entry:
            with suppress(ValueError):
                if address is not None and address in ip_network(entry):
                    return True
        elif host_name(entry) == name and name:
            return True
    return False
