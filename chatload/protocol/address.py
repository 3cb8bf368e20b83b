"""Which addresses are one's own: loopback and private networks. What lies beyond belongs to somebody."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

#: Own, and not `ipaddress.is_private`: that one counts what merely is not routed (documentation, link-local, carrier
#: networks), and has changed between Python's versions. Left out on purpose: 100.64.0.0/10 (RFC 6598) is shared with a
#: carrier and its other customers; 169.254.0.0/16 and fe80::/10 (RFC 3927, RFC 4291 2.5.6) is where clouds answer for
#: their own services, such as 169.254.169.254; 64:ff9b::/96 and 2002::/16 lead to public IPv4 addresses.
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
    """Whether an IP address, as text, is this machine's or a private network's. What is no address is not."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in PRIVATE)
