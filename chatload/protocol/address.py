"""Which addresses are private: loopback and private networks. Any other address may belong to somebody else."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

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
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in PRIVATE)
