"""Examines the way to a host step by step: name, connection, TLS, and one chat (RequestChat, then Disconnect)."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from chatload.errors import UsageError
from chatload.features.doctor.checks import HostFacts
from chatload.final_answer import FinalAnswer
from chatload.protocol.dialect import Dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.reply import Reply, read
from chatload.protocol.secret import basic_authorization
from chatload.protocol.wire import MAX_BODY_BYTES, Detail, WireRequest, WireResult
from chatload.rules import TargetRules
from chatload.target import require_agreed, resolve
from chatload.total_deadline import TotalDeadline

#: Every step, and each of the two requests, may take this long (seconds).
TIMEOUT_S = 10.0
_INTRODUCTION = {"nickname": "chatload doctor", "subject": "chatload doctor"}


class TlsOptions(NamedTuple):
    """The values of --ca-file, --client-cert and --insecure."""

    ca_file: str | None = None
    client_cert: str | None = None
    insecure: bool = False


def examine(
    url: str,
    dialect: Dialect,
    service: str,
    agreed: Iterable[str] = (),
    tls: TlsOptions | None = None,
    rules: TargetRules | None = None,
) -> HostFacts:
    """Examine a host and return what was found. Nothing is sent to a host that the target guard refuses.

    Raises UsageError if the URL is not valid or a certificate file cannot be read.
    """
    tls = tls or TlsOptions()
    parts = _split(url)
    secure = parts.scheme == "https"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    facts = HostFacts(shown, tls=secure, verified=not tls.insecure)
    begun = time.monotonic()
    addresses = resolve(parts.hostname or "")
    facts = replace(facts, resolve_s=time.monotonic() - begun, addresses=tuple(addresses))
    try:
        # The guard judges the same addresses that are connected to.
        require_agreed(shown, agreed, rules, lambda _: addresses)
    except UsageError as refusal:
        return replace(facts, refused=str(refusal))
    if not addresses:
        return facts
    context = _context(tls) if secure else None
    sock, facts = _connect(facts, addresses, parts.port or (443 if secure else 80))
    if sock is None:
        return facts
    try:
        if context is not None:
            sock, facts = _handshake(facts, sock, context, parts.hostname or "")
            if facts.tls_s is None:
                return facts
        return _chat(facts, _ChatConnection(sock, parts), dialect, service)
    finally:
        sock.close()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    shown = "the URL given" if "@" in url else repr(url)
    raise UsageError(f"--host: {shown} is not the URL of a host", "expected http://HOST[:PORT][/PREFIX] or https://...")


def _context(tls: TlsOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.client_cert:
            context.load_cert_chain(tls.client_cert)
    except OSError as error:
        raise UsageError(f"the certificates cannot be read: {error}", "check --ca-file and --client-cert") from None
    return context


def _connect(facts: HostFacts, addresses: list[str], port: int) -> tuple[socket.socket | None, HostFacts]:
    trouble = ""
    for address in addresses:
        begun = time.monotonic()
        try:
            sock = socket.create_connection((address, port), TIMEOUT_S)
        except OSError as error:
            trouble = f"{address} port {port}: {error.strerror or error}"
            continue
        return sock, replace(facts, connect_s=time.monotonic() - begun)
    return None, replace(facts, trouble=trouble)


def _handshake(
    facts: HostFacts, sock: socket.socket, context: ssl.SSLContext, name: str
) -> tuple[socket.socket, HostFacts]:
    begun = time.monotonic()
    try:
        secured = context.wrap_socket(sock, server_hostname=name)
    except OSError as error:
        return sock, replace(facts, trouble=f"TLS failed: {getattr(error, 'verify_message', '') or error}")
    took = time.monotonic() - begun
    ends: Any = (secured.getpeercert() or {}).get("notAfter")
    left = ssl.cert_time_to_seconds(ends) - time.time() if ends else None
    return secured, replace(facts, tls_s=took, expires_in_s=left)


class _ChatConnection:
    """The open connection; sends one request after another."""

    def __init__(self, sock: socket.socket, parts: SplitResult) -> None:
        self._connection = http.client.HTTPConnection(parts.netloc.rpartition("@")[2], timeout=TIMEOUT_S)
        self._connection.response_class = FinalAnswer
        self._connection.sock = self._sock = sock
        # Requests never leave on another connection than the examined one.
        self._connection.auto_open = 0
        self._prefix = parts.path.rstrip("/")
        self._headers: dict[str, str] = {"Accept-Encoding": "identity"}
        if authorization := basic_authorization(parts.geturl()):
            self._headers["Authorization"] = authorization
        self.date = ""

    def call(self, request: WireRequest) -> WireResult:
        """Send a request and read its answer."""
        begun = time.monotonic()
        try:
            answer, body = self._exchange(request)
        except TimeoutError:
            return WireResult(begun, time.monotonic(), failure="timeout", detail=Detail.WAITING)
        except http.client.IncompleteRead:
            return WireResult(begun, time.monotonic(), failure="connection", detail=Detail.CUT_SHORT)
        except (OSError, http.client.HTTPException, ValueError):
            return WireResult(begun, time.monotonic(), failure="connection", detail=Detail.CLOSED)
        self.date = answer.headers.get("Date", "")
        cookies = [cookie.partition(";")[0] for cookie in answer.headers.get_all("Set-Cookie", [])]
        if cookies:
            self._headers["Cookie"] = "; ".join(cookies)
        return WireResult(begun, time.monotonic(), http_status=answer.status, body=body)

    def _exchange(self, request: WireRequest) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer and its body; raises TimeoutError where it is not whole in time, IncompleteRead where it is cut
        short, OSError, HTTPException, ValueError."""
        deadline = TotalDeadline(TIMEOUT_S)
        deadline.watch(self._sock)
        try:
            with deadline:
                headers = {**self._headers, **dict(request.headers)}
                self._connection.request(request.method, self._prefix + request.path, request.body, headers)
                answer = self._connection.getresponse()
                body = answer.read(MAX_BODY_BYTES + 1)
                if answer.length and len(body) <= MAX_BODY_BYTES:
                    raise http.client.IncompleteRead(body, answer.length)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if deadline.passed:
                raise TimeoutError from error
            raise
        if deadline.passed:  # an answer without a length ends where its connection does
            raise TimeoutError
        return answer, body


def _chat(facts: HostFacts, line: _ChatConnection, dialect: Dialect, service: str) -> HostFacts:
    encoder: Encoder = Encoder(dialect, service)
    result = line.call(encoder.encode("RequestChat", _INTRODUCTION))
    reply: Reply = read(dialect.response, result)
    facts = replace(
        facts,
        outcome=reply.outcome.value,
        detail=reply.detail,
        chat_s=result.received_at - (result.sent_at or result.received_at),
        clock_gap_s=_gap(line.date),
    )
    if not reply.chat_id:
        return facts
    keys = {
        "chat_id": reply.chat_id, "user_id": reply.user_id or "", "secure_key": reply.secure_key or "",
        "alias": reply.alias or "", "position": str(reply.next_position or 0),
    }  # fmt: skip
    goodbye = read(dialect.response, line.call(encoder.encode("Disconnect", keys)))
    return replace(facts, goodbye=goodbye.outcome.value)


def _gap(date: str) -> float | None:
    """The server's clock minus ours, by a Date header (RFC 9110 6.6.1), which has whole seconds."""
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
