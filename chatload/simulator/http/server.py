"""The HTTP server around the model: what a request asks of it, its answer as bytes, and serving until it is stopped."""

import asyncio
import contextlib
import errno
import gc
import hmac
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson
import uvloop

from chatload.errors import UsageError
from chatload.protocol.decode import Decoder, RefusedError, Request
from chatload.protocol.dialect import Dialect
from chatload.simulator.http.openapi import document
from chatload.simulator.http.protocol import HttpExchange, ServedConnection, ServerConnections, SlowClientGuard
from chatload.simulator.model.answers import NoAnswer, ServiceAnswer
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.sockets import raise_file_limit

#: The largest body without a file, and the most bytes besides the file in a body with one.
MAX_BODY_BYTES = 1024 * 1024
#: Size of the parts in which the ledger is sent (bytes).
_LEDGER_PART_BYTES = 64 * 1024
_JSON = b"content-type: application/json\r\n"
_OWN = "/simulator/"
_now = time.monotonic


class ChatHandler:
    """Answers requests (an `HttpHandler`). The model's clock is this process's monotonic clock.

    apikey: the value that requests need in their `apikey` header; None: they need none. token_life_s: requests of chats
    need a token of the page `token` that is not older than this (seconds); None: they need none.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        faults: FaultPlan,
        dialect: Dialect,
        apikey: str | None,
        token_life_s: float | None = None,
    ) -> None:
        self.service = ChatService(config, faults, time.time() - _now())
        self._decoder = Decoder(dialect)
        self._names = None if dialect.response.plain else dialect.response
        self._apikey = None if apikey is None else apikey.encode()
        self._services = None if config.service is None else frozenset(config.service.split(","))
        self._token_life_s, self._token_key = token_life_s, secrets.token_bytes(16)
        self._max_upload = config.file_max_bytes * 4 // 3 + MAX_BODY_BYTES
        self._openapi = orjson.dumps(
            document(dialect, (config.service or "default").partition(",")[0], apikey is not None)
        )

    def head(self, exchange: HttpExchange) -> None:
        """See HttpHandler: route a request, and refuse what can be refused without its body."""
        if b"origin" in exchange.headers:
            exchange.more = _for_origin(exchange.headers[b"origin"])
        exchange.limit, path = MAX_BODY_BYTES, exchange.path
        if path.startswith(_OWN):
            return
        place = self._decoder.find(path)
        if place is None or not self._is_ours(place[1].get("service")):
            exchange.refuse(404, "no such chat service")
            return
        methods, in_path = place
        group, apikey = methods.get(exchange.method.decode()), exchange.headers.get(b"apikey", b"")
        if group is None:
            _other_method(exchange, tuple(methods))
        elif self._apikey is not None and not apikey:
            exchange.refuse(401, "an apikey header is needed", b"www-authenticate: apikey\r\n")
        elif self._apikey is not None and not hmac.compare_digest(apikey, self._apikey):
            exchange.refuse(403, "not the right apikey")
        elif self._token_life_s is not None and not self._has_token(exchange):
            exchange.refuse(401, "a valid token is needed", b"www-authenticate: Bearer\r\n")
        else:
            exchange.place = group, in_path
            if group.takes_files:
                exchange.limit = self._max_upload

    def whole(self, exchange: HttpExchange) -> None:
        """See HttpHandler: answer a request."""
        if exchange.place is None:
            self._own_page(exchange)
            return
        group, in_path = exchange.place
        content_type = exchange.headers.get(b"content-type", b"").decode("latin-1")
        try:
            request = group.read(in_path, content_type, exchange.body)
        except RefusedError as refused:
            exchange.refuse(refused.http_status, refused.text)
            return
        operation, chat_id, fields, content, name = request
        if name is not None and not self._is_ours(name):
            exchange.refuse(404, "no such chat service")
            return
        now, service = _now(), self.service
        fault = service.draw(now, operation)
        delay_s = service.serve(now)
        if fault is not None and fault.kind == "stall":
            delay_s += fault.delay_s
        if delay_s:
            exchange.later(self._process_later(exchange, request, fault, delay_s))
            return
        answer = service.process(now, operation, chat_id, fields, fault, content)
        if answer.held is not None or answer.delay_s:
            exchange.later(self._give_later(exchange, answer))
        else:
            self._give(exchange, answer)

    def _is_ours(self, service: str | None) -> bool:
        return service is None or self._services is None or service in self._services

    def _make_token(self) -> str:
        """Return a token: the instant up to which it is valid (on this clock), and its signature."""
        until = f"{_now() + (self._token_life_s or 0.0):.3f}"
        return f"{until}.{hmac.digest(self._token_key, until.encode(), 'sha256').hex()}"

    def _has_token(self, exchange: HttpExchange) -> bool:
        scheme, _, token = exchange.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        until, _, signature = token.rpartition(".")
        expected = hmac.digest(self._token_key, until.encode("latin-1"), "sha256").hex()
        # Only a token of ours has a good signature, so `until` is a number.
        return scheme == "Bearer" and hmac.compare_digest(signature, expected) and float(until) >= _now()

    # -- answers -----------------------------------------------------------------------------------

    async def _process_later(
        self, exchange: HttpExchange, request: Request, fault: Fault | None, delay_s: float
    ) -> None:
        """Process a request after a delay, whether or not its client is still connected."""
        await _sleep(delay_s)
        operation, chat_id, fields, content, _ = request
        answer = self.service.process(_now(), operation, chat_id, fields, fault, content)
        await self._give_later(exchange, answer)

    async def _give_later(self, exchange: HttpExchange, answer: ServiceAnswer) -> None:
        """Give an answer that is held (long polling) or delayed; none if the client of a held one hangs up before."""
        service = self.service
        while (hold := answer.held) is not None:
            gone, woken = exchange.hangs_up(), asyncio.get_running_loop().create_future()
            hold.wake = lambda woken=woken: woken.done() or woken.set_result(None)
            left_s = max(0.0, service.hold_due(hold) - _now())
            await asyncio.wait((gone, woken), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                service.abandon(_now(), hold)
                return
            answer = service.resume(_now(), hold)
        await _sleep(answer.delay_s)
        self._give(exchange, answer)

    def _give(self, exchange: HttpExchange, answer: ServiceAnswer) -> None:
        if answer.payload is not None:
            payload = answer.payload if self._names is None else self._names.to_wire(answer.payload)
            exchange.reply(answer.http_status, _JSON, orjson.dumps(payload))
        elif answer.silence is NoAnswer.LOST:
            # The connection stays open and the request unanswered until the client gives up.
            exchange.later(exchange.hangs_up())
        elif answer.silence is not None:
            exchange.drop()
        else:
            exchange.reply(answer.http_status, _file_headers(answer), answer.raw or b"")

    def _own_page(self, exchange: HttpExchange) -> None:
        pages = [f"{_OWN}{name}" for name in ("ledger", "status", "token", "openapi.json")]
        ledger, status_page, token_page, _ = pages
        path = exchange.path
        if path not in pages:
            exchange.refuse(404, f"no such page; there are {', '.join(pages)}")
        elif path == token_page:
            if exchange.method != b"POST":
                _other_method(exchange, ("POST",))
            elif self._token_life_s is None:
                exchange.refuse(404, "this simulator has no --token-life")
            else:
                answer = {"access_token": self._make_token(), "token_type": "Bearer", "expires_in": self._token_life_s}
                exchange.reply(200, _JSON, orjson.dumps(answer))
        elif exchange.method not in (b"GET", b"HEAD"):
            _other_method(exchange, ("GET", "HEAD"))
        elif path == ledger:
            exchange.later(exchange.stream(b"content-type: application/x-ndjson\r\n", self._ledger()))
        elif path == status_page:
            service = self.service
            status = {"live_sessions": service.live_sessions, "latest_expiry_s": service.latest_expiry_s}
            exchange.reply(200, _JSON, orjson.dumps(status))
        else:
            exchange.reply(200, _JSON, self._openapi)

    def _ledger(self) -> Iterator[bytes]:
        part = b""
        for row in self.service.ledger_rows(_now()):
            part += orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            if len(part) > _LEDGER_PART_BYTES:
                yield part
                part = b""
        if part:
            yield part


def _other_method(exchange: HttpExchange, methods: tuple[str, ...]) -> None:
    """Answer a method that the path does not support: a preflight, or a refusal."""
    allowed = ", ".join((*methods, "OPTIONS")).encode()
    if exchange.method == b"OPTIONS":
        exchange.reply(204, _preflight(exchange.headers, allowed), b"")
    else:
        exchange.refuse(405, f"{' or '.join(methods)} only", b"allow: %b\r\n" % allowed)


async def _sleep(seconds: float) -> None:
    """Sleep for at least this long: the timers of the loop may be a millisecond early."""
    until = _now() + seconds
    while (left := until - _now()) > 0:
        await asyncio.sleep(left)


def _file_headers(answer: ServiceAnswer) -> bytes:
    """Return the headers of raw bytes: HTML, or a download with the client's media type if that is fit for a header."""
    media_type = answer.content_type
    if not media_type:
        return b"content-type: text/html\r\n"
    if not media_type.isascii() or not media_type.isprintable():
        media_type = "application/octet-stream"
    disposition = f"content-disposition: attachment; filename*=UTF-8''{quote(answer.file_name, safe='')}\r\n"
    return f"content-type: {media_type}\r\n{disposition}x-content-type-options: nosniff\r\n".encode()


# -- other origins (CORS) --------------------------------------------------------------------------


#: How long a browser may cache a preflight (seconds).
_MAX_AGE_S = 600


def _for_origin(origin: bytes) -> bytes:
    """Return the header lines of every answer to a page of that origin."""
    return (
        b"access-control-allow-origin: %b\r\naccess-control-allow-credentials: true\r\n"
        b"access-control-expose-headers: content-disposition\r\nvary: origin\r\n" % origin
    )


def _preflight(asked: Mapping[bytes, bytes], allowed: bytes) -> bytes:
    """Return the header lines of an answer to OPTIONS. asked: headers of the request. allowed: methods of its path."""
    answer = b"allow: %b\r\n" % allowed
    if b"access-control-request-method" in asked:
        answer += b"access-control-allow-methods: %b\r\naccess-control-max-age: %d\r\n" % (allowed, _MAX_AGE_S)
    wanted = asked.get(b"access-control-request-headers")
    if wanted:
        answer += b"access-control-allow-headers: %b\r\n" % wanted
    if asked.get(b"access-control-request-private-network") == b"true":
        answer += b"access-control-allow-private-network: true\r\n"
    return answer


# -- serving ---------------------------------------------------------------------------------------


#: How often the ends of chats without requests are booked (seconds).
SWEEP_S = 0.05
#: How long pending answers may take after a request to stop (seconds).
STOP_S = 1.0
_BACKLOG = 4096
#: How often, and at which interval (seconds), the port is bound again after the listening socket was closed.
_BIND_TRIES, _BIND_AGAIN_S = 100, 0.005


def run(handler: ChatHandler, host: str, port: int, read_timeout_s: float, tls: ssl.SSLContext | None) -> None:
    """Serve until SIGINT or SIGTERM.

    read_timeout_s: see SlowClientGuard. tls: from tls_context. Raises UsageError if the address cannot be bound.
    """
    listener = _listen(host, port)
    with contextlib.closing(listener), contextlib.suppress(KeyboardInterrupt):
        # A quarter of the files may be used by incomplete requests; the rest are for chats.
        shared = ServerConnections(handler, SlowClientGuard(read_timeout_s, max(64, raise_file_limit()[0] // 4)))
        # What exists now stays for the life of this process, and chats make few reference cycles. Garbage collection
        # over all of them every few thousand requests would cause long pauses.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        shown, scheme = f"[{host}]" if ":" in host else host, "http" if tls is None else "https"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            click.echo(f"listening on {scheme}://{shown}:{listener.getsockname()[1]}")
            runner.run(_serve(handler, shared, listener, tls))


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return the TLS settings of a server from PEM files: its certificate (with the chain after it), and its key
    without a password. Raises UsageError if a file is not valid.
    """
    for option, name in (("--tls-cert", certificate), ("--tls-key", key)):
        try:
            Path(name).open("rb").close()
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
        listener.listen(_BACKLOG)
        return listener
    except (OSError, OverflowError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise UsageError(
            f"port {port} is in use" if in_use else f"cannot listen on {host}:{port} ({error})",
            "choose another with --port, or 0 for any free one",
        ) from None


def _bind(address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


async def _serve(
    handler: ChatHandler, shared: ServerConnections, listener: socket.socket, tls: ssl.SSLContext | None
) -> None:
    loop, told, service = asyncio.get_running_loop(), asyncio.Event(), handler.service
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    address = listener.getsockname()
    server: asyncio.Server | None = None
    try:
        while not told.is_set():
            now = _now()
            service.sweep(now)
            shared.tick(now)
            down = service.is_down(now)
            if not down and server is None:
                server = await loop.create_server(
                    lambda: ServedConnection(shared), sock=listener, backlog=_BACKLOG, ssl=tls
                )
            elif down and server is not None:
                server.close()
                server = None
                for connection in list(shared.connections):
                    connection.abort()
                # Bound but not listening: it refuses connections, and no other process gets the port.
                listener = await _bound(address)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), SWEEP_S)
    finally:
        if server is not None:
            server.close()
        await shared.stop(STOP_S)


async def _bound(address: tuple[Any, ...]) -> socket.socket:
    for _ in range(_BIND_TRIES):
        # The loop releases the closed socket in a later iteration.
        await asyncio.sleep(_BIND_AGAIN_S)
        with contextlib.suppress(OSError):
            return _bind(address)
    return _bind(address)
