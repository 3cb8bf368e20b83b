"""`chatload script`: makes a customer script from browser recordings (HAR 1.2) of real chats.

Only counts, lengths and times of a recording are kept. No text, name, key or address of it is in the result.
"""

import codecs
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import exp, log
from operator import itemgetter
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any
from urllib.parse import urlencode, urlsplit

import click
import orjson

from chatload.chat.script import EXTRA_FIELDS
from chatload.errors import FileError, UsageError
from chatload.progress import CommandProgress
from chatload.protocol.decode import Decoder, RefusedError, Request
from chatload.protocol.dialect import Dialect, load_dialect
from chatload.protocol.operations import UPLOAD
from chatload.protocol.reply import Reply, parse_body
from chatload.run.writer import replacing
from chatload.vocabulary import Outcome

#: Larger recordings are refused (bytes): a recording is read into memory.
MOST_BYTES = 256 * 2**20
_SHORTEST_S = 0.01
_FILLER: Mapping[str, str] = {
    "nickname": "chatload", "url": "https://example.com/", "message": "notice",
    "file_name": "chatload.txt", "file_type": "text/plain",
}  # fmt: skip


@dataclass
class RecordedChat:
    """One chat of a recording: instants in seconds, lengths in bytes.

    messages: the length of each, None if the recording does not hold the body of its request. uploads: the sizes of
    those whose body it holds.
    """

    opened: float
    last: float = 0.0
    messages: list[int | None] = field(default_factory=list)
    thinking: list[float] = field(default_factory=list)
    typing: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    uploads: list[int] = field(default_factory=list)
    operations: Counter[str] = field(default_factory=Counter)
    heard_at: float | None = None
    typing_since: float | None = None

    def take(self, request: Request, reply: Reply, sent: float, received: float) -> None:
        """Add one request of this chat and its answer."""
        operation = request.operation
        self.operations[operation] += 1
        self.last = max(self.last, received)
        if operation == "GetMessages":
            self.polls.append(sent)
        elif operation == "StartTyping":
            self._speaks(sent)
            self.typing_since = sent if self.typing_since is None else self.typing_since
        elif operation == "SendMessage":
            self._speaks(sent)
            if self.typing_since is not None:
                self.typing.append(max(_SHORTEST_S, sent - self.typing_since))
            self.typing_since = None
            text = request.fields.get("message")
            self.messages.append(None if text is None else len(text.encode()))
        elif operation == UPLOAD and request.content is not None:
            self.uploads.append(len(request.content))
        if any(event.who == "Agent" and event.kind in ("Message", "ParticipantJoined") for event in reply.events):
            self.heard_at = received

    def _speaks(self, at: float) -> None:
        """Note the thinking time: from the agent's last message to the first act of the customer."""
        if self.heard_at is not None:
            self.thinking.append(max(_SHORTEST_S, at - self.heard_at))
            self.heard_at = None


def read_chats(path: str | Path, dialect: Dialect) -> list[RecordedChat]:
    """Return the chats in a recording. Raises FileError if it is not a recording, or has no chat of this dialect."""
    decoder = Decoder(dialect)
    chats: dict[str, RecordedChat] = {}
    any_body = False
    for sent, received, method, url, content_type, body, answer in sorted(_entries(path), key=itemgetter(0)):
        any_body = any_body or bool(body)
        request = _decode(decoder, method, url, content_type if body else "", body)
        if request is None:
            continue
        reply, chat_id = parse_body(dialect.response, answer), request.chat_id
        if request.operation == "RequestChat":
            chat_id = reply.chat_id if reply.outcome is Outcome.FINE else ""
            if chat_id:
                chats[chat_id] = RecordedChat(received)
        if chat_id in chats:
            chats[chat_id].take(request, reply, sent, received)
    if not chats:
        why = "is a RequestChat with its answer?" if any_body else "none of its requests has a body"
        raise FileError(path, "", f"no chat of the dialect {dialect.name} is in it: {why}")
    return list(chats.values())


def write_script(chats: list[RecordedChat]) -> str:
    """Return a script (TOML) of what these chats did. Raises UsageError if there are none."""
    if not chats:
        raise UsageError("no chat was recorded", "name a recording of one")
    typed = [seconds for chat in chats for seconds in chat.typing]
    lengths = [length for chat in chats for length in chat.messages if length is not None]
    gaps = [b - a for chat in chats for a, b in zip(chat.polls, chat.polls[1:], strict=False)]
    polled = [f"# They polled every {median(gaps):.3g} s: --refresh-interval {median(gaps):.3g}"] if gaps else []
    lines = [
        f"# From {len(chats)} recorded chat{'s' if len(chats) > 1 else ''}. Their texts, names and keys are not in it.",
        *(f"# {line}" for line in missing(chats)),
        *polled,
        f"chat_length = {_spread([max(_SHORTEST_S, chat.last - chat.opened) for chat in chats])}",
        f"messages = {_range([len(chat.messages) for chat in chats])}",
        f"think = {_spread([s for chat in chats for s in chat.thinking] or [3.0])}",
        f"typing = {_spread(typed or [2.0])}",
        *([f"message_bytes = {_range(lengths)}"] if lengths else []),
        f"shows_typing = {'true' if typed else 'false'}",
    ]
    return "\n".join([*lines, *_extras(chats)]) + "\n"


def missing(chats: list[RecordedChat]) -> Iterator[str]:
    """Yield a sentence for each fact that the recordings lack, and what the script has in its place."""
    lengths = [length for chat in chats for length in chat.messages]
    uploads = sum(chat.operations[UPLOAD] for chat in chats)
    for what, key, known, total in (
        ("messages", "message_bytes", sum(length is not None for length in lengths), len(lengths)),
        ("uploads", "size", sum(len(chat.uploads) for chat in chats), uploads),
    ):
        if known < total:
            stands = "that of the others" if known else "the default"
            yield f"The bodies of {total - known} of {total} {what} are not in the recording: {key} is {stands}."


def _extras(chats: list[RecordedChat]) -> Iterator[str]:
    for operation in EXTRA_FIELDS:
        users = sum(chat.operations[operation] > 0 for chat in chats)
        if not users:
            continue
        yield from ("", "[[extras]]", f'operation = "{operation}"', f"chance = {users / len(chats):.3g}")
        yield from (f'{name} = "{_FILLER[name]}"' for name in EXTRA_FIELDS[operation] if name in _FILLER)
        sizes = [size for chat in chats for size in chat.uploads]
        if operation == UPLOAD and sizes:
            yield f"size = {_range(sizes)}"


def _spread(seconds: list[float]) -> str:
    """Return durations as a lognormal distribution with their median and spread; equal ones as one number."""
    logs = [log(max(s, _SHORTEST_S)) for s in seconds]
    if len(logs) == 1 or pstdev(logs) < 1e-3:
        return f"{exp(fmean(logs)):.3g}"
    return f'{{ shape = "lognormal", median = {exp(fmean(logs)):.3g}, sigma = {pstdev(logs):.3g} }}'


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f'{{ shape = "uniform", low = {low}, high = {high} }}'


# -- the recording -------------------------------------------------------------------------------

_Entry = tuple[float, float, str, str, str, bytes, bytes]


def _entries(path: str | Path) -> Iterable[_Entry]:
    path = Path(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise FileError(path, "", f"larger than {MOST_BYTES // 2**20} MiB; record fewer chats at a time")
        data = orjson.loads(text.removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise FileError(path, "", f"cannot be read ({error.strerror})") from None
    except (orjson.JSONDecodeError, RecursionError):
        raise FileError(path, "", "is not a HAR recording: not JSON") from None
    entries = _get(data, "log", "entries")
    if not isinstance(entries, list):
        raise FileError(path, "log.entries", "expected a list, as HAR 1.2 has it")
    return [entry for item in entries if (entry := _entry(item)) is not None]


def _entry(item: Any) -> _Entry | None:
    """Return the needed parts of one entry; None if it is not a complete HTTP exchange."""
    method, url, took = _text(item, "request", "method"), _text(item, "request", "url"), _get(item, "time")
    if not method or not url:
        return None
    try:
        sent = datetime.fromisoformat(_text(item, "startedDateTime")).timestamp()
    except (ValueError, OverflowError):
        return None
    duration = took / 1000 if isinstance(took, int | float) and 0 <= took < 1e9 else 0.0
    mime, body = _body(_get(item, "request", "postData"))
    return sent, sent + duration, method, url, mime, body, _answer(_get(item, "response", "content"))


def _body(data: Any) -> tuple[str, bytes]:
    mime, text, pairs = _text(data, "mimeType"), _text(data, "text"), _get(data, "params")
    if not text and isinstance(pairs, list):
        said = [(_get(pair, "name"), _get(pair, "value")) for pair in pairs]
        return mime, urlencode([(n, v) for n, v in said if isinstance(n, str) and isinstance(v, str)]).encode()
    return mime, text.encode(errors="replace")


def _answer(content: Any) -> bytes:
    text = _text(content, "text")
    if _get(content, "encoding") != "base64":
        return text.encode(errors="replace")
    try:
        return b64decode(text)
    except (Base64Error, ValueError):
        return b""


def _decode(decoder: Decoder, method: str, url: str, content_type: str, body: bytes) -> Request | None:
    """Return the request, with any path prefix of a gateway; None if it is not one of the dialect."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    starts = [match.start() for match in re.finditer("/", path)][:8] or [0]
    for start in starts:
        try:
            return decoder.decode(method, path[start:] or "/", content_type, body)
        except RefusedError:
            continue
    return None


def _get(data: Any, *names: str) -> Any:
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _text(data: Any, *names: str) -> str:
    value = _get(data, *names)
    return value if isinstance(value, str) else ""


# -- the command ---------------------------------------------------------------------------------


@click.group()
def script() -> None:
    """Make a customer script for --script."""


@script.command("from-har")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.har...")
@click.option("--dialect", default="gms-v2", show_default=True, metavar="NAME_OR_FILE", help="Dialect of the chats.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
def from_har(recordings: tuple[Path, ...], dialect: str, output: Path | None) -> None:
    """Make a script from browser recordings of real chats.

    Record chats with the browser's developer tools (Network, "Save all as HAR with content"). The script holds the
    number and lengths of messages, how fast customers think and type, and which operations they use. It holds no
    texts, names, keys or addresses.

    \b
    Example: chatload script from-har monday.har --output customers.toml
    """
    spoken = load_dialect(dialect, None)
    chats = []
    with CommandProgress() as progress:
        progress.stage("reading the recordings", len(recordings), "files")
        for recording in recordings:
            chats += read_chats(recording, spoken)
            progress.advance()
    text = write_script(chats)
    for line in missing(chats):
        click.echo(f"chatload: {line}", err=True)
    if output is None:
        click.echo(text, nl=False)
        return
    with replacing(output) as stream:
        stream.write(text)
