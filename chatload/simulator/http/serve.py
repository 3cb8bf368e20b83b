"""Serving the shell until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from chatload.errors import UsageError
from chatload.protocol.dialect import Dialect
from chatload.protocol.secret import Secret
from chatload.simulator.http.guard import Guard, raise_file_limit
from chatload.simulator.http.protocol import Shared
from chatload.simulator.http.shell import Shell
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import FaultPlan

#: How often expiries are booked that nobody asks for (seconds).
SWEEP_S = 0.05
#: How long a request's headers, and then its body, may take to come in (seconds).
READ_TIMEOUT_S = 10.0
#: How long answers may still take once it is told to stop (seconds).
STOP_S = 1.0
_BACKLOG = 4096
#: How often, and how many seconds apart, the port is tried again after the listening socket was closed.
_BIND_TRIES, _BIND_AGAIN_S = 100, 0.005


def run(
    config: SimulatorConfig,
    faults: FaultPlan,
    host: str = "127.0.0.1",
    port: int = 0,
    announce: Callable[[str], None] = print,
    dialect: Dialect | None = None,
    apikey: Secret | None = None,
    read_timeout_s: float = READ_TIMEOUT_S,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; dialect: gms-v2 where None. read_timeout_s: see Guard. tls: speak it
    (see tls_context). Raises UsageError where the address cannot be had."""
    listener = _listen(host, port)
    try:
        shell = Shell(config, faults, dialect, apikey)
        # A quarter of the files may be open for requests that do not come; the rest are for chats.
        shared = Shared(shell, Guard(read_timeout_s, max(64, raise_file_limit() // 4)))
        # A process of its own: what is there now stays, and chats make few cycles. Looking for some among all
        # of them every few thousand requests would be long pauses.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        shown = f"[{host}]" if ":" in host else host
        with contextlib.suppress(KeyboardInterrupt):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                scheme = "http" if tls is None else "https"
                announce(f"listening on {scheme}://{shown}:{listener.getsockname()[1]}")
                runner.run(_serve(shell, shared, listener, tls))
    finally:
        listener.close()


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """What a server needs for TLS, from PEM files: its certificate (and those between it and the authority), and
    the key to it, without a password. Raises UsageError naming what is wrong."""
    for option, name in (("--tls-cert", certificate), ("--tls-key", key)):
        try:
            with Path(name).open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"{option} {name} cannot be read ({error.strerror})", "expected a PEM file") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UsageError(
            f"--tls-cert {certificate} and --tls-key {key} are no certificate and its key ({reason})",
            "expected PEM, the key without a password",
        ) from None
    return context


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = _bind((host, port))
        try:
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise UsageError(
            f"port {port} is in use" if in_use else f"cannot listen on {host}:{port} ({error})",
            "choose another with --port, or 0 for any free one",
        ) from None
    return listener


def _bind(address: tuple[Any, ...]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


async def _serve(shell: Shell, shared: Shared, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    front = _Front(shared, listener, tls)
    await front.open()
    sweeper, stopped = asyncio.create_task(_sweep_for_ever(shell, shared, front)), asyncio.create_task(told.wait())
    await asyncio.wait((sweeper, stopped), return_when=asyncio.FIRST_COMPLETED)
    sweeper.cancel()
    front.stop_listening()
    await shared.stop(STOP_S)
    if sweeper.done() and not sweeper.cancelled():
        sweeper.result()


class _Front:
    """The listening socket, which is closed while a restart (a fault) has the service down."""

    def __init__(self, shared: Shared, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._shared, self._listener, self._tls = shared, listener, tls
        self._address = listener.getsockname()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Take connections."""
        loop, shared = asyncio.get_running_loop(), self._shared
        self._server = await loop.create_server(shared.connection, sock=self._listener, backlog=_BACKLOG, ssl=self._tls)

    def stop_listening(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def follow(self, down: bool) -> None:
        """Be closed, without a connection left, while the service is down, and open else."""
        if not down:
            if self._server is None:
                await self.open()
        elif self._server is not None:
            self.stop_listening()
            for connection in list(self._shared.connections):
                connection.abort()
            # Bound but not listening, it refuses connections, and nobody else gets the port meanwhile.
            self._listener = await self._bound()

    async def _bound(self) -> socket.socket:
        for _ in range(_BIND_TRIES):
            # The closed socket is let go of in a later turn of the loop.
            await asyncio.sleep(_BIND_AGAIN_S)
            with contextlib.suppress(OSError):
                return _bind(self._address)
        return _bind(self._address)


async def _sweep_for_ever(shell: Shell, shared: Shared, front: _Front) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        shell.sweep()
        shared.tick(time.monotonic())
        await front.follow(shell.is_down())
