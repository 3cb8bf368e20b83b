"""Composes and parses multipart/form-data (RFC 7578). The package `multipart` does the parsing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    content_disposition_quote,
    parse_options_header,
)

_MAX_PARTS = 1000


class Part(NamedTuple):
    """One part. file_name: None if it is not a file."""

    name: str
    value: bytes
    file_name: str | None = None
    media_type: str = ""


def compose(parts: Iterable[Part], boundary: str) -> bytes:
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


def parse(content_type: str, body: bytes) -> Iterator[Part]:
    """Yield the parts of a body; raises ValueError if it is incomplete or not multipart."""
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
