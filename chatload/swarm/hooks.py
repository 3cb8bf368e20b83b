"""The hooks of a user class: calls them, and sends their requests. Counts the exceptions of user classes.

A mistake in a hook is counted, and makes the run invalid: the load was not the one that was asked for. An exception in
a task or in `on_start` is counted in the same way. The first of a kind is logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import islice
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from gevent.lock import BoundedSemaphore

from chatload.chat.customer import ChatCustomer, FetchAnswer, FetchError, FetchRequest
from chatload.protocol.reply import Event
from chatload.protocol.wire import WireRequest
from chatload.run.books import Books
from chatload.swarm import log
from chatload.transport import OpenTransport

#: Requests of hooks are counted by this many names; the others together.
_MOST_NAMES, _OTHER_NAME = 50, "other requests"
#: Headers that only the transport knows.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
#: Opens a transport to a URL of scheme, host and port.
OpenHost = Callable[[str], OpenTransport]
#: Called with each request that has ended: name, duration (seconds), bytes, and why it failed ("" if it did not).
OnFetch = Callable[[str, float, int, str], None]


class Fetcher:
    """Sends the requests of hooks of one user class in one process, and keeps answers for as long as they are valid.

    Only one greenlet at a time asks for the same answer; others that want it wait for that one.
    """

    def __init__(
        self, host: str, timeout_s: float, open_host: OpenHost, books: Callable[[], Books], on_fetch: OnFetch
    ) -> None:
        """host: base of relative URLs. books: returns the counters of the run that goes on."""
        self._host, self._timeout_s, self._open_host = host, timeout_s, open_host
        self._books, self._on_fetch = books, on_fetch
        self._kept: dict[tuple[str, str], tuple[float, FetchAnswer]] = {}
        self._asking: dict[tuple[str, str], BoundedSemaphore] = {}

    def fetch(self, request: FetchRequest) -> FetchAnswer:
        """Return the answer to a request of a hook. Raises FetchError."""
        if not callable(request.keep_s) and not request.keep_s > 0:
            return self._send(request)
        wanted = request.name, request.key
        turn = self._asking.setdefault(wanted, BoundedSemaphore())
        with turn:
            until, answer = self._kept.get(wanted, (0.0, None))
            if answer is None or time.monotonic() >= until:
                asked_at = time.monotonic()
                answer = self._send(request)
                # From the request on, not from the answer: the server counts from when it made the answer.
                keep_s = request.keep_s(answer) if callable(request.keep_s) else request.keep_s
                self._kept[wanted] = asked_at + keep_s, answer
        if not turn.locked() and request.key:
            self._asking.pop(wanted, None)
            self._drop_expired()
        return answer

    def _drop_expired(self) -> None:
        """Forget answers that are no longer valid: with keys, there may be one for each customer."""
        now = time.monotonic()
        for wanted in list(islice(self._kept, 2)):
            if self._kept[wanted][0] <= now:
                del self._kept[wanted]

    def _send(self, request: FetchRequest) -> FetchAnswer:
        url = request.url if "://" in request.url else f"{self._host.rstrip('/')}/{request.url.lstrip('/')}"
        parts = urlsplit(url)
        headers = dict(request.headers)
        body = b""
        if request.form is not None:
            body = urlencode(request.form).encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        elif request.json is not None:
            body = orjson.dumps(request.json)
            headers.setdefault("Content-Type", "application/json")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        wire = WireRequest(request.method.upper(), path, tuple(headers.items()), body)
        books = self._books()
        name = request.name if request.name in books.fetched or len(books.fetched) < _MOST_NAMES else _OTHER_NAME
        transport = self._open_host(f"{parts.scheme}://{parts.netloc}")()
        books.fetched[name] += 1
        begun = time.monotonic()
        outcome, answered = "connection", False
        try:
            result = transport.call(wire, self._timeout_s)
            answered = result.failure is None
            outcome = result.failure or f"HTTP {result.http_status}"
        finally:
            # Also if the greenlet is killed, so that the books balance.
            took_s = time.monotonic() - begun
            books.fetch_ended(name, outcome, took_s, answered)
            transport.close()
        why = "" if answered and 200 <= result.http_status < 300 else (result.detail or outcome)
        self._on_fetch(name, took_s, len(result.body), why)
        if why:
            raise FetchError(f"{request.name}: {why}")
        return FetchAnswer(result.http_status, result.body)


class UserHooks:
    """The hooks of one user, called safely. It is the engine's `ChatHooks`."""

    def __init__(self, user: Any, defined: tuple[str, ...], fetcher: Fetcher, books: Books) -> None:
        """defined: the hooks that the user class defines."""
        self._user, self._defined, self._fetcher, self._books = user, defined, fetcher, books
        self.has_messages = "next_message" in defined
        self.has_headers = "headers" in defined

    def before_chat(self, customer: ChatCustomer) -> str:
        """Prepare a customer; return why this one gets no chat, "" if it gets one."""
        customer.send = self._fetcher.fetch
        if "before_chat" not in self._defined:
            return ""
        try:
            self._user.before_chat(customer)
        except FetchError as error:
            return f"before_chat: {error.message}"
        except Exception as error:  # noqa: BLE001  # a hook is code of the user
            self._count("before_chat", error)
            return f"before_chat: {type(error).__name__}"
        return ""

    def headers(self, customer: ChatCustomer) -> tuple[tuple[str, str], ...]:
        """Return the headers of the next request."""
        try:
            given = self._user.headers(customer)
            if not isinstance(given, Mapping) or not all(_is_header(name, value) for name, value in given.items()):
                raise TypeError("headers: expected a mapping of header names to texts, without Host and Content-Length")
            return tuple(given.items())
        except FetchError:
            return ()  # counted already; the server will refuse the request if it needs the header
        except Exception as error:  # noqa: BLE001  # a hook is code of the user
            self._count("headers", error)
            return ()

    def next_message(self, customer: ChatCustomer) -> str | None:
        """Return the text of the customer's next message, None for no more."""
        try:
            text: Any = self._user.next_message(customer)
            if text is not None and (not isinstance(text, str) or not text):
                raise TypeError(f"next_message: expected a text or None, not {text!r}")
            return text
        except Exception as error:  # noqa: BLE001  # a hook is code of the user
            self._count("next_message", error)
            return None

    def on_event(self, customer: ChatCustomer, event: Event) -> None:
        """Tell the user of an event in the transcript."""
        if "on_event" not in self._defined:
            return
        try:
            self._user.on_event(customer, event)
        except Exception as error:  # noqa: BLE001  # a hook is code of the user
            self._count("on_event", error)

    def _count(self, hook: str, error: Exception) -> None:
        name = type(self._user).__name__
        if count_code_error(self._books, name, hook, error):
            log.error("chatload: a hook of user class %s failed, and the run is invalid", name, exc_info=error)


def count_code_error(books: Books, user_class: str, function: str, error: Exception) -> bool:
    """Count an exception in the code of a user class; return whether it is the first of its kind."""
    what = f"{user_class}.{function}: {type(error).__name__}"
    books.code_errors[what] += 1
    return books.code_errors[what] == 1


def failed_function(tb: TracebackType | None) -> str:
    """Return the name of the function of a user class that an exception came from: the first one outside Locust."""
    name = ""
    while tb is not None:
        name = tb.tb_frame.f_code.co_name
        if not str(tb.tb_frame.f_globals.get("__name__")).startswith("locust."):
            break
        tb = tb.tb_next
    return name


def _is_header(name: Any, value: Any) -> bool:
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    plain = name.isascii() and name.isprintable() and bool(name) and not set(name) & set(" :\t")
    return plain and name.lower() not in _OURS and value.isprintable()
