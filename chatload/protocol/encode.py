"""Encodes requests as bytes. Each operation of a dialect is prepared once, then filled in for each request."""

import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import orjson
from multipart import content_disposition_quote

from chatload.errors import UsageError
from chatload.protocol.dialect import KEY, Dialect, OperationWire
from chatload.protocol.names import Name, put_in
from chatload.protocol.operations import USER_DATA, USER_DATA_PREFIX, repeatable
from chatload.protocol.secret import Secret, revealed
from chatload.protocol.wire import WireRequest

CONTENT_TYPES: Mapping[str, str] = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
    "multipart": "multipart/form-data",
}
Headers = tuple[tuple[str, str], ...]


def form_name(name: Name) -> str:
    """Return a name as it is in a form: a path into nested objects is written with brackets, as in `userData[key]`."""
    return name[0] + "".join(f"[{part}]" for part in name[1:])


class Part(NamedTuple):
    """One part of multipart/form-data (RFC 7578). file_name: None if it is not a file."""

    name: str
    value: bytes
    file_name: str | None = None
    media_type: str = ""


def compose_multipart(parts: Iterable[Part], boundary: str) -> bytes:
    """Return the body; no part may contain the boundary."""
    lines = []
    for part in parts:
        disposition = f"form-data; name={content_disposition_quote(part.name)}"
        if part.file_name is not None:
            disposition += f"; filename={content_disposition_quote(part.file_name)}"
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
        if part.media_type:
            head += f"Content-Type: {part.media_type}\r\n"
        lines.append(head.encode() + b"\r\n" + part.value + b"\r\n")
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


class Encoder:
    """Turns (operation, fields) into a WireRequest for one dialect and one service."""

    def __init__(self, dialect: Dialect, service: str) -> None:
        self._dialect_name = dialect.name
        self._writers = {
            name: _WRITERS[wire.encoding](dialect, wire, service) for name, wire in dialect.operations.items()
        }

    def encode(self, operation: str, fields: Mapping[str, str], content: bytes | None = None) -> WireRequest:
        """Return the request for an operation; raises UsageError if the dialect does not have it.

        Fields for which the dialect has no name are left out. content: the bytes of an upload.
        """
        writer = self._writers.get(operation)
        if writer is None:
            raise UsageError(f"dialect {self._dialect_name!r} has no operation {operation}")
        request = writer.write(fields, content)
        request.repeatable = repeatable(operation, fields)
        return request


class _Writer:
    """Writes the requests of one operation."""

    def __init__(self, dialect: Dialect, wire: OperationWire, service: str) -> None:
        self.method = wire.method
        self.path = dialect.request.prefix.replace("{service}", quote(service, safe="")) + wire.path or "/"
        self.in_path = [name for name in ("chat_id", "file_id") if "{" + name + "}" in self.path]
        self.headers = _headers(dialect, CONTENT_TYPES[wire.encoding])
        self.fixed: dict[str, Any] = {name: _filled(value, service) for name, value in wire.fixed.items()}
        if dialect.request.operation is not None:
            put_in(self.fixed, dialect.request.operation, wire.name)
        self.parameters = [(ours, name) for ours, name in wire.parameters.items() if ours != USER_DATA]
        self.user_data = wire.parameters.get(USER_DATA)
        self.numbers = frozenset(dialect.request.numbers)
        self.content = wire.content

    def write(self, fields: Mapping[str, str], content: bytes | None) -> WireRequest:
        path = self.path
        for name in self.in_path:
            path = path.replace("{" + name + "}", quote(fields.get(name, ""), safe=""))
        return WireRequest(self.method, path, self.headers, self.body(fields, content))

    def body(self, fields: Mapping[str, str], content: bytes | None) -> bytes:
        raise NotImplementedError

    def pairs(self, fields: Mapping[str, str]) -> list[tuple[Name, str, str]]:
        """Return name on the wire, our name and value of each field for which the dialect has a name."""
        found = [(name, ours, fields[ours]) for ours, name in self.parameters if fields.get(ours) is not None]
        if self.user_data is not None:
            *outer, last = self.user_data
            for ours, value in fields.items():
                if ours.startswith(USER_DATA_PREFIX):
                    key = ours[len(USER_DATA_PREFIX) :]
                    found.append(((*outer, last.replace(KEY, key)), USER_DATA, value))
        return found


class _FormWriter(_Writer):
    """Writes forms. Hot path: everything that can be quoted beforehand is."""

    def __init__(self, dialect: Dialect, wire: OperationWire, service: str) -> None:
        super().__init__(dialect, wire, service)
        self.before = [f"{quote_plus(name)}={quote_plus(_form_text(value))}" for name, value in self.fixed.items()]
        self.quoted = [(ours, quote_plus(form_name(name)) + "=") for ours, name in self.parameters]

    def body(self, fields: Mapping[str, str], content: bytes | None) -> bytes:
        parts = self.before.copy()
        get = fields.get
        for ours, quoted in self.quoted:
            value = get(ours)
            if value is not None:
                parts.append(quoted + (value if value.isalnum() and value.isascii() else quote_plus(value)))
        if self.user_data is not None:
            for name, ours, value in self.pairs(fields):
                if ours == USER_DATA:
                    parts.append(f"{quote_plus(form_name(name))}={quote_plus(value)}")
        return "&".join(parts).encode("ascii")


class _JsonWriter(_Writer):
    def body(self, fields: Mapping[str, str], content: bytes | None) -> bytes:
        values = _copied(self.fixed)
        for name, ours, value in self.pairs(fields):
            put_in(values, name, int(value) if ours in self.numbers and _is_number(value) else value)
        if self.content is not None and content is not None:
            put_in(values, self.content, b64encode(content).decode())
        return orjson.dumps(values)


class _MultipartWriter(_Writer):
    def __init__(self, dialect: Dialect, wire: OperationWire, service: str) -> None:
        super().__init__(dialect, wire, service)
        # One for all requests, so that their headers are the same. It is random: no uploaded file contains it.
        self.boundary = f"chatload{secrets.token_hex(16)}"
        self.headers = _headers(dialect, f"{CONTENT_TYPES['multipart']}; boundary={self.boundary}", own=True)

    def body(self, fields: Mapping[str, str], content: bytes | None) -> bytes:
        parts = [Part(name, _form_text(value).encode()) for name, value in self.fixed.items()]
        parts += [Part(form_name(name), value.encode()) for name, _, value in self.pairs(fields)]
        if self.content is not None and content is not None:
            file_type = "".join(c for c in fields.get("file_type", "") if c.isprintable())
            parts.append(Part(form_name(self.content), content, fields.get("file_name", "file"), file_type))
        return compose_multipart(parts, self.boundary)


_WRITERS: Mapping[str, type[_Writer]] = {"form": _FormWriter, "json": _JsonWriter, "multipart": _MultipartWriter}


def _headers(dialect: Dialect, content_type: str, own: bool = False) -> Headers:
    """Return the headers. own: our content type replaces that of the dialect's headers."""
    given = {name: revealed(value) for name, value in dialect.request.headers.items()}
    theirs = [name for name in given if name.lower() == "content-type"]
    if own or not theirs:
        given = {"Content-Type": content_type, **{name: value for name, value in given.items() if name not in theirs}}
    return tuple(given.items())


def _filled(value: Any, service: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, service) for name, inner in value.items()}
    if isinstance(value, Secret):
        return value.reveal()
    return value.replace("{service}", service) if isinstance(value, str) else value


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, dict) else value for name, value in values.items()}


def _is_number(value: str) -> bool:
    """Return whether the text is a whole number that JSON keeps exactly."""
    return len(value) < 16 and value.isascii() and value.isdigit() and value == str(int(value))


def _form_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
