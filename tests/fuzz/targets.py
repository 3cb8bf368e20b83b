"""What is fuzzed: everything that reads what others wrote. A target takes one input and either copes or refuses it in
one line (ChatloadError); anything else it raises is a finding.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st
from pydantic import TypeAdapter

from chatload.chat.record import Contact, SessionRecord, Timeline
from chatload.chat.script import load_script
from chatload.errors import ChatloadError, UsageError
from chatload.features.campaign.campaign_file import load_campaign
from chatload.features.plan.command import _file
from chatload.features.reconcile import ledger
from chatload.features.reconcile.compute import reconcile
from chatload.features.script import read_chats, write_script
from chatload.protocol.decode import Decoder, RefusedError
from chatload.protocol.dialect import load_dialect, parse_dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.names import EventNames, ResponseNames
from chatload.protocol.operations import OPERATION_FIELDS
from chatload.protocol.reply import parse_body, read, read_file
from chatload.protocol.toml_file import load_toml
from chatload.protocol.wire import WireResult
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.lifetimes import Lifetimes
from chatload.run.schema import BooksCell, MemoryCell, TimelineCell
from chatload.simulator.command import _take_file
from chatload.simulator.model.faults import FaultPlan
from chatload.target import RulesFile, host_name, matches, require_agreed
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, parse, parse_abort

FOLDER = Path(tempfile.mkdtemp(prefix="chatload-fuzz-"))


class Target(NamedTuple):
    """inputs: what is tried. run: takes one of them."""

    inputs: st.SearchStrategy[Any]
    run: Callable[[Any], object]


# ruff: noqa: E501 - inputs are written as they are

# -- inputs ----------------------------------------------------------------------------------------

NASTY = st.sampled_from([
    "", "\x00", "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "\x1b[2J", "é" * 3000, "1e999", "-0", "9" * 5000, "{}",
    "../../x", "%00", "{chat_id}", "\ud800", "\u202e", "' OR 1=1", "2026-01-01T00:00:00Z", "NaN", "true", "0x10", "1_000",
])  # fmt: skip
WORDS = st.one_of(NASTY, st.text(max_size=20))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([10**30, -(10**400), 2**63, 0, -1]),
    st.floats(), WORDS,
)  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)


def replaced(value: Any, draw: Callable[..., Any], chance: int = 12) -> Any:
    """The value with parts of it replaced, left out or doubled."""
    if draw(st.integers(0, chance)) == 0:
        return draw(JSON)
    if isinstance(value, dict):
        made = {key: replaced(item, draw, chance) for key, item in value.items() if draw(st.integers(0, 20))}
        if draw(st.integers(0, 15)) == 0:
            made[draw(WORDS)] = draw(JSON)
        return made
    if isinstance(value, list):
        return [
            replaced(item, draw, chance) for item in value for _ in range(draw(st.sampled_from([1, 1, 1, 1, 0, 2])))
        ]
    return value


def near(*values: Any) -> st.SearchStrategy[Any]:
    """Values like those, with something wrong in them, or not."""

    @st.composite
    def strategy(draw: Callable[..., Any]) -> Any:
        return replaced(draw(st.sampled_from(values)), draw)

    return strategy()


def mutated(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Bytes like those, with parts replaced, doubled, cut and swapped."""

    @st.composite
    def strategy(draw: Callable[..., Any]) -> bytes:
        data = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(0, 6))):
            at = draw(st.integers(0, len(data)))
            end = min(len(data), at + draw(st.integers(0, 12)))
            kind = draw(st.integers(0, 4))
            if kind == 0:
                data[at:end] = draw(st.binary(max_size=8))
            elif kind == 1:
                data[at:at] = data[at:end] * draw(st.sampled_from([1, 2, 50, 2000]))
            elif kind == 2:
                del data[at:end]
            elif kind == 3:
                data[at:at] = draw(WORDS).encode("utf-8", "surrogatepass")
            else:
                data[at:at] = draw(
                    st.sampled_from([b"[", b"{", b'"', b"'", b"=", b".", b"a.", b"\n", b",", b"9", b"\\u"])
                ) * draw(st.sampled_from([1, 3, 1000, 20000]))
        return bytes(data)

    return st.one_of(strategy(), st.binary(max_size=200))


def dumped(value: Any) -> bytes:
    """As JSON, with what JSON has no word for as Python writes it (NaN, lone surrogates)."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


# -- targets ---------------------------------------------------------------------------------------


def coping(function: Callable[[Any], object]) -> Callable[[Any], object]:
    """The function, for which a refusal in one line is fine."""

    @functools.wraps(function)
    def cope(value: Any) -> object:
        try:
            return function(value)
        except ChatloadError as error:
            said = str(error)
            assert len(said) < 4000 and "\x1b" not in said and "\x00" not in said, said[:200]
            return None

    return cope


def as_file(ending: str, read_it: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Reads the bytes as a file of that ending."""

    def run(data: bytes) -> object:
        path = FOLDER / f"input{ending}"
        path.write_bytes(data)
        return read_it(path)

    return coping(run)


DIALECTS = [load_dialect(name, None) for name in ("gms-v2", "webapi")]
ODD = ResponseNames(
    status_code=("a", "b"), messages=("m",), event=EventNames(type=("t", "u")), event_types={"Message": "M"}
)
REPLIES = (
    {"statusCode": 0, "chatEnded": False, "messages": [{"from": {"nickname": "A", "participantId": 2, "type": "Agent"}, "index": 1,
     "type": "Message", "utcTime": 1765000000000, "text": "hi"}], "nextPosition": 2, "alias": "117", "userId": "00", "secureKey": "4e",
     "chatId": "0004", "userData": {"file-id": "x"}},
    {"statusCode": 2, "chatEnded": True, "errors": [{"code": 100, "advice": "no"}], "messages": []},
    {"a": {"b": 0}, "m": [{"t": {"u": "M"}}], "chatEnded": True},
)  # fmt: skip


def reply(body: bytes) -> None:
    """Never raises, whatever arrives."""
    for names in (ResponseNames(), ODD, *(dialect.response for dialect in DIALECTS)):
        made = parse_body(names, body)
        assert made.detail.isascii() and len(made.detail) < 100
        result = WireResult(0.0, 1.0, 0.0, 200, body)
        assert read(names, result).outcome == made.outcome
        read_file(names, result)


def request(value: tuple[int, str, str, str, bytes]) -> None:
    """The simulator's side: a request is decoded or refused."""
    dialect, method, path, content_type, body = value
    try:
        Decoder(DIALECTS[dialect]).decode(method, path, content_type, body)
    except RefusedError as refused:
        status = refused.http_status
    else:
        status = 400
    assert 400 <= status < 600


def dialect(data: bytes) -> None:
    """A dialect that loads can also encode and decode."""
    try:
        made = parse_dialect(data.decode("utf-8"), "input.toml", {"K": "v"})
    except UnicodeDecodeError:
        return
    encoder = Encoder(made, "a service/é")
    for operation in made.operations:
        fields = dict.fromkeys(OPERATION_FIELDS[operation], "1")
        encoder.encode(operation, fields, b"content" if operation == "FileUpload" else None)
    parse_body(made.response, dumped(REPLIES[0]))
    Decoder(made)


def script(path: Path) -> None:
    """A script that loads can be drawn from: finite, and not below 0."""
    made = load_script(path)
    for name in ("chat_length", "messages", "think", "typing", "answer_patience", "message_bytes", "hesitation"):
        distribution = getattr(made, name)
        for value in (distribution.sample(Random(1)), distribution.mean()):
            assert 0 <= value < float("inf"), (name, distribution, value)


def settings_file(path: Path) -> None:
    """The simulator's --config."""

    class Context:
        default_map = None

    _take_file(Context(), None, str(path))  # type: ignore[arg-type]


def threshold(text: str) -> None:
    """A threshold that parses reads the same when written down, and can be judged."""
    for understand in (parse, parse_abort):
        made = understand(text)
        assert parse(str(made)) == made
        books = Books()
        books.started = 3
        books.verdicts.update(completed=2, dropped_late=1)
        books.exposure_s = 900.0
        lifetimes = Lifetimes.of([(400.0, 401.0, "completed")] * 2 + [(100.0, 150.0, "dropped_late")])
        judge(made, Facts(books, 45.0, lifetimes=lifetimes), 0.95)


def in_ledger(path: Path) -> None:
    """A ledger that is read can be compared with a run."""
    record = SessionRecord("0004", "completed")
    reconcile([record, record], ledger.read(str(path))).to_dict()


def har(path: Path) -> None:
    """The script made of a recording is one that loads."""
    for spoken in DIALECTS:
        try:
            text = write_script(read_chats(path, spoken))
        except UsageError:
            continue
        made = FOLDER / "made.toml"
        made.write_text(text)
        load_script(made)


def books_cell(text: str) -> None:
    """Books that are taken can be worked with."""
    try:
        made = TypeAdapter(BooksCell).validate_python(text)
    except ValueError:
        return
    for histogram in (*made.latency.values(), CensoredHistogram(made.lateness), made.gap):
        for q in (0.0, 0.5, 0.999, 1.0):
            histogram.quantile(q), histogram.figure(q)
        list(histogram.observed.bins())
        if histogram.count:
            histogram.bracket(0)
    Books().merge(made)
    made.since(Books())
    dumped(made.to_dict())


def memory_cell(text: str) -> None:
    """Sizes that are taken are of processes with a name."""
    try:
        made = TypeAdapter(MemoryCell).validate_python(text)
    except ValueError:
        return
    assert all(type(name) is str and type(size) is int and size >= 0 for name, size in made.items())
    assert len(made) <= 1000


def timeline_cell(text: str) -> None:
    """A timeline that is taken can be told."""
    from chatload.features.report.worst_sessions import headline, story

    try:
        made = TypeAdapter(TimelineCell).validate_python(text)
    except ValueError:
        return
    headline(made), story(made)


def host(value: tuple[str, str]) -> None:
    """The guard's reading of hosts: never raises, and never takes a public host for an agreed one by accident."""
    name, word = value
    host_name(name)
    if matches(name, [word]) and not word.startswith("*.") and "/" not in word:
        assert host_name(name) == host_name(word)
    coping(lambda _: require_agreed(name, [word], resolve=lambda _: ["93.184.216.34"]))(None)


def valid_books() -> dict[str, Any]:
    """Books with a bit of everything."""
    books = Books()
    books.started = 2
    books.sent["GetMessages"] = 3
    books.outcomes = {"GetMessages": books.sent.copy()}
    books.verdicts["completed"] = 2
    for histogram in (books.lateness, books.gap, books.latency.setdefault("GetMessages", CensoredHistogram())):
        histogram.add(0.2)
        histogram.add(0.0)
    return json.loads(json.dumps(books.to_dict()))


def valid_timeline() -> dict[str, Any]:
    """A timeline with a contact of each kind."""
    contacts = [Contact("GetMessages", 1.0, 1.0, 1.1, "0/false"), Contact("GetMessages", 4.0, None, 9.0, "timeout"),
                Contact("GetMessages", 9.0, 9.0, 9.1, "2")]  # fmt: skip
    made = Timeline("c", "dropped_late", "server", "w", 2.0, 5.0, 1.0, 1.1, {"server": 7.0}, contacts, "w")
    return json.loads(json.dumps(asdict(made)))


LEDGER_LINE = {"chat_id": "0004", "started_at": 1.5, "ended_at": "2026-01-01T00:00:00Z", "end_reason": "agent",
               "late_contact_at": None, "max_gap_s": 3}  # fmt: skip
ENTRY = {
    "startedDateTime": "2026-01-01T00:00:00.000Z", "time": 12.5,
    "request": {"method": "POST", "url": "https://h/genesys/2/chat/support/", "postData": {
        "mimeType": "application/x-www-form-urlencoded", "text": "nickname=a&subject=b"}},
    "response": {"content": {"text": json.dumps(REPLIES[0])}},
}  # fmt: skip
POLL = {**ENTRY, "startedDateTime": "2026-01-01T00:00:03.000Z",
        "request": {"method": "POST", "url": "https://h/genesys/2/chat/support/0004/send", "postData": {
            "mimeType": "application/x-www-form-urlencoded", "text": "message=hi&userId=00&secureKey=4e&alias=117"}}}  # fmt: skip
SCRIPT = b"""
chat_length = { shape = "exponential", mean = 60 }
messages = { shape = "uniform", low = 1, high = 3 }
think = { shape = "lognormal", median = 0.4, sigma = 0.5 }
typing = 0.2
nickname = "a"
shows_typing = true
[[extras]]
operation = "UpdateData"
chance = 0.5
user_data = { a = "b" }
[[extras]]
operation = "FileUpload"
size = { shape = "uniform", low = 1, high = 9 }
"""
FAULTS = b"""
seed = 5
[[fault]]
kind = "slow"
chance = 0.5
operations = ["GetMessages"]
from_s = 1.0
until_s = 2.5
delay_s = 0.5
"""
PLAN = b'chats_per_hour = 360\ngrowth = "20%"\nhandling_distribution = "lognormal"\nspare = 1\n'
RULES = (
    b'allowed_targets = ["a.example", "10.0.0.0/8"]\nmax_sessions = 10\nmax_requests_per_s = 5.5\nlocked = true\n'
    b'allowed_hours = ["Mon-Fri 08:00-18:00"]\ntime_zone = "Europe/Berlin"\napproval_id = "CHG-1"\n'
)
CAMPAIGN = (
    b'host = "http://a.example"\ntime_available = "3h"\nhandling_time = "8m"\nchats_per_hour = 4000\n'
    b'target_drop_rate = "1%"\nflex_disconnect_timeout = 45\nmax_sessions = 100\nsigners = ["me"]\n'
)
SIMULATOR = b'long-poll = 25\nagent-wait = [1, 2]\nservice = "support"\n'
EXTREMES = st.one_of(
    st.floats().map(repr), st.integers().map(str),
    st.sampled_from(["0", "-0.0", "1e308", "5e-324", "1e300", "400", "inf", "nan", "-1", "true", '"1"', "[]"]),
)  # fmt: skip
SHAPES = st.sampled_from(
    [
        ("fixed", "value", "b"),
        ("uniform", "low", "high"),
        ("exponential", "mean", "b"),
        ("lognormal", "median", "sigma"),
    ]
)
DISTRIBUTIONS = st.tuples(SHAPES, EXTREMES, EXTREMES).map(
    lambda d: (
        f'think = {{ shape = "{d[0][0]}", {d[0][1]} = {d[1]}' + (f", {d[0][2]} = {d[2]} }}" if d[0][2] != "b" else " }")
    ).encode()
)
THRESHOLDS = (
    b"dropped_late.rate < 0.1%",
    b"GetMessages.latency.p99 < 300ms",
    b"dropped.by_age(8m) < 0.1%",
    b"dropped.per_chat_hour < 0.2",
    b"failed.count == 0",
    b"lateness.max <= 1 s",
    b"Vip: unsuccessful.rate < 1% in every 1m",
)
CSV = b"chat_id,end_reason,started_at,max_gap_s\n0004,agent,1.5,\n0005,,2026-01-01T00:00:00Z,3\n"
_TEXTS = [
    (resources.files("chatload.protocol") / "dialects" / f"{name}.toml").read_bytes() for name in ("gms-v2", "webapi")
]
_REQUESTS = st.tuples(
    st.integers(0, 1),
    st.sampled_from(["POST", "GET", "", "X"]),
    st.one_of(st.sampled_from(["/genesys/2/chat/a", "/genesys/2/chat/a/0004/refresh", "/genesys/2/chat/a/0004/file", "/"]), WORDS),
    st.sampled_from(["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=b", "", "text/x; ="]),
    mutated(b"userId=1&secureKey=2&alias=3&userData[a]=b", dumped({"operationName": "RequestChat", "nickname": "a"}),
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n'),
)  # fmt: skip

TARGETS: dict[str, Target] = {
    "reply_bytes": Target(mutated(*map(dumped, REPLIES)), reply),
    "reply_near_valid": Target(near(*REPLIES).map(dumped), reply),
    "request": Target(_REQUESTS, request),
    "dialect": Target(mutated(*_TEXTS), coping(dialect)),
    "script": Target(mutated(SCRIPT), as_file(".toml", script)),
    "distribution": Target(DISTRIBUTIONS, as_file(".toml", script)),
    "faults": Target(mutated(FAULTS), as_file(".toml", FaultPlan.load)),
    "simulator_settings": Target(mutated(SIMULATOR), as_file(".toml", settings_file)),
    "plan": Target(mutated(PLAN), as_file(".toml", _file)),
    "rules": Target(mutated(RULES), as_file(".toml", lambda path: load_toml(path, RulesFile))),
    "campaign": Target(mutated(CAMPAIGN), as_file(".toml", load_campaign)),
    "threshold": Target(mutated(*THRESHOLDS).map(lambda data: data.decode("utf-8", "replace")), coping(threshold)),
    "ledger_csv": Target(mutated(CSV), as_file(".csv", in_ledger)),
    "ledger_ndjson": Target(
        st.one_of(
            st.lists(near(LEDGER_LINE).map(dumped), max_size=3).map(b"\n".join), mutated(dumped(LEDGER_LINE))
        ),
        as_file(".ndjson", in_ledger),
    ),
    "har": Target(
        st.one_of(near({"log": {"entries": [ENTRY, POLL]}}).map(dumped), mutated(dumped({"log": {"entries": [ENTRY, POLL]}}))),
        as_file(".har", har),
    ),
    "books": Target(near(valid_books()).map(lambda value: dumped(value).decode("utf-8", "replace")), books_cell),
    "timeline": Target(near(valid_timeline()).map(lambda value: dumped(value).decode("utf-8", "replace")), timeline_cell),
    "memory": Target(near({"master": 2**27, "w": 0}).map(lambda value: dumped(value).decode("utf-8", "replace")), memory_cell),
    "host": Target(st.tuples(WORDS, WORDS), host),
}  # fmt: skip
