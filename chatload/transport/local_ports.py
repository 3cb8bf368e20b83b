"""Local ports for many connections to one address.

Linux looks for a free port from a random one on, every second one first: with half of them taken, every connection
looks through 14 000, for over a millisecond in which the whole process stands still. Told to look among a few only, it
does not (IP_LOCAL_PORT_RANGE, Linux 6.3 and later; before that the long way is the only one).
"""

from __future__ import annotations

import errno
import random
import socket
import struct
from pathlib import Path
from typing import Any

_IP_LOCAL_PORT_RANGE = 51
_RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range"
_WINDOW = 64


class LocalPorts:
    """Goes round the local ports of this machine, a few at a time."""

    def __init__(self) -> None:
        self._least, self._most = _range()
        self._known = self._most - self._least >= _WINDOW
        self._windows = (self._most - self._least) // _WINDOW
        self._at = random.randrange(max(self._windows, 1))

    def connect(self, sock: Any, address: Any) -> None:
        """sock.connect, from one of the ports that are next. Raises OSError, as that does."""
        for _ in range(self._windows):
            if not self._narrow(sock):
                break
            try:
                sock.connect(address)
                return
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
        if self._known:
            sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, 0)
        sock.connect(address)

    def _narrow(self, sock: Any) -> bool:
        if not self._known:
            return False
        self._at = (self._at + 1) % self._windows
        low = self._least + self._at * _WINDOW
        try:
            sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, struct.pack("HH", low, low + _WINDOW - 1))
        except OSError:
            self._known = False
        return self._known


def _range() -> tuple[int, int]:
    try:
        least, most = map(int, Path(_RANGE_FILE).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return 0, 0
    return least, most
