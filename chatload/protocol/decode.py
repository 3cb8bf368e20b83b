"""Decodes requests for a server that uses a dialect: the inverse of `encode`."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

import orjson
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from chatload.protocol.dialect import IN_PATH, KEY, Dialect, OperationWire
from chatload.protocol.encode import CONTENT_TYPES, Part, form_name
from chatload.protocol.names import Name, get_in
from chatload.protocol.operations import UPLOAD, USER_DATA, USER_DATA_PREFIX

_MAX_PARTS = 1000


class RefusedError(Exception):
    """The request does not fit the dialect. http_status, text: the answer to send."""

    def __init__(self, http_status: int, text: str) -> None:
        super().__init__(text)
        self.http_status, self.text = http_status, text


class Request(NamedTuple):
    """One decoded request.

    fields: under our names, without chat_id. content: the bytes of an upload. service: the service that it names; None
    if requests of the dialect name none.
    """

    operation: str
    chat_id: str | None
    fields: dict[str, str]
    content: bytes | None
    service: str | None


_Patterns = list[tuple[Callable[[str], re.Match[str] | None], dict[str, "OperationGroup"]]]


class Decoder:
    """Decodes the requests of one dialect: `find` looks a path up, `OperationGroup.read` reads the body."""

    def __init__(self, dialect: Dialect) -> None:
        grouped: dict[str, dict[str, dict[str, OperationWire]]] = {}
        for operation, wire in dialect.operations.items():
            path = (dialect.request.prefix + wire.path).rstrip("/")
            grouped.setdefault(path, {}).setdefault(wire.method, {})[operation] = wire
        # Indexed by the last part of the path, so that only few patterns must be tried.
        by_end: dict[str, _Patterns] = {}
        for path, methods in grouped.items():
            groups = {method: OperationGroup(dialect, operations) for method, operations in methods.items()}
            end = path[path.rfind("/") + 1 :]
            key = "" if "{" in end else end
            by_end.setdefault(key, []).append((_pattern(path, "[^/]+", *IN_PATH), groups))
        self._any_end = by_end.pop("", [])
        self._by_end = {end: [*patterns, *self._any_end] for end, patterns in by_end.items()}

    def find(self, path: str) -> tuple[Mapping[str, OperationGroup], dict[str, str]] | None:
        """Return HTTP method -> operations at a path (percent-encoded, as received), and the fields in it; or None."""
        path = path.removesuffix("/")
        for fullmatch, methods in self._by_end.get(path[path.rfind("/") + 1 :], self._any_end):
            match = fullmatch(path)
            if match is not None:
                found = match.groupdict()
                if "%" in path:
                    found = {name: unquote(value) for name, value in found.items()}
                return methods, found
        return None

    def decode(self, method: str, path: str, content_type: str, body: bytes) -> Request:
        """Return a request; raises RefusedError."""
        place = self.find(path)
        if place is None:
            raise RefusedError(404, "no such operation")
        methods, in_path = place
        if method not in methods:
            raise RefusedError(405, "method not allowed")
        return methods[method].read(in_path, content_type, body)


class OperationGroup:
    """The operations of one path and method: one, or several of which the body names one."""

    def __init__(self, dialect: Dialect, operations: Mapping[str, OperationWire]) -> None:
        self.takes_files = UPLOAD in operations
        self._readers = {wire.name: _Reader(operation, wire) for operation, wire in operations.items()}
        self._only = None if dialect.request.operation is not None else next(iter(self._readers.values()))
        self._name = dialect.request.operation
        encodings = {wire.encoding for wire in operations.values()}
        # A form may also be sent as multipart, as browsers do.
        self._types: dict[str, Callable[[str, bytes], _Body]] = {}
        if "json" in encodings:
            self._types[CONTENT_TYPES["json"]] = _json_body
        if encodings & {"form", "multipart"}:
            self._types[CONTENT_TYPES["form"]] = _form_body
        if "json" not in encodings or "multipart" in encodings:
            self._types[CONTENT_TYPES["multipart"]] = _multipart_body
        self.content_types = tuple(self._types)

    def read(self, in_path: dict[str, str], content_type: str, body: bytes) -> Request:
        """Return the request in a body; raises RefusedError."""
        types = self._types
        take = types.get(content_type) or types.get(content_type.partition(";")[0].strip().lower())
        if take is None:
            if body or content_type or self.content_types[0] == CONTENT_TYPES["json"]:
                raise RefusedError(415, f"content type must be {' or '.join(self.content_types)}")
            take = _form_body
        parsed = take(content_type, body)
        reader = self._only
        if reader is None:
            name = parsed.value(self._name or ())
            reader = self._readers.get(name) if name is not None else None
            if reader is None:
                raise RefusedError(404, "no such operation" if name else "the body names no operation")
        return reader.read(in_path, parsed)


class _Reader:
    def __init__(self, operation: str, wire: OperationWire) -> None:
        self.operation = operation
        self.parameters = [(ours, name) for ours, name in wire.parameters.items() if ours != USER_DATA]
        self.ours = {form_name(name): ours for ours, name in self.parameters}
        self.user_data = wire.parameters.get(USER_DATA)
        # The key of an entry of the user data, by its name in a form or in a JSON object.
        name = self.user_data or (KEY,)
        self.form_key, self.json_key = _pattern(form_name(name), ".*", "key"), _pattern(name[-1], ".*", "key")
        self.content = wire.content
        named = ((name, text) for name, text in wire.fixed.items() if type(text) is str and "{service}" in text)
        self.service = next(((name, _pattern(text, ".*", "service")) for name, text in named), None)

    def read(self, in_path: dict[str, str], body: _Body) -> Request:
        fields = body.fields(self)
        content = body.content(self, fields) if self.content is not None else None
        service = in_path.get("service")
        chat_id = in_path.get("chat_id") or fields.pop("chat_id", None)
        if "file_id" in in_path:
            fields["file_id"] = in_path["file_id"]
        if service is None and self.service is not None:
            name, fullmatch = self.service
            found = fullmatch(body.value((name,)) or "")
            service = found["service"] if found else ""
        return Request(self.operation, chat_id, fields, content, service)


class _FormBody(NamedTuple):
    """A parsed form: name, "=" and value of each field, and its files."""

    pairs: list[tuple[str, str, str]]
    files: Iterable[Part] = ()

    def value(self, name: Name) -> str | None:
        """Return the text at a name; None if there is none."""
        wanted = form_name(name)
        return next((value for theirs, _, value in reversed(self.pairs) if theirs == wanted), None)

    def fields(self, reader: _Reader) -> dict[str, str]:
        """Return its fields under our names."""
        names, fields = reader.ours, {}
        for theirs, _, value in self.pairs:
            ours = names.get(theirs)
            if ours is not None:
                fields[ours] = value
            elif reader.user_data is not None:
                key = reader.form_key(theirs)
                if key:
                    fields[USER_DATA_PREFIX + key["key"]] = value
        return fields

    def content(self, reader: _Reader, fields: dict[str, str]) -> bytes | None:
        """Return the bytes of an upload; the name and type of the file are added to `fields`."""
        wanted = form_name(reader.content or ())
        for part in self.files:
            if part.name == wanted and part.file_name is not None:
                fields["file_name"] = part.file_name
                if part.media_type:
                    fields["file_type"] = part.media_type
                return part.value
        return None


class _JsonBody(NamedTuple):
    """A parsed JSON object; its methods are those of _FormBody."""

    data: dict[str, Any]

    def value(self, name: Name) -> str | None:
        return _as_text(get_in(self.data, name), name)

    def fields(self, reader: _Reader) -> dict[str, str]:
        fields = {}
        for ours, name in reader.parameters:
            value = _as_text(get_in(self.data, name), name)
            if value is not None:
                fields[ours] = value
        if reader.user_data is not None:
            *outer, _ = reader.user_data
            entries = get_in(self.data, tuple(outer))
            if entries is not None and type(entries) is not dict:
                raise RefusedError(400, f"{'.'.join(outer)} must be an object")
            for theirs, value in (entries or {}).items():
                key, text = reader.json_key(theirs), _as_text(value, (*outer, theirs))
                if key and text is not None:
                    fields[USER_DATA_PREFIX + key["key"]] = text
        return fields

    def content(self, reader: _Reader, fields: dict[str, str]) -> bytes | None:
        text = self.value(reader.content or ())
        if text is None:
            return None
        try:
            return b64decode(text, validate=True)
        except ValueError:
            raise RefusedError(400, "the file must be base64") from None


_Body = _FormBody | _JsonBody


def _form_body(_: str, body: bytes) -> _Body:
    text = body.decode("utf-8", "replace")
    pairs = [pair.partition("=") for pair in text.split("&")]
    if "%" in text or "+" in text:
        pairs = [(unquote_plus(name), between, unquote_plus(value)) for name, between, value in pairs]
    return _FormBody(pairs)


def _multipart_body(content_type: str, body: bytes) -> _Body:
    try:
        parts = list(parse_multipart(content_type, body))
    except ValueError as error:
        raise RefusedError(400, f"the body is not whole multipart/form-data: {error}") from None
    texts = [(part.name, "=", part.value.decode("utf-8", "replace")) for part in parts if part.file_name is None]
    return _FormBody(texts, parts)


def parse_multipart(content_type: str, body: bytes) -> Iterator[Part]:
    """Yield the parts of a body of multipart/form-data; raises ValueError if it is incomplete or not multipart."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise MultipartError("no boundary")
    with PushMultipartParser(boundary, len(body), max_segment_count=_MAX_PARTS) as parser:
        segment: MultipartSegment | None = None
        chunks: list[bytes] = []
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, chunks = event, []
            elif event is not None:
                chunks.append(bytes(event))
            elif segment is not None:
                media_type = segment.header("Content-Type", "")
                yield Part(segment.name or "", b"".join(chunks), segment.filename, media_type)


def _json_body(_: str, body: bytes) -> _Body:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedError(400, "the body is not JSON") from None
    if type(data) is not dict:
        raise RefusedError(400, "the body is not a JSON object")
    return _JsonBody(data)


def _as_text(value: Any, name: Name) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise RefusedError(400, f"{'.'.join(name)} must be text or a number")


def _pattern(template: str, inner: str, *names: str) -> Callable[[str], re.Match[str] | None]:
    """Return the matcher of a template in which each {name} stands for a text that the pattern `inner` describes."""
    escaped = re.escape(template)
    for name in names:
        escaped = escaped.replace(re.escape("{" + name + "}"), f"(?P<{name}>{inner})", 1)
    return re.compile(escaped, re.DOTALL).fullmatch
