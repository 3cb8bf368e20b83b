"""Serving the shell with uvicorn until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
import uvloop

from chatload.errors import UsageError
from chatload.protocol.dialect import Dialect
from chatload.protocol.secret import Secret
from chatload.simulator.config import SimulatorConfig
from chatload.simulator.faults import FaultPlan
from chatload.simulator.guard import Guard, GuardedProtocol, raise_file_limit
from chatload.simulator.shell import SimulatorApp

SWEEP_S = 0.5
#: How long a request's headers, and then its body, may take to come in (seconds).
READ_TIMEOUT_S = 10.0


class _Server(uvicorn.Server):
    """uvicorn's server, for which being asked to stop is an ordinary end.

    uvicorn raises the signal again once it has shut down, which would kill this process (SIGTERM).
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def run(
    config: SimulatorConfig,
    faults: FaultPlan,
    host: str = "127.0.0.1",
    port: int = 0,
    announce: Callable[[str], None] = print,
    dialect: Dialect | None = None,
    apikey: Secret | None = None,
    read_timeout_s: float = READ_TIMEOUT_S,
) -> None:
    """Serve until SIGINT or SIGTERM; dialect: gms-v2 where None. read_timeout_s: see Guard. Raises
    UsageError where the address cannot be had."""
    listener = _listen(host, port)
    try:
        app = SimulatorApp(config, faults, dialect, apikey)
        # A quarter of the files may be open for requests that do not come; the rest are for chats.
        guard = Guard(read_timeout_s, max(64, raise_file_limit() // 4))
        server = _Server(
            uvicorn.Config(
                app,
                http=partial(GuardedProtocol, guard),
                ws="none",
                lifespan="off",
                access_log=False,
                log_level="critical",
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=600,
                timeout_graceful_shutdown=1,
            )
        )
        shown = f"[{host}]" if ":" in host else host
        announce(f"listening on http://{shown}:{listener.getsockname()[1]}")
        with contextlib.suppress(KeyboardInterrupt):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(server, app, guard, listener))
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(4096)
    except (OSError, OverflowError) as error:
        listener.close()
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise UsageError(
            f"port {port} is in use" if in_use else f"cannot listen on {host}:{port} ({error})",
            "choose another with --port, or 0 for any free one",
        ) from None
    return listener


async def _serve(server: uvicorn.Server, app: SimulatorApp, guard: Guard, listener: socket.socket) -> None:
    sweeper = asyncio.create_task(_sweep_for_ever(app, guard))
    try:
        await server.serve(sockets=[listener])
    finally:
        sweeper.cancel()


async def _sweep_for_ever(app: SimulatorApp, guard: Guard) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        app.sweep()
        guard.sweep(loop.time())
