"""One connection to the service on gevent's loop, without what a socket of gevent's costs for each read.

A watcher stays on the connection for as long as it lives: it wakes the greenlet that waits for an answer, and where
nobody waits it tells that the server closed, or sent what nobody asked for.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from math import inf
from select import POLLIN
from ssl import SSLError, SSLWantReadError, SSLZeroReturnError
from typing import Any

import gevent
from gevent import get_hub, getcurrent, monkey, socket
from gevent.ssl import MemoryBIO

from chatload.protocol.wire import Detail
from chatload.transport.factory import Endpoint
from chatload.transport.http_answer import CallFailed
from chatload.transport.local_ports import LocalPorts
from chatload.transport.parking import Parking

_PlainSocket: Any = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2
#: Most answers fit, and room that is not filled has to be cut off again.
_RECV_BYTES = 4 * 1024
_SSL_ERROR_EOF = 8
_ports = LocalPorts()
_glance: Any = monkey.get_original("select", "poll")()


class NothingSentError(Exception):
    """The first send was refused: no byte of the request left. Its cause says why."""


class Connection(Parking):
    """A connection, open: the greenlet that waits for something to read parks here. Not for two at once.

    busy: a call is under way, and what comes in is its answer. opened_at: when it was opened, on the caller's clock.
    """

    __slots__ = ("_alarm", "_alarm_at", "_good", "_sock", "_tls", "_watched", "_watcher", "busy", "opened_at")

    def __init__(self, sock: Any, tls: _Tls | None) -> None:
        """sock: connected, non-blocking, and not of gevent's."""
        super().__init__()
        self._sock, self._tls = sock, tls
        self._good = self._watched = self.busy = True
        self.opened_at = inf
        self._alarm: Any = None
        self._alarm_at = inf
        self._watcher: Any = self._hub.loop.io(sock.fileno(), _READ)
        self._watcher.start(self._readable)

    def close(self) -> None:
        """Close it."""
        self._good = False
        self._watcher.stop()
        if self._alarm is not None:
            self._alarm.stop()
        self._sock.close()

    def is_good(self) -> bool:
        """Whether a connection that idles may be used: anything to read means that it may not, be it the end or
        bytes nobody asked for. Looking sends nothing, so opening another is no resend."""
        if self._good and self.something_came():
            try:
                self._good = self.take() is None
            except OSError:
                self._good = False
        return self._good

    def something_came(self) -> bool:
        """Whether there is something to read. Asked before each request: a third of the price of a read that finds
        nothing, and so raises."""
        number = self._sock.fileno()
        _glance.register(number, POLLIN)
        try:
            return bool(_glance.poll(0))
        finally:
            _glance.unregister(number)

    def send(self, message: bytes, deadline: float) -> None:
        """Send all of it; `wait` then waits for the answer. Raises OSError, and NothingSentError where not a byte
        left."""
        tls = self._tls
        if tls is not None:
            message = tls.sealed(message)
        try:
            count = self._sock.send(message)
        except BlockingIOError:
            count = 0
        except OSError as error:
            if tls is not None:
                raise  # a part of the record may have left
            raise NothingSentError from error
        if count < len(message):
            self._send_rest(memoryview(message)[count:], deadline)
        if not self._watched:
            self._watch()

    def wait_for_more(self, deadline: float, now: float) -> None:
        """Wait for something to read, up to `deadline` (seconds, monotonic). May be over far too early: nearly every
        answer is in time, so that one alarm goes on from call to call, and is set anew when it went off.
        """
        if self._alarm_at > deadline:
            self._set_alarm(deadline, now)
        self._sleeper = getcurrent()
        try:
            self._hub.switch()
        finally:
            self._sleeper = None

    def _set_alarm(self, deadline: float, now: float) -> None:
        if self._alarm is not None:
            self._alarm.stop()
        self._alarm_at = deadline
        self._alarm = self._hub.loop.timer(max(0.0, deadline - now))
        self._alarm.start(self._alarmed)

    def _alarmed(self) -> None:
        self._alarm_at = inf
        if self._sleeper is not None:
            self._sleeper.switch(False)

    def take(self) -> bytes | None:
        """What has come in: b"" is the end, None nothing yet. Raises OSError."""
        try:
            data: bytes = self._sock.recv(_RECV_BYTES)
        except BlockingIOError:
            return None
        return data if self._tls is None else self._tls.opened(data)

    def handshake(self, deadline: float) -> None:
        """Begin TLS; raises OSError."""
        tls = self._tls
        assert tls is not None
        while True:
            done = tls.shake()
            if message := tls.to_send():
                self._send_rest(memoryview(message), deadline)
            if done:
                return
            while (data := self._recv_raw()) is None:
                if not self._watched:
                    self._watch()
                self.wait_until(deadline)
            tls.came(data)

    def _recv_raw(self) -> bytes | None:
        try:
            data: bytes = self._sock.recv(_RECV_BYTES)
        except BlockingIOError:
            return None
        return data

    def _send_rest(self, rest: memoryview, deadline: float) -> None:
        while rest:
            with suppress(BlockingIOError):
                rest = rest[self._sock.send(rest) :]
                continue
            _wait_writable(self._sock, deadline)

    def _watch(self) -> None:
        self._watched = True
        self._watcher.start(self._readable)

    def _readable(self) -> None:
        sleeper = self._sleeper
        if sleeper is not None:
            sleeper.switch(True)
        elif self.busy or not self.is_good():
            self._watched = False  # or the loop would spin on what nobody reads yet
            self._watcher.stop()


class _Tls:
    """TLS between bytes and bytes."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, endpoint: Endpoint) -> None:
        self._incoming, self._outgoing = MemoryBIO(), MemoryBIO()
        self._object = endpoint.context.wrap_bio(self._incoming, self._outgoing, server_hostname=endpoint.host)

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done."""
        try:
            self._object.do_handshake()
        except SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        """What is to be sent now."""
        return bytes(self._outgoing.read())

    def sealed(self, message: bytes) -> bytes:
        """The message as it is to be sent."""
        self._object.write(message)
        return bytes(self._outgoing.read())

    def came(self, data: bytes) -> None:
        """Take in what was received; b"" is the end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def opened(self, data: bytes) -> bytes | None:
        """What was received, opened: None where it was not for us to read, b"" at the end."""
        self.came(data)
        parts: list[bytes] = []
        while True:
            try:
                part = self._object.read(_RECV_BYTES)
            except SSLWantReadError:
                return b"".join(parts) if parts else None
            except SSLZeroReturnError:
                part = b""
            except SSLError as error:
                # Cut off without a goodbye: what HTTP makes of that is its own matter.
                if error.args[0] != _SSL_ERROR_EOF:
                    raise
                part = b""
            if not part:
                return b"".join(parts)
            parts.append(part)


def connect(endpoint: Endpoint, timeout_s: float) -> Connection:
    """A new connection, ready to send, within timeout_s seconds in all. Raises OSError and CallFailed."""
    limit = gevent.Timeout(max(timeout_s, 0.001))
    limit.start()
    try:
        return _to_first_that_answers(endpoint, timeout_s)
    except gevent.Timeout as other:
        if other is not limit:
            raise
        endpoint.doubt()
        raise CallFailed("timeout", Detail.CONNECTING) from None
    except OSError:
        endpoint.doubt()
        raise
    except UnicodeError:
        raise CallFailed("connection", Detail.NAME) from None
    finally:
        limit.close()


def _to_first_that_answers(endpoint: Endpoint, timeout_s: float) -> Connection:
    addresses = endpoint.addresses()
    problem: OSError = OSError("no address")
    for family, kind, proto, _, address in addresses:
        deadline = time.monotonic() + timeout_s / len(addresses)
        try:
            sock = _PlainSocket(family, kind, proto)
        except OSError as error:
            problem = error
            continue
        connection: Connection | None = None
        try:
            _connect(sock, address, deadline)
            connection = Connection(sock, _Tls(endpoint) if endpoint.tls else None)
            if endpoint.tls:
                connection.handshake(deadline)
            return connection
        except BaseException as error:
            (sock if connection is None else connection).close()
            if not isinstance(error, OSError):
                raise
            problem = error
    try:
        raise problem
    finally:
        del problem  # it knows this frame, which would know it: nothing would free the two while the collector is off


def _connect(sock: Any, address: Any, deadline: float) -> None:
    sock.setblocking(False)
    try:
        _ports.connect(sock, address)
    except BlockingIOError:
        _wait_writable(sock, deadline)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number)) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wait_writable(sock: Any, deadline: float) -> None:
    """Wait until it may be written to; raises TimeoutError."""
    loop = get_hub().loop
    ready, parking = loop.io(sock.fileno(), _WRITE), Parking()
    ready.start(parking.wake)
    try:
        parking.wait_until(deadline)
    finally:
        ready.stop()
