"""The thin HTTP shell around the model: what a request asks of it, and its answer as bytes."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterator
from urllib.parse import quote

import orjson

from chatload.protocol.decode import Decoder, RefusedError, Request
from chatload.protocol.dialect import Dialect, load_dialect
from chatload.protocol.secret import Secret
from chatload.simulator.http import cors
from chatload.simulator.http.exchange import Exchange, lines
from chatload.simulator.http.openapi import document
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import Answer, ChatService

#: The largest body that brings no file, and what one with a file may have beside it (bytes).
MAX_BODY_BYTES = 1024 * 1024
#: About how much of the ledger is made at a time (bytes).
_LEDGER_PART_BYTES = 64 * 1024
_JSON = b"content-type: application/json\r\n"
_NDJSON = b"content-type: application/x-ndjson\r\n"
_TEXT = b"content-type: text/plain; charset=utf-8\r\n"
_HTML = b"content-type: text/html\r\n"
_OWN = "/simulator/"
_now = time.monotonic


class Shell:
    """Answers requests (an exchange.Handler). Instants given to the model are this process's monotonic clock.

    apikey: what requests must bring in their `apikey` header; None is nothing.
    """

    def __init__(
        self, config: SimulatorConfig, faults: FaultPlan, dialect: Dialect | None = None, apikey: Secret | None = None
    ) -> None:
        self.service = ChatService(config, faults, time.time() - _now())
        dialect = dialect or load_dialect("gms-v2", None)
        self._decoder = Decoder(dialect)
        self._names = dialect.response
        self._apikey = None if apikey is None else apikey.reveal().encode()
        self._name = config.service
        self._max_upload = config.file_max_bytes * 4 // 3 + MAX_BODY_BYTES
        self._openapi = orjson.dumps(document(dialect, config.service or "default", apikey is not None))

    def head(self, exchange: Exchange) -> None:
        """See Handler: find out where a request goes, and refuse what can be refused without its body."""
        if b"origin" in exchange.headers:
            exchange.more = lines(cors.for_origin(exchange.headers[b"origin"]))
        exchange.limit, path = MAX_BODY_BYTES, exchange.path
        if path.startswith(_OWN):
            return
        place = self._decoder.find(path)
        if place is None or not self._is_ours(place[1].get("service")):
            _refuse(exchange, 404, "no such chat service")
            return
        methods, in_path = place
        group = methods.get(exchange.method.decode())
        if group is None:
            _other_method(exchange, tuple(methods))
        elif self._apikey is None or self._has_key(exchange):
            exchange.place = group, in_path
            if group.takes_files:
                exchange.limit = self._max_upload

    def whole(self, exchange: Exchange) -> None:
        """See Handler: answer a request."""
        if exchange.place is None:
            self._own_page(exchange)
            return
        group, in_path = exchange.place
        content_type = exchange.headers.get(b"content-type", b"").decode("latin-1")
        try:
            request = group.read(in_path, content_type, exchange.body)
        except RefusedError as refused:
            _refuse(exchange, refused.http_status, refused.text)
            return
        operation, chat_id, fields, content, name = request
        if name is not None and not self._is_ours(name):
            _refuse(exchange, 404, "no such chat service")
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

    def too_long(self, exchange: Exchange) -> None:
        """See Handler."""
        _refuse(exchange, 413, f"at most {exchange.limit} bytes")

    def sweep(self) -> None:
        """Book expiries of chats nobody asks for."""
        self.service.sweep(_now())

    def is_down(self) -> bool:
        """Whether a restart has the service refuse connections now."""
        return self.service.is_down(_now())

    def _is_ours(self, service: str | None) -> bool:
        return service == self._name or service is None or self._name is None

    def _has_key(self, exchange: Exchange) -> bool:
        apikey = exchange.headers.get(b"apikey")
        if not apikey:
            _refuse(exchange, 401, "an apikey header is needed", b"www-authenticate: apikey\r\n")
        elif not hmac.compare_digest(apikey, self._apikey or b""):
            _refuse(exchange, 403, "not the right apikey")
        else:
            return True
        return False

    # -- answers -----------------------------------------------------------------------------------

    async def _process_later(self, exchange: Exchange, request: Request, fault: Fault | None, delay_s: float) -> None:
        """The request reaches the chat service only after a time, whether its client is still there or not."""
        await _sleep(delay_s)
        operation, chat_id, fields, content, _ = request
        answer = self.service.process(_now(), operation, chat_id, fields, fault, content)
        await self._give_later(exchange, answer)

    async def _give_later(self, exchange: Exchange, answer: Answer) -> None:
        if answer.held is not None:
            held = await self._hold(exchange, answer)
            if held is None:
                return
            answer = held
        if answer.delay_s:
            await _sleep(answer.delay_s)
        self._give(exchange, answer)

    async def _hold(self, exchange: Exchange, answer: Answer) -> Answer | None:
        """Long polling: wait until the model has an answer; None where the client is gone before."""
        service, gone = self.service, exchange.hangs_up()
        while (hold := answer.held) is not None:
            woken = asyncio.get_running_loop().create_future()
            hold.wake = lambda woken=woken: woken.done() or woken.set_result(None)
            left_s = max(0.0, service.hold_due(hold) - _now())
            await asyncio.wait((gone, woken), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                service.abandon(_now(), hold)
                return None
            answer = service.resume(_now(), hold)
        return answer

    def _give(self, exchange: Exchange, answer: Answer) -> None:
        if answer.payload is not None:
            names = self._names
            payload = answer.payload if names.plain else names.to_wire(answer.payload)
            exchange.reply(answer.http_status, _JSON, orjson.dumps(payload))
        elif answer.drop:
            exchange.drop()
        elif answer.lost:
            exchange.later(_say_nothing(exchange))
        else:
            exchange.reply(
                answer.http_status, _file_headers(answer) if answer.content_type else _HTML, answer.raw or b""
            )

    def _own_page(self, exchange: Exchange) -> None:
        pages = ledger, status_page, _ = f"{_OWN}ledger", f"{_OWN}status", f"{_OWN}openapi.json"
        path = exchange.path
        if path not in pages:
            _refuse(exchange, 404, f"no such page; there are {', '.join(pages)}")
        elif exchange.method not in (b"GET", b"HEAD"):
            _other_method(exchange, ("GET", "HEAD"))
        elif path == ledger:
            exchange.later(exchange.stream(_NDJSON, self._ledger()))
        elif path == status_page:
            service = self.service
            status = {"live_sessions": service.live_sessions, "latest_expiry_s": service.latest_expiry_s}
            exchange.reply(200, _JSON, orjson.dumps(status))
        else:
            exchange.reply(200, _JSON, self._openapi)

    def _ledger(self) -> Iterator[bytes]:
        part: list[bytes] = []
        size = 0
        for row in self.service.ledger_rows(_now()):
            part.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            size += len(part[-1])
            if size > _LEDGER_PART_BYTES:
                yield b"".join(part)
                part, size = [], 0
        if part:
            yield b"".join(part)


async def _say_nothing(exchange: Exchange) -> None:
    """Keep the connection open, and the request unanswered, until its client gives up."""
    await exchange.hangs_up()


def _refuse(exchange: Exchange, status: int, text: str, more: bytes = b"") -> None:
    exchange.reply(status, _TEXT + more, text.encode())


def _other_method(exchange: Exchange, methods: tuple[str, ...]) -> None:
    """Answer a method that is not to be had at a path: a preflight, or a refusal."""
    if exchange.method == b"OPTIONS":
        exchange.reply(204, lines(cors.preflight(exchange.headers, methods)), b"")
    else:
        allow = ", ".join((*methods, "OPTIONS")).encode()
        _refuse(exchange, 405, f"{' or '.join(methods)} only", lines([(b"allow", allow)]))


async def _sleep(seconds: float) -> None:
    """Not less than this: the loop's own timers may be a millisecond early."""
    until = _now() + seconds
    while (left := until - _now()) > 0:
        await asyncio.sleep(left)


def _file_headers(answer: Answer) -> bytes:
    """A download's; what the client said of the file goes back only where it is fit for a header."""
    media_type = answer.content_type
    if not media_type.isascii() or not media_type.isprintable():
        media_type = "application/octet-stream"
    disposition = f"attachment; filename*=UTF-8''{quote(answer.file_name, safe='')}"
    return lines(
        [
            (b"content-type", media_type.encode()),
            (b"content-disposition", disposition.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
    )
