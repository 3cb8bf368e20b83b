"""The thin HTTP shell around the model: a plain ASGI app. With serve and guard, the only I/O of this package."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import orjson

from chatload.protocol.decode import Decoder, Place, RefusedError, Request
from chatload.protocol.dialect import Dialect, load_dialect
from chatload.protocol.secret import Secret
from chatload.simulator import cors
from chatload.simulator.config import SimulatorConfig
from chatload.simulator.faults import FaultPlan
from chatload.simulator.model import Answer, ChatService
from chatload.simulator.openapi import document

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

#: The largest body that brings no file, and what one with a file may have beside it (bytes).
MAX_BODY_BYTES = 1024 * 1024
_JSON = (b"content-type", b"application/json")
_NDJSON = (b"content-type", b"application/x-ndjson")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_HTML = (b"content-type", b"text/html")


class SimulatorApp:
    """The ASGI app. Instants given to the model are this process's monotonic clock.

    apikey: what requests must bring in their `apikey` header; None is nothing.
    """

    def __init__(
        self, config: SimulatorConfig, faults: FaultPlan, dialect: Dialect | None = None, apikey: Secret | None = None
    ) -> None:
        self.service = ChatService(config, faults, time.time() - time.monotonic())
        dialect = dialect or load_dialect("gms-v2", None)
        self._decoder = Decoder(dialect)
        self._names = dialect.response
        self._apikey = None if apikey is None else apikey.reveal().encode()
        self._name = config.service
        self._max_upload = config.file_max_bytes * 4 // 3 + MAX_BODY_BYTES
        self._openapi = orjson.dumps(document(dialect, config.service or "default", apikey is not None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path = scope["raw_path"].decode("ascii")
        content_type, apikey, more = "", b"", []
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"apikey":
                apikey = value
            elif name == b"origin":
                more = cors.for_origin(value)
        try:
            if path.startswith("/simulator/"):
                await self._own_page(scope, path, send, more)
                return
            place = self._place(scope, path)
            if scope["method"] == "OPTIONS":
                await _reply(send, 204, b"", cors.preflight(scope["headers"], place.methods) + more)
                return
            self._check_key(apikey)
            request = await self._read(scope, place, content_type, receive)
            answer = await self._answer(request, receive)
            await self._give(scope, answer, receive, send, more)
        except RefusedError as refused:
            headers = [_TEXT, *_explained(refused, scope, more)]
            await _reply(send, refused.http_status, refused.text.encode(), headers)
        except _GoneError:
            return

    def sweep(self) -> None:
        """Book expiries of chats nobody asks for."""
        self.service.sweep(time.monotonic())

    def _place(self, scope: Scope, path: str) -> Place:
        place = self._decoder.find(path)
        if place is None or not self._is_ours(place.in_path.get("service")):
            raise RefusedError(404, "no such chat service")
        if scope["method"] not in place.methods and scope["method"] != "OPTIONS":
            scope["chatload.allow"] = ", ".join((*place.methods, "OPTIONS"))
            raise RefusedError(405, f"{' or '.join(place.methods)} only")
        return place

    def _is_ours(self, service: str | None) -> bool:
        return service is None or self._name is None or service == self._name

    def _check_key(self, apikey: bytes) -> None:
        if self._apikey is None:
            return
        if not apikey:
            raise RefusedError(401, "an apikey header is needed")
        if not hmac.compare_digest(apikey, self._apikey):
            raise RefusedError(403, "not the right apikey")

    async def _read(self, scope: Scope, place: Place, content_type: str, receive: Receive) -> Request:
        group = place.methods[scope["method"]]
        body = await _body(receive, self._max_upload if group.takes_files else MAX_BODY_BYTES)
        request = group.read(place.in_path, content_type, body)
        if not self._is_ours(request.service):
            raise RefusedError(404, "no such chat service")
        return request

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        operation, chat_id, fields, content, _ = request
        service = self.service
        fault = service.draw(time.monotonic(), operation)
        delay_s = service.serve(time.monotonic())
        if fault is not None and fault.kind == "stall":
            delay_s += fault.delay_s
        if delay_s:
            await _sleep(delay_s)
        answer = service.process(time.monotonic(), operation, chat_id, fields, fault, content)
        if answer.held is not None:
            answer = await self._hold(answer, receive)
        if answer.delay_s:
            await _sleep(answer.delay_s)
        return answer

    async def _hold(self, answer: Answer, receive: Receive) -> Answer:
        """Long polling: wait until the model has an answer, or the client is gone."""
        service = self.service
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            while (hold := answer.held) is not None:
                woken = asyncio.get_running_loop().create_future()
                hold.wake = lambda woken=woken: woken.done() or woken.set_result(None)
                left_s = max(0.0, service.hold_due(hold) - time.monotonic())
                await asyncio.wait((gone, woken), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    service.abandon(time.monotonic(), hold)
                    raise _GoneError
                answer = service.resume(time.monotonic(), hold)
            return answer
        finally:
            gone.cancel()

    async def _give(self, scope: Scope, answer: Answer, receive: Receive, send: Send, more: Headers) -> None:
        if answer.payload is not None:
            body = orjson.dumps(self._names.to_wire(answer.payload))
            await _reply(send, answer.http_status, body, [_JSON, *more])
        elif answer.drop:
            scope["chatload.transport"].abort()
            await receive()
        else:
            headers = _file_headers(answer) if answer.content_type else [_HTML]
            await _reply(send, answer.http_status, answer.raw or b"", headers + more)

    async def _own_page(self, scope: Scope, path: str, send: Send, more: Headers) -> None:
        pages = {
            "/simulator/ledger": self._ledger,
            "/simulator/status": self._status,
            "/simulator/openapi.json": self._document,
        }
        page = pages.get(path)
        if page is None:
            raise RefusedError(404, f"no such page; there are {', '.join(pages)}")
        if scope["method"] == "OPTIONS":
            await _reply(send, 204, b"", cors.preflight(scope["headers"], ("GET", "HEAD")) + more)
            return
        if scope["method"] not in ("GET", "HEAD"):
            scope["chatload.allow"] = "GET, HEAD, OPTIONS"
            raise RefusedError(405, "GET only")
        await page(send, more)

    async def _status(self, send: Send, more: Headers) -> None:
        status = {"live_sessions": self.service.live_sessions}
        await _reply(send, 200, orjson.dumps(status), [_JSON, *more])

    async def _document(self, send: Send, more: Headers) -> None:
        await _reply(send, 200, self._openapi, [_JSON, *more])

    async def _ledger(self, send: Send, more: Headers) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [_NDJSON, *more]})
        lines = []
        for row in self.service.ledger_rows(time.monotonic()):
            lines.append(orjson.dumps(row) + b"\n")
            if len(lines) >= 500:
                await send({"type": "http.response.body", "body": b"".join(lines), "more_body": True})
                lines = []
        await send({"type": "http.response.body", "body": b"".join(lines)})


class _GoneError(Exception):
    """The client hung up before its request was whole, or while it was held."""


async def _body(receive: Receive, limit: int) -> bytes:
    """The request's body. Raises _GoneError where the rest will not come."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise RefusedError(413, f"at most {limit} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _sleep(seconds: float) -> None:
    """Not less than this: the loop's own timers may be a millisecond early."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(left)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _explained(refused: RefusedError, scope: Scope, more: Headers) -> Headers:
    """The headers that go with a refusal."""
    if refused.http_status == 405:
        return [(b"allow", scope["chatload.allow"].encode()), *more]
    if refused.http_status == 401:
        return [(b"www-authenticate", b"apikey"), *more]
    return more


def _file_headers(answer: Answer) -> Headers:
    """A download's; what the client said of the file goes back only where it is fit for a header."""
    media_type = answer.content_type
    if not media_type.isascii() or not media_type.isprintable():
        media_type = "application/octet-stream"
    disposition = f"attachment; filename*=UTF-8''{quote(answer.file_name, safe='')}"
    return [
        (b"content-type", media_type.encode()),
        (b"content-disposition", disposition.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]


async def _reply(send: Send, status: int, body: bytes, headers: Headers) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
