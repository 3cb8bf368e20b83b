"""Examines the way to a host step by step, and checks what was found: name, connection, TLS, and one chat
(RequestChat, then Disconnect)."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from chatload.errors import UsageError
from chatload.features.doctor.view import CheckResult, check
from chatload.protocol.dialect import Dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.reply import read
from chatload.protocol.secret import basic_authorization
from chatload.protocol.wire import MAX_BODY_BYTES, REFUSED_LOGIN, Detail, Failure, WireRequest, WireResult
from chatload.render.words import seconds
from chatload.sockets import FinalAnswer, TotalDeadline
from chatload.target import require_agreed, resolve

#: Every step, and each of the two requests, may take this long (seconds).
TIMEOUT_S = 10.0
_INTRODUCTION = {"nickname": "chatload doctor", "subject": "chatload doctor"}


@dataclass
class HostFacts:
    """What was found on the way to a host.

    refused: why nothing was sent to it, in the words of the target guard. addresses: of its name; resolve_s, connect_s,
    tls_s: duration of each step, None if it was not reached; trouble: the failure on the way, as a transport says it.
    tls: whether it is https; verified: whether its certificate was; expires_in_s: until that certificate ends. outcome:
    of RequestChat, and detail; http_status: of its answer, 0 without one; chat_s: how long that took; goodbye: the
    outcome of its Disconnect, empty where no chat was opened. clock_gap_s: the server's Date minus our clock, within a
    second.
    """

    url: str
    refused: str = ""
    addresses: tuple[str, ...] = ()
    resolve_s: float | None = None
    connect_s: float | None = None
    trouble: str = ""
    tls: bool = False
    verified: bool = True
    tls_s: float | None = None
    expires_in_s: float | None = None
    outcome: str = ""
    detail: str = ""
    http_status: int = 0
    chat_s: float | None = None
    goodbye: str = ""
    clock_gap_s: float | None = None


def check_host(host: HostFacts) -> Iterator[CheckResult]:
    """Yield a result for every step on the way to a chat, as far as it went."""
    if host.refused:
        found, _, change = host.refused.partition("; ")
        yield check("target", found, change, bad=True)
        return
    if host.resolve_s is not None:
        if not host.addresses:
            change = "check --host, and this machine's DNS: resolvectl status"
            yield check("name", f"{host.url}: name not resolved", change, bad=True)
            return
        found = f"{', '.join(host.addresses)} in {seconds(host.resolve_s)}"
        change = "use a nearer DNS resolver: names are resolved every 30 s"
        yield check("name", found, change, warn=host.resolve_s > 0.5)
    if host.connect_s is None:
        change = "check --host, and that it is up and not behind a firewall"
        yield check("connection", host.trouble or "cannot be opened", change, bad=True)
        return
    change = "a generator nearer to the host"
    yield check("connection", f"TCP in {seconds(host.connect_s)}", change, warn=host.connect_s > 0.25)
    if host.tls:
        yield from _tls(host)
        if host.tls_s is None:
            return
    yield _chat(host)
    if host.clock_gap_s is not None:
        far = abs(host.clock_gap_s) > 2
        found = f"differs from ours by {host.clock_gap_s:+.0f} s" if far else "within 2 s of ours"
        yield check("server's clock", found, "synchronise both (NTP) before comparing with its ledger", warn=far)


#: Part of OpenSSL's message -> what to change. --insecure is offered only for messages about trust.
_TLS_CHANGES: Mapping[str, str] = {
    "has expired": "renew the server's certificate; this machine's date, if it is wrong",
    "not yet valid": "this machine's date, if it is wrong; else the server's certificate",
    "is not valid for": "--host by the name that the certificate is for",
    "WRONG_VERSION_NUMBER": "no TLS is spoken at this port: --host http://..., or its https port",
    "timed out": "check the port in --host, and any proxy or firewall before the server: nothing answers at this port",
}
_TLS_CHANGE = "--ca-file FILE with its authority; --client-cert FILE if it asks for one; --insecure for one run"


def _tls(host: HostFacts) -> Iterator[CheckResult]:
    if host.tls_s is None:
        change = next((change for part, change in _TLS_CHANGES.items() if part in host.trouble), _TLS_CHANGE)
        yield check("TLS", host.trouble or "TLS failed", change, bad=True)
        return
    found = f"handshake in {seconds(host.tls_s)}"
    if not host.verified:
        found += ", certificate NOT verified (--insecure)"
    yield check("TLS", found, "--ca-file FILE", warn=not host.verified)
    if host.expires_in_s is not None:
        days = host.expires_in_s / 86400
        yield check("certificate", f"ends in {days:.0f} days", "renew it", warn=days < 14, bad=days < 0)


def _chat(host: HostFacts) -> CheckResult:
    took = f" in {seconds(host.chat_s)}" if host.chat_s is not None else ""
    if host.outcome != "0/false":
        found = f"RequestChat: {host.outcome or 'no answer'}{took}{f' ({host.detail})' if host.detail else ''}"
        change = "check --service and --dialect, and that agents' service is open"
        if host.http_status in REFUSED_LOGIN:
            change = (
                "the server wants a login: put a key or token into a header of --dialect (docs/running.md); "
                "a run can also fetch one with a hook (docs/python.md)"
            )
        return check("chat", found, change, bad=True)
    if host.goodbye not in ("0/true", "0/false"):
        found = f"RequestChat 0/false{took}, but Disconnect: {host.goodbye or 'no answer'}"
        change = "check --dialect: a chat that is not disconnected stays open until its timeout"
        return check("chat", found, change, warn=True)
    return check("chat", f"RequestChat 0/false{took}, Disconnect {host.goodbye}")


def examine(
    url: str,
    dialect: Dialect,
    service: str,
    agreed: Iterable[str] = (),
    ca_file: str | None = None,
    client_cert: str | None = None,
    insecure: bool = False,
) -> HostFacts:
    """Examine a host and return what was found. Nothing is sent to a host that the target guard refuses.

    Raises UsageError if the URL is not valid, or if a certificate file cannot be read.
    """
    parts = _split(url)
    name, secure = parts.hostname or "", parts.scheme == "https"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    facts = HostFacts(shown, tls=secure, verified=not insecure)
    begun = time.monotonic()
    facts.addresses = tuple(resolve(name))
    facts.resolve_s = time.monotonic() - begun
    try:
        # The guard judges the same addresses that are connected to.
        require_agreed(shown, agreed, resolve=lambda _: facts.addresses)
    except UsageError as refusal:
        facts.refused = str(refusal)
        return facts
    context = _context(ca_file, client_cert, insecure) if secure and facts.addresses else None
    sock = _connect(facts, parts.port or (443 if secure else 80))
    if sock is None:
        return facts
    try:
        if context is not None:
            begun = time.monotonic()
            try:
                sock = secured = context.wrap_socket(sock, server_hostname=name)
            except OSError as error:
                facts.trouble = f"TLS failed: {getattr(error, 'verify_message', '') or error}"
                return facts
            facts.tls_s = time.monotonic() - begun
            ends: Any = (secured.getpeercert() or {}).get("notAfter")
            facts.expires_in_s = ssl.cert_time_to_seconds(ends) - time.time() if ends else None
        _hold_chat(facts, _ChatConnection(sock, parts), dialect, service)
    finally:
        sock.close()
    return facts


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    shown = "the URL given" if "@" in url else repr(url)
    raise UsageError(f"--host: {shown} is not the URL of a host", "expected http://HOST[:PORT][/PREFIX] or https://...")


def _context(ca_file: str | None, client_cert: str | None, insecure: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if client_cert:
            context.load_cert_chain(client_cert)
    except OSError as error:
        raise UsageError(f"the certificates cannot be read: {error}", "check --ca-file and --client-cert") from None
    return context


def _connect(facts: HostFacts, port: int) -> socket.socket | None:
    for address in facts.addresses:
        begun = time.monotonic()
        try:
            sock = socket.create_connection((address, port), TIMEOUT_S)
        except OSError as error:
            facts.trouble = f"{address} port {port}: {error.strerror or error}"
            continue
        facts.connect_s, facts.trouble = time.monotonic() - begun, ""
        return sock
    return None


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
        begun = time.monotonic()
        deadline = TotalDeadline(TIMEOUT_S)
        deadline.watch(self._sock)
        try:
            with deadline:
                headers = {**self._headers, **dict(request.headers)}
                self._connection.request(request.method, self._prefix + request.path, request.body, headers)
                answer = self._connection.getresponse()
                body = answer.read(MAX_BODY_BYTES + 1)
            cut_short = bool(answer.length) and len(body) <= MAX_BODY_BYTES
            detail = Detail.CUT_SHORT if cut_short else None
        except TimeoutError:
            detail = Detail.WAITING
        except http.client.IncompleteRead:
            detail = Detail.CUT_SHORT
        except (OSError, http.client.HTTPException, ValueError):
            detail = Detail.CLOSED
        if deadline.passed:  # an answer without a length ends where its connection does
            detail = Detail.WAITING
        if detail is not None:
            failure: Failure = "timeout" if detail is Detail.WAITING else "connection"
            return WireResult(begun, time.monotonic(), failure=failure, detail=detail)
        self.date = answer.headers.get("Date", "")
        cookies = [cookie.partition(";")[0] for cookie in answer.headers.get_all("Set-Cookie", [])]
        if cookies:
            self._headers["Cookie"] = "; ".join(cookies)
        return WireResult(begun, time.monotonic(), http_status=answer.status, body=body)


def _hold_chat(facts: HostFacts, connection: _ChatConnection, dialect: Dialect, service: str) -> None:
    encoder = Encoder(dialect, service)
    begun = time.monotonic()
    result = connection.call(encoder.encode("RequestChat", _INTRODUCTION))
    facts.chat_s = result.received_at - begun
    reply = read(dialect.response, result)
    facts.outcome, facts.detail, facts.http_status = reply.outcome.value, reply.detail, result.http_status
    # The server's clock minus ours, by a Date header (RFC 9110 6.6.1), which has whole seconds.
    try:
        facts.clock_gap_s = parsedate_to_datetime(connection.date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        facts.clock_gap_s = None
    if not reply.chat_id:
        return
    keys = {
        "chat_id": reply.chat_id, "user_id": reply.user_id or "", "secure_key": reply.secure_key or "",
        "alias": reply.alias or "", "position": str(reply.next_position or 0),
    }  # fmt: skip
    goodbye = read(dialect.response, connection.call(encoder.encode("Disconnect", keys)))
    facts.goodbye = goodbye.outcome.value
