"""A TCP or TLS connection on gevent's event loop, cheaper than a gevent socket.

gevent's socket starts and stops a watcher for each read. Here one watcher lives as long as the connection. It switches
to the greenlet that waits for an answer; while no call is active, it detects that the server closed the connection or
sent data that was not requested.
"""

from __future__ import annotations

import errno
import os
import random
import struct
import time
from contextlib import ExitStack, suppress
from math import inf
from select import POLLIN
from ssl import SSLError, SSLWantReadError, SSLZeroReturnError
from typing import Any

import gevent
from gevent import get_hub, getcurrent, monkey, socket
from gevent.ssl import MemoryBIO

from chatload.protocol.wire import Detail
from chatload.sockets import local_ports
from chatload.transport.endpoint import Endpoint
from chatload.transport.http_messages import CallFailed

_PlainSocket: Any = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2
#: Most answers fit. A larger buffer would have to be cut to size for each read.
_RECV_BYTES = 4 * 1024
_SSL_ERROR_EOF = 8
_poller: Any = monkey.get_original("select", "poll")()
_IP_LOCAL_PORT_RANGE = 51  # setsockopt; Linux 6.3 and later
_PORT_WINDOW = 64


class NothingSentError(Exception):
    """The first send failed: no byte of the request was sent. `__cause__` has the error."""


class GreenletWaiter:
    """Lets one greenlet at a time wait for `wake` or a timeout, cheaper than gevent.event.Event.

    Only callbacks of the event loop may call `wake`.
    """

    __slots__ = ("_hub", "_waiting")

    def __init__(self) -> None:
        self._hub: Any = get_hub()
        self._waiting: Any = None

    def wait(self, seconds: float) -> bool:
        """Wait for `wake`, at most `seconds`; return whether it came.

        May return early: the loop's timers count from its last look at the clock.
        """
        hub = self._hub
        self._waiting = greenlet = getcurrent()
        timer = hub.loop.timer(seconds)
        timer.start(greenlet.switch, False)
        try:
            return bool(hub.switch())
        finally:
            self._waiting = None
            timer.stop()

    def wait_until(self, deadline: float) -> None:
        """Wait for `wake`. Raises TimeoutError at the deadline (seconds, monotonic)."""
        left = deadline - time.monotonic()
        while not self.wait(max(0.0, left)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError

    def wake(self) -> None:
        """Switch to the greenlet that waits, if there is one."""
        if self._waiting is not None:
            self._waiting.switch(True)


class LocalPorts:
    """Gives each new connection a small window of local ports to choose from.

    Linux searches for a free local port from a random one on. With half of the ports taken, each connection searches
    14 000 ports: more than 1 ms in which the process does nothing else. IP_LOCAL_PORT_RANGE (Linux 6.3 and later)
    limits the search; on older kernels connections are opened without it.
    """

    def __init__(self) -> None:
        self._least, most = local_ports()
        self._windows = (most - self._least) // _PORT_WINDOW  # 0 on older kernels
        self._at = random.randrange(max(self._windows, 1))

    def connect(self, sock: Any, address: Any) -> None:
        """Call sock.connect with the next window of local ports. Raises OSError as sock.connect does."""
        for _ in range(self._windows):
            self._at = (self._at + 1) % self._windows
            low = self._least + self._at * _PORT_WINDOW
            try:
                sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, struct.pack("HH", low, low + _PORT_WINDOW - 1))
            except OSError:
                self._windows = 0
                break
            try:
                sock.connect(address)
                return
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
        if self._windows:
            sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, 0)
        sock.connect(address)


_ports = LocalPorts()


class ClientConnection:
    """An open connection. Only one greenlet may use it at a time.

    busy: a call is active, so received bytes belong to its answer. opened_at: when it was opened (caller's clock).
    """

    __slots__ = (
        "_good", "_hub", "_sock", "_timer", "_timer_at", "_tls", "_waiting", "_watched", "_watcher", "busy",
        "opened_at",
    )  # fmt: skip

    def __init__(self, sock: Any, tls: _Tls | None) -> None:
        """sock: connected, non-blocking, of the standard library and not of gevent."""
        self._hub: Any = get_hub()
        self._waiting: Any = None
        self._sock, self._tls = sock, tls
        self._good = self._watched = self.busy = True
        self.opened_at = inf
        self._timer: Any = None
        self._timer_at = inf
        self._watcher: Any = self._hub.loop.io(sock.fileno(), _READ)
        self._watcher.start(self._readable)

    def close(self) -> None:
        """Close it; may be called again."""
        self._good = False
        self._watcher.stop()
        self._stop_timer()
        self._sock.close()

    def is_good(self) -> bool:
        """Return whether an idle connection may be used for the next call.

        It may not if there is anything to read: the end of the connection, or data that was not requested. The check
        sends nothing, so that opening another connection is not a resend.
        """
        if self._good and self.is_readable():
            try:
                self._good = self.take() is None
            except OSError:
                self._good = False
        return self._good

    def is_readable(self) -> bool:
        """Return whether there is something to read. It costs a third of a read that raises BlockingIOError."""
        number = self._sock.fileno()
        _poller.register(number, POLLIN)
        try:
            return bool(_poller.poll(0))
        finally:
            _poller.unregister(number)

    def send(self, message: bytes, deadline: float) -> None:
        """Send the whole request until `deadline` (seconds, monotonic).

        Raises NothingSentError if no byte was sent, else OSError; TimeoutError at the deadline.
        """
        tls = self._tls
        if tls is not None:
            message = tls.encrypt(message)
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
        """Wait for something to read, at most until `deadline` (seconds, monotonic). May return early.

        Nearly every answer comes in time, so one timer serves many calls: it is set again only after it has fired, and
        may fire during a later call.
        """
        if self._timer_at > deadline:
            self._stop_timer()
            self._timer_at = deadline
            self._timer = self._hub.loop.timer(max(0.0, deadline - now))
            self._timer.start(self._time_over)
        self._waiting = getcurrent()
        try:
            self._hub.switch()
        finally:
            self._waiting = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer_at = inf

    def _time_over(self) -> None:
        self._timer_at = inf
        if self._waiting is not None:
            self._waiting.switch(False)

    def take(self) -> bytes | None:
        """Return received bytes, b"" at the end of the connection, None if there are none yet. Raises OSError."""
        data = self._recv()
        return data if data is None or self._tls is None else self._tls.decrypt(data)

    def handshake(self, deadline: float) -> None:
        """Do the TLS handshake. Raises OSError; TimeoutError at the deadline (seconds, monotonic)."""
        tls = self._tls
        assert tls is not None
        while True:
            done = tls.continue_handshake()
            self._send_rest(memoryview(tls.to_send()), deadline)
            if done:
                self._stop_timer()  # calls may use another clock
                return
            while (data := self._recv()) is None:
                if not self._watched:
                    self._watch()
                now = time.monotonic()
                if now >= deadline:
                    raise TimeoutError
                self.wait_for_more(deadline, now)
            tls.receive(data)

    def _recv(self) -> bytes | None:
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
        waiting = self._waiting
        if waiting is not None:
            waiting.switch(True)
        elif self.busy or not self.is_good():
            self._watched = False  # otherwise the loop would call this repeatedly until the data is read
            self._watcher.stop()


class _Tls:
    """TLS without a socket: encrypts and decrypts bytes."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, endpoint: Endpoint) -> None:
        self._incoming, self._outgoing = MemoryBIO(), MemoryBIO()
        self._object = endpoint.context.wrap_bio(self._incoming, self._outgoing, server_hostname=endpoint.host)

    def continue_handshake(self) -> bool:
        """Return whether the handshake is complete."""
        try:
            self._object.do_handshake()
        except SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        return bytes(self._outgoing.read())

    def encrypt(self, message: bytes) -> bytes:
        self._object.write(message)
        return self.to_send()

    def receive(self, data: bytes) -> None:
        """Add received bytes; b"" is the end of the connection."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def decrypt(self, data: bytes) -> bytes | None:
        """Return the decrypted data: None if there is none for the application, b"" at the end."""
        self.receive(data)
        parts: list[bytes] = []
        while True:
            try:
                part = self._object.read(_RECV_BYTES)
            except SSLWantReadError:
                return b"".join(parts) if parts else None
            except SSLZeroReturnError:
                part = b""
            except SSLError as error:
                # Closed without close_notify: HTTP decides whether the answer was complete.
                if error.args[0] != _SSL_ERROR_EOF:
                    raise
                part = b""
            if not part:
                return b"".join(parts)
            parts.append(part)


def connect(endpoint: Endpoint, timeout_s: float) -> ClientConnection:
    """Open a connection, ready to send, to the first address of the endpoint that accepts it.

    timeout_s: total time for name, connection and TLS handshake (seconds). Raises OSError if no address accepted the
    connection, CallFailed if the time is over or the name is malformed.
    """
    limit = gevent.Timeout(max(timeout_s, 0.001))
    limit.start()
    try:
        return _connect_to_first(endpoint, timeout_s)
    except gevent.Timeout as other:
        if other is not limit:
            raise
        endpoint.expire_addresses()
        raise CallFailed("timeout", Detail.CONNECTING) from None
    except OSError:
        endpoint.expire_addresses()
        raise
    except UnicodeError:
        raise CallFailed("connection", Detail.NAME) from None
    finally:
        limit.close()


def _connect_to_first(endpoint: Endpoint, timeout_s: float) -> ClientConnection:
    addresses = endpoint.addresses()
    problem: OSError = OSError("no address")
    try:
        for family, kind, proto, _, address in addresses:
            deadline = time.monotonic() + timeout_s / len(addresses)
            with ExitStack() as unless_connected:
                try:
                    sock = _PlainSocket(family, kind, proto)
                    unless_connected.callback(sock.close)
                    _connect(sock, address, deadline)
                    connection = ClientConnection(sock, _Tls(endpoint) if endpoint.tls else None)
                    unless_connected.callback(connection.close)
                    if endpoint.tls:
                        connection.handshake(deadline)
                    unless_connected.pop_all()
                    return connection
                except OSError as error:
                    problem = error
        raise problem
    finally:
        # Breaks the reference cycle with this frame, after a success too: garbage collection is off during a run.
        del problem


def _connect(sock: Any, address: Any, deadline: float) -> None:
    sock.setblocking(False)
    try:
        _ports.connect(sock, address)
    except BlockingIOError:
        _wait_writable(sock, deadline)
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number)) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wait_writable(sock: Any, deadline: float) -> None:
    """Wait until the socket is writable. Raises TimeoutError at the deadline."""
    loop = get_hub().loop
    ready, waiter = loop.io(sock.fileno(), _WRITE), GreenletWaiter()
    ready.start(waiter.wake)
    try:
        waiter.wait_until(deadline)
    finally:
        ready.stop()
