"""The target guard: requests in bulk go to loopback and private addresses, and elsewhere only where the host's owner
agrees. The same command against production is an outage.

Every command that puts requests on a host asks `require_agreed` first, and hands the answer to whatever connects
(`Endpoint(admits=...)`): that asks it again for each address it is about to connect to. So a name that resolves to
something else later (DNS rebinding, a changed record) is not followed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from chatload.errors import UsageError
from chatload.protocol.address import is_private
from chatload.rules import TargetRules, read_rules

#: Whether an address may be connected to.
Admits = Callable[[str], bool]
Resolve = Callable[[str], Iterable[str]]
_OPTION = "--target-owner-agrees"


def anywhere(address: str) -> bool:
    """Admits every address: the owner of the host agreed to it by name."""
    return True


class NotAgreedError(OSError):
    """A name led to an address that its owner has not agreed to load on."""


def resolve(host: str) -> list[str]:
    """All addresses of a name, as text; none where it cannot be resolved."""
    try:
        rows: list[Any] = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def require_agreed(
    host: str,
    agreed: Iterable[str] = (),
    rules: TargetRules | None = None,
    resolve: Resolve = resolve,
    proxied: bool = False,
) -> Admits:
    """Refuse a host that is neither loopback nor private, unless its owner agrees; gives what to ask of every address
    that is connected to later.

    host: a URL or a name. agreed: hosts from --target-owner-agrees. rules: those of the config files by default; a
    locked list of allowed_targets holds whatever is agreed. proxied: a proxy will resolve the name, so that only an
    address can be judged here. Every address of a name must be private for the name to be. A name that does not resolve
    is not refused here: nothing can be connected to, and `Admits` judges it once it does.

    Raises UsageError, FileError.
    """
    name = host_name(host)
    rules = read_rules() if rules is None else rules
    if matches(name, rules.allowed_targets):
        return anywhere

    def own(address: str) -> bool:
        return is_private(address) or matches(address, rules.allowed_targets)

    agreed_by_name = name in map(host_name, agreed)
    locked = rules.locks.get("allowed_targets")
    strange = _strange(name, own, resolve, proxied)
    if agreed_by_name and not locked:
        return anywhere
    if strange and locked:
        raise UsageError(f"{strange}, and {locked} does not allow it", "ask whoever keeps that file")
    if strange:
        raise UsageError(f"{strange}: load on it may be an outage", f"if its owner agrees, add {_OPTION} {name}")
    return own


def _strange(name: str, own: Admits, resolve: Resolve, proxied: bool) -> str:
    """Why a host may be somebody else's; empty where it is not."""
    if proxied and not _is_address(name):
        return f"a proxy decides where {name} leads"
    for address in [name] if _is_address(name) else resolve(name):
        if not own(address):
            return f"{name} is not loopback or private" + ("" if address == name else f" ({address})")
    return ""


def host_name(host: str) -> str:
    """The name or address in a URL, or in what is one already: lower case, without port and final dot."""
    text = host.strip()
    if "://" not in text:
        text = f"//[{text}]" if text.count(":") > 1 and not text.startswith("[") else f"//{text}"
    try:
        name = urlsplit(text).hostname or ""
    except ValueError:
        name = ""
    return name.rstrip(".").lower()


def matches(name: str, entries: Iterable[str]) -> bool:
    """Whether a host is among the entries: names, URLs, addresses, *.domain (not the domain itself), networks."""
    name = host_name(name)
    for entry in entries:
        if entry.startswith("*."):
            if name.endswith(entry[1:].lower()) and not _is_address(name):
                return True
        elif "/" in entry and "://" not in entry:
            if _is_address(name) and _within(name, entry):
                return True
        elif host_name(entry) == name and name:
            return True
    return False


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _within(address: str, network: str) -> bool:
    try:
        return ip_address(address.partition("%")[0]) in ip_network(network)
    except ValueError:
        return False
