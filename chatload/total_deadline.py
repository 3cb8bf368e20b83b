"""A deadline for all reads from a socket together.

The timeout of a Python socket holds for each read alone: a peer that sends a byte now and then is read for ever.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class TotalDeadline:
    """Shuts a socket down `seconds` after it is entered: a read that waits then ends, as if the peer had closed.

    passed: whether that has happened.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sock: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def watch(self, sock: socket.socket) -> None:
        """The socket that it holds for, connected. Of several, the last."""
        self._sock = sock
        if self.passed:
            self._shut_down()

    def __enter__(self) -> TotalDeadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._shut_down()

    def _shut_down(self) -> None:
        if self._sock is not None:
            with suppress(OSError):  # closed meanwhile
                # The plain socket's: TLS's own would take its state away from the read that waits.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
