"""The server's own record of its sessions: a simulator's ledger, or an export of a real server."""

import csv
import http.client
import io
import json
import math
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import Any, TextIO
from urllib.parse import urlsplit, urlunsplit
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from chatload.errors import FileError, UsageError
from chatload.protocol.secret import basic_authorization, without_login
from chatload.sockets import FinalAnswer, TotalDeadline

#: Why a server ends a session, in the ledger's words; one still alive has no reason.
END_REASONS = ("disconnected", "agent", "idle", "expired", "unrecoverable", "early", "restarted")
#: Columns of a simulator's ledger. A CSV file may have other names for them.
FIELDS = ("chat_id", "started_at", "ended_at", "end_reason", "late_contact_at", "max_gap_s", "timeout_s")

#: Timeout of one step of reading a URL, and of all steps together (seconds).
_TIMEOUT_S, _TOTAL_S = 30.0, 600.0
#: Maximum length of a line and of a ledger (characters): about 16 million sessions.
_MOST_LINE, _MOST = 2**20, 4 * 2**30
#: Stands for a cell that a line does not have.
_ABSENT = object()


@dataclass(slots=True, frozen=True)
class LedgerRow:
    """One session as the server saw it. Instants: Unix seconds; max_gap_s: its widest gap, seconds.

    end_reason: one of END_REASONS, None of a session still alive. late_contact_at: when the server first heard of a
    session it had already expired, None if it never did. late_contact_known: whether the ledger has that column.
    timeout_s: the timeout that ended an expired session, seconds.
    """

    chat_id: str
    end_reason: str | None
    started_at: float | None = None
    ended_at: float | None = None
    late_contact_at: float | None = None
    max_gap_s: float | None = None
    timeout_s: float | None = None
    late_contact_known: bool = True


@dataclass(slots=True, frozen=True)
class Columns:
    """The words of a ledger. names: our field -> its column. reasons: its end reason -> ours."""

    names: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for ours in self.names:
            if ours not in FIELDS:
                raise UsageError(f"a ledger has no column {ours!r}", f"expected one of {', '.join(FIELDS)}")
        known = (*END_REASONS, "alive")
        for ours in self.reasons.values():
            if ours not in known:
                raise UsageError(f"no end reason {ours!r}", f"expected one of {', '.join(known)}")


def read(source: str, columns: Columns = Columns()) -> Iterator[LedgerRow]:
    """Yield the rows of a ledger: an http(s) URL or a file of NDJSON, or a .csv file with a header line.

    A URL without a path means a simulator, and its /simulator/ledger is read; a user and password in it are sent to
    that host only, and in no error. Raises FileError (one line, with the line number) where the ledger cannot be read
    or says something unexpected.
    """
    shown = source
    if source.startswith(("http://", "https://")):
        shown = without_login(source)
        lines = _json_lines(shown, _from_url(source, shown))
    elif source.lower().endswith(".csv"):
        lines = _csv_lines(source, columns)
    else:
        lines = _json_lines(source, _from_file(source))
    return _rows(shown, lines, columns)


def _from_file(source: str) -> Iterator[str]:
    try:
        with open(source, encoding="utf-8-sig", newline="") as stream:
            yield from _lines(source, stream)
    except UnicodeDecodeError:
        raise FileError(source, "", "not UTF-8 text") from None
    except OSError as error:
        raise FileError(source, "", f"cannot be read ({error.strerror or error})") from None


def _lines(source: str, stream: TextIO) -> Iterator[str]:
    """Yield the lines of a text. Raises FileError if a line or the text is too long."""
    number = size = 0
    while line := stream.readline(_MOST_LINE + 1):
        number, size = number + 1, size + len(line)
        if len(line) > _MOST_LINE:
            raise FileError(source, f"line {number}", f"longer than {_MOST_LINE} characters: no session's")
        if size > _MOST:
            raise FileError(source, "", f"larger than {_MOST / 2**30:.3g} GiB")
        yield line


def _from_url(source: str, shown: str) -> Iterator[str]:
    deadline = TotalDeadline(_TOTAL_S)
    try:
        with deadline, _opened(source, shown, deadline) as answer:
            for line in _lines(shown, io.TextIOWrapper(answer, encoding="utf-8-sig", newline="")):
                if not line.endswith("\n"):  # the last, or a part of one
                    _require_whole(answer, deadline)
                yield line
            _require_whole(answer, deadline)
    except UnicodeDecodeError:
        raise FileError(shown, "", "not UTF-8 text") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FileError(shown, "", f"cannot be read ({_why(error, deadline)})") from None


def _require_whole(answer: http.client.HTTPResponse, deadline: TotalDeadline) -> None:
    """Raise if the answer ended before it was complete. For a chunk that was cut short, reading has raised already."""
    if deadline.passed:  # an answer without a length ends where its connection does
        raise TimeoutError
    if answer.length:  # what is still to come of its Content-Length
        raise http.client.IncompleteRead(b"", answer.length)


def _why(error: Exception, deadline: TotalDeadline) -> str:
    if deadline.passed:
        return f"not whole after {_TOTAL_S:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut short"
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__


def _opened(source: str, shown: str, deadline: TotalDeadline) -> http.client.HTTPResponse:
    parts = urlsplit(shown)
    if parts.path in ("", "/"):
        parts = parts._replace(path="/simulator/ledger")
    handlers: list[BaseHandler] = [_Watching(deadline)]
    if _is_loopback(parts.hostname or ""):
        handlers.append(ProxyHandler({}))
    request = Request(urlunsplit(parts))
    if authorization := basic_authorization(source):
        # Not with a redirect, which may lead to another's host.
        request.add_unredirected_header("Authorization", authorization)
    answer: http.client.HTTPResponse = build_opener(*handlers).open(request, timeout=_TIMEOUT_S)
    return answer


class _Watching(HTTPHandler, HTTPSHandler):
    """urllib's handler of http and https URLs, with connections that a deadline watches."""

    def __init__(self, deadline: TotalDeadline) -> None:
        super().__init__(context=ssl.create_default_context())
        self._deadline = deadline

    def do_open(self, http_class: Any, req: Request, **options: Any) -> http.client.HTTPResponse:
        deadline = self._deadline

        class Watched(http_class):  # type: ignore[misc]
            response_class = FinalAnswer

            def connect(self) -> None:
                super().connect()
                deadline.watch(self.sock)

        return super().do_open(Watched, req, **options)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _json_lines(source: str, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise FileError(source, f"line {number}", "expected a JSON object (NDJSON, one session a line)")
        yield number, row


def _csv_lines(source: str, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(_from_file(source))
    try:
        header = reader.fieldnames or []
        required = [columns.names.get(ours, ours) for ours in ("chat_id", "end_reason")]
        for name in (*required, *columns.names.values()):
            if name not in header:
                said = f"no column {name!r}; it has {', '.join(header) or 'no header line'}"
                raise FileError(source, "", f"{said}; say which it is, e.g. --column chat_id=ID")
        for row in reader:
            if None in row or None in row.values():
                expected = f"expected {len(header)} cells, as in the header"
                raise FileError(source, f"line {reader.line_num}", expected)
            yield reader.line_num, row
    except csv.Error as error:
        raise FileError(source, f"line {reader.line_num}", f"not CSV ({error})") from None


def _rows(source: str, lines: Iterable[tuple[int, Mapping[str, Any]]], columns: Columns) -> Iterator[LedgerRow]:
    names = {ours: columns.names.get(ours, ours) for ours in FIELDS}
    parsers: dict[str, Callable[[Any], Any]] = dict.fromkeys(FIELDS, _seconds)
    parsers |= {"chat_id": _chat_id, "end_reason": partial(_reason, reasons=columns.reasons)}
    for number, row in lines:
        values = {}
        for ours, parse in parsers.items():
            try:
                values[ours] = parse(row.get(names[ours], _ABSENT))
            except ValueError as error:
                raise FileError(source, f"line {number}: {names[ours]}", str(error)) from None
        yield LedgerRow(**values, late_contact_known=names["late_contact_at"] in row)


def _chat_id(value: Any) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise ValueError("expected the chat's id")
    return str(value)


def _reason(value: Any, reasons: Mapping[str, str]) -> str | None:
    if value is _ABSENT:
        raise ValueError("missing; expected the reason, or null of a session still alive")
    text = "" if value is None else str(value).strip()
    ours = reasons.get(text, text)
    if ours in ("", "alive"):
        return None
    if ours not in END_REASONS:
        known = ", ".join(END_REASONS)
        raise ValueError(f"{text!r} is none of {known}; say which it means with --reason {text!r}=…")
    return ours


def _seconds(value: Any) -> float | None:
    """Return seconds from a number, its text, or an ISO 8601 time (UTC if it has no zone)."""
    if value is _ABSENT or value is None or value == "":
        return None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            seconds = _instant(value)
            if math.isfinite(seconds):
                return seconds
    raise ValueError(f"expected seconds or an ISO 8601 time, not {value!r}")


def _instant(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
