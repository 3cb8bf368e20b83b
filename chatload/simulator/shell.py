"""The thin HTTP shell around the model: a plain ASGI app on uvicorn. The only I/O of this package."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl

import orjson
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chatload.errors import UsageError
from chatload.protocol.dialect import Dialect, load_dialect
from chatload.simulator.config import SimulatorConfig
from chatload.simulator.faults import FaultPlan
from chatload.simulator.model import Answer, ChatService

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

SWEEP_S = 0.5
MAX_BODY_BYTES = 1024 * 1024
_JSON = (b"content-type", b"application/json")
_NDJSON = (b"content-type", b"application/x-ndjson")
_FORM = "application/x-www-form-urlencoded"


class Routes:
    """Finds the operation a request names, for one dialect: path -> (service, operation, chat id)."""

    def __init__(self, dialect: Dialect) -> None:
        prefix = _pattern(dialect.prefix)
        # RequestChat last: its path is a prefix of the others'.
        by_length = sorted(dialect.operations.items(), key=lambda item: -len(item[1].path))
        self._routes = [
            (
                re.compile(prefix + _pattern(wire.path) + "/?"),
                name,
                {v: k for k, v in wire.parameters.items()},
            )
            for name, wire in by_length
        ]

    def find(self, path: str) -> tuple[str, str, str | None, Mapping[str, str]] | None:
        """Service, operation, chat id and the names of its fields; None where nothing is there."""
        for pattern, operation, names in self._routes:
            match = pattern.fullmatch(path)
            if match:
                found = match.groupdict()
                return found.get("service", ""), operation, found.get("chat_id"), names
        return None


def _pattern(path: str) -> str:
    escaped = re.escape(path)
    for name in ("service", "chat_id"):
        escaped = escaped.replace(re.escape("{" + name + "}"), f"(?P<{name}>[^/]+)")
    return escaped


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, showing its transport to the app so that a connection can be broken."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["chatload.transport"] = self.transport


class _Server(uvicorn.Server):
    """uvicorn's server, for which being asked to stop is an ordinary end.

    uvicorn raises the signal again once it has shut down, which would kill this process (SIGTERM).
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


class SimulatorApp:
    """The ASGI app. Instants given to the model are this process's monotonic clock."""

    def __init__(self, config: SimulatorConfig, faults: FaultPlan, dialect: Dialect | None = None) -> None:
        self.service = ChatService(config, faults, time.time() - time.monotonic())
        self._routes = Routes(dialect or load_dialect("gms-v2"))
        self._name = config.service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/simulator/ledger":
            await self._ledger(send)
        elif path == "/simulator/status":
            status = {"live_sessions": self.service.live_sessions}
            await _reply(send, 200, orjson.dumps(status), _JSON)
        else:
            await self._operation(scope, receive, send)

    async def sweep_for_ever(self) -> None:
        """Book expiries of chats nobody asks for."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.service.sweep(time.monotonic())

    async def _operation(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._routes.find(scope["path"])
        try:
            body = await _body(receive)
        except _GoneError:
            return
        if found is None or (self._name is not None and found[0] != self._name):
            await _reply(send, 404, b"no such chat service")
            return
        if scope["method"] != "POST":
            await _reply(send, 405, b"POST only")
            return
        content_type = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
        is_form = content_type.partition(";")[0].strip().lower() == _FORM
        if body is None or ((body or content_type) and not is_form):
            await _reply(send, 413 if body is None else 415, b"")
            return
        _, operation, chat_id, names = found
        answer = await self._handle(operation, chat_id, _fields(body, names))
        if answer.drop:
            scope["chatload.transport"].abort()
            await receive()
        elif answer.payload is not None:
            await _reply(send, answer.http_status, orjson.dumps(answer.payload), _JSON)
        else:
            await _reply(send, answer.http_status, answer.raw or b"")

    async def _handle(self, operation: str, chat_id: str | None, fields: Mapping[str, str]) -> Answer:
        service = self.service
        fault = service.draw(time.monotonic(), operation)
        if fault is not None and fault.kind == "stall":
            await asyncio.sleep(fault.delay_s)
        answer = service.process(time.monotonic(), operation, chat_id, fields, fault)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        return answer

    async def _ledger(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [_NDJSON]})
        lines = []
        for row in self.service.ledger_rows(time.monotonic()):
            lines.append(orjson.dumps(row) + b"\n")
            if len(lines) >= 500:
                await send({"type": "http.response.body", "body": b"".join(lines), "more_body": True})
                lines = []
        await send({"type": "http.response.body", "body": b"".join(lines)})


def _fields(body: bytes, names: Mapping[str, str]) -> dict[str, str]:
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {names[name]: value for name, value in pairs if name in names}


class _GoneError(Exception):
    """The client hung up before its request was whole."""


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None where it is too large. Raises _GoneError where the rest will not come."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _reply(
    send: Send, status: int, body: bytes, content_type: tuple[bytes, bytes] = (b"content-type", b"text/html")
) -> None:
    headers = [content_type, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def run(
    config: SimulatorConfig,
    faults: FaultPlan,
    host: str = "127.0.0.1",
    port: int = 0,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT or SIGTERM. Raises UsageError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(4096)
        except (OSError, OverflowError) as error:
            listener.close()
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            raise UsageError(
                f"port {port} is in use" if in_use else f"cannot listen on {host}:{port} ({error})",
                "choose another with --port, or 0 for any free one",
            ) from None
        shown = f"[{host}]" if ":" in host else host
        app = SimulatorApp(config, faults)
        server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_level="critical",
                timeout_keep_alive=600,
                timeout_graceful_shutdown=1,
            )
        )
        announce(f"listening on http://{shown}:{listener.getsockname()[1]}")
        with contextlib.suppress(KeyboardInterrupt):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(server, app, listener))
    finally:
        listener.close()


async def _serve(server: uvicorn.Server, app: SimulatorApp, listener: socket.socket) -> None:
    sweeper = asyncio.create_task(app.sweep_for_ever())
    try:
        await server.serve(sockets=[listener])
    finally:
        sweeper.cancel()
