"""Each check of a run file: the last value that is read, and the first that is refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import astuple
from typing import Any

import pytest

from chatload.chat.record import Contact, SessionRecord, Timeline
from chatload.run import checks
from chatload.run.books import Books
from chatload.run.histogram import Histogram
from chatload.run.settings import RunSettings

LATEST_S, EARLIEST_S = 253_402_300_799.0, -62_000_000_000.0  # the last second of year 9999, and about year 5
LONG = "x" * 4096
CUT = "x" * 4095 + "…"


def nested(depth: int) -> str:
    """A number within so many lists."""
    return "[" * depth + "1" + "]" * depth


# -- JSON ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [nested(8), "1e18", "-1e18", "true", '"x"', "null", '{"a": {"b": [1, 2]}}'])
def test_json_of_ordinary_depth_and_size_is_read(text: str) -> None:
    assert checks.parsed(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (nested(9), "nested too deep"),
        ('{"a":' * 9 + "1" + "}" * 9, "nested too deep"),
        (nested(100_000), "nested too deep"),
        ("1.1e18", "out of all proportion"),
        ("[-1.1e18]", "out of all proportion"),
        ("NaN", "out of all proportion"),
        ("Infinity", "out of all proportion"),
        (b"1", "not JSON text"),
        (1, "not JSON text"),
        (None, "not JSON text"),
    ],
)
def test_other_json_is_refused(text: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checks.parsed(text)


def test_half_a_million_values_are_read_and_no_more() -> None:
    most = json.dumps([1] * 499_999)  # and the list itself
    assert len(checks.parsed(most)) == 499_999
    with pytest.raises(ValueError, match="too much JSON"):
        checks.parsed(json.dumps([1] * 500_000))


def test_no_cell_is_read_that_has_more_than_32_mib() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE run (key TEXT, value TEXT)")
        checks.guard(database)
        assert database.execute(f"SELECT length(zeroblob({32 * 2**20}))").fetchone() == (32 * 2**20,)
        with pytest.raises(sqlite3.DataError):
            database.execute(f"SELECT length(zeroblob({32 * 2**20 + 1}))")


# -- facts of the run ------------------------------------------------------------------------------


def facts(**values: Any) -> dict[str, Any]:
    return checks.facts([(key, json.dumps(value)) for key, value in {"settings": {}, **values}.items()])


def test_facts_that_a_run_has_are_read() -> None:
    settings = {"thresholds": ["a < 1"], "abort_on": None, "confidence": 0.95, "name": LONG}
    assert facts(settings=settings, started_at=LATEST_S, ended_at=None) == {
        "settings": RunSettings(thresholds=("a < 1",), name=LONG), "started_at": LATEST_S, "ended_at": None,
    }  # fmt: skip
    found = facts(settings={"deep": 1, "name": LONG + "x"}, files={"script_text": LONG + "x"}, other=[LONG + "x"])
    assert found == {"settings": RunSettings(name=CUT, script_text=LONG + "x"), "other": [CUT]}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"settings": []}, "its settings are missing"),
        ({"settings": None}, "its settings are missing"),
        ({"settings": {"thresholds": "a < 1"}}, "settings: thresholds is not a list of texts"),
        ({"settings": {"thresholds": ["a < 1", 2]}}, "settings: thresholds is not a list of texts"),
        ({"settings": {"abort_on": {"a": 1}}}, "settings: abort_on is not a list of texts"),
        ({"settings": {"confidence": "0.95"}}, "settings: confidence is not a number"),
        ({"started_at": "now"}, "started_at is no number of seconds"),
        ({"ended_at": True}, "ended_at is no number of seconds"),
        ({"ended_at": LATEST_S + 1}, "ended_at is no number of seconds"),
        ({"started_at": EARLIEST_S - 1}, "started_at is no number of seconds"),
    ],
)
def test_facts_that_no_run_has_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        facts(**values)


# -- sessions --------------------------------------------------------------------------------------


def session_row(**values: Any) -> tuple[Any, ...]:
    """A session's row as SQLite gives it, with other values in some columns."""
    record = SessionRecord("c", "completed")
    for name, value in values.items():
        setattr(record, name, value)
    return tuple(int(value) if isinstance(value, bool) else value for value in astuple(record))


def read_session(**values: Any) -> SessionRecord:
    # Twice: of the second row the types are known.
    _, row = checks.sessions([session_row(**values)] * 2)
    return SessionRecord(*row)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("started_at", LATEST_S, LATEST_S),
        ("started_at", EARLIEST_S, EARLIEST_S),
        ("started_at", 0, 0),
        ("ended_at", 5.5, 5.5),
        ("gap_upper_s", None, None),
        ("why", LONG, LONG),
        ("why", LONG + "x", CUT),
        ("chat_id", LONG + "x", CUT),
    ],
)
def test_a_session_is_read(name: str, value: Any, read: Any) -> None:
    record = read_session(**{name: value})
    assert getattr(record, name) == read
    assert record.verdict == "completed"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("started_at", LATEST_S + 1, "started_at is out of range"),
        ("ended_at", EARLIEST_S - 1, "ended_at is out of range"),
        ("gap_lower_s", float("inf"), "gap_lower_s is out of range"),
        ("started_at", "5", "started_at is of the wrong type"),
        ("chat_id", None, "chat_id is of the wrong type"),
        ("chat_id", b"c", "chat_id is of the wrong type"),
        ("generator_suspect", 1.5, "generator_suspect is of the wrong type"),
    ],
)
def test_a_session_that_is_none_is_refused(name: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_session(**{name: value})


def test_a_session_with_a_column_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        list(checks.sessions([session_row()[:-1]]))


# -- books -----------------------------------------------------------------------------------------


def read_books(**parts: Any) -> Books:
    return checks.books(json.dumps({**Books().to_dict(), **parts}))


def histogram(value: float) -> dict[str, Any]:
    made = Histogram()
    made.extend([value, 0.0])
    return made.to_dict()


def test_books_are_read_as_they_were_written() -> None:
    parts = {
        "started": 5, "sent": {"GetMessages": 7}, "outcomes": {"GetMessages": {"0/false": 7}}, "stalled_s": 1.5,
        "states": {"held": -2}, "latency": {"GetMessages": {"observed": histogram(2.5)}},
        "gap": {"observed": histogram(-3.0)}, "lateness": histogram(LATEST_S),
    }  # fmt: skip
    told = read_books(**parts).to_dict()
    assert {name: told[name] for name in parts} == parts
    assert read_books(sent={LONG: 1}).sent == {LONG: 1}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"started": 1.5}, "started is no whole number"),
        ({"started": True}, "started is a bool"),
        ({"started": None}, "started is a NoneType"),
        ({"started": "1"}, "started is a str"),
        ({"started": -1}, "started is below 0"),
        ({"stalled_s": -0.5}, "stalled_s is below 0"),
        ({"sent": {"GetMessages": -1}}, "GetMessages is below 0"),
        ({"sent": {"GetMessages": 1.5}}, "GetMessages is no whole number"),
        ({"sent": {LONG + "x": 1}}, "a name out of all proportion"),
        ({"sent": 5}, "books: TypeError"),
        ({"sent": {"GetMessages": {"0/false": 1}}}, "sent is a dict"),
        ({"outcomes": {"GetMessages": 7}}, "books: TypeError"),
        ({"outcomes": {"GetMessages": {"0/false": {"a": 1}}}}, "outcomes is a dict"),
        ({"suspects": {}}, "suspects is a "),
        ({"states": {"held": 0.5}}, "states is no whole number|held is no whole number"),
        ({"lateness": {**histogram(1.0), "count": 3}}, "a histogram does not add up"),
        ({"lateness": {**histogram(1.0), "zeros": 2}}, "a histogram does not add up"),
        ({"lateness": {**histogram(1.0), "min": None}}, "a histogram does not add up"),
        ({"lateness": {**histogram(1.0), "max": None}}, "a histogram does not add up"),
        (
            {"lateness": {"buckets": {}, "zeros": 0, "count": 0, "total_us": 0, "min": 1.0, "max": 1.0}},
            "does not add up",
        ),
        ({"lateness": {**histogram(1.0), "buckets": {"2000": 1}}}, "a bucket out of all proportion"),
        ({"lateness": {**histogram(1.0), "buckets": {"-2000": 1}}}, "a bucket out of all proportion"),
        ({"lateness": {**histogram(1.0), "max": LATEST_S + 1}}, "a duration out of all proportion"),
        ({"lateness": {**histogram(1.0), "max": -LATEST_S - 1}}, "a duration out of all proportion"),
        ({"lateness": {"buckets": {}}}, "books: KeyError"),
    ],
)
def test_books_that_no_run_has_are_refused(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_books(**parts)


@pytest.mark.parametrize("key", [1999, -1999])
def test_a_bucket_at_the_limit_is_read(key: int) -> None:
    assert read_books(lateness={**histogram(1.0), "buckets": {str(key): 1}}).lateness.buckets == {key: 1}


# -- timelines -------------------------------------------------------------------------------------


def read_timeline(contact: dict[str, Any] | None = None, **values: Any) -> Timeline:
    contacts = [Contact("GetMessages", 1.0, None, 2.0, "timeout"), Contact("GetMessages", 3.0, 3.1, 3.2, "2")]
    made = Timeline("c", "dropped_late", "server", "why", 45.0, 1.5, 0.25, 0.5, {"server": 2.7}, contacts)
    if contact is not None:
        made.contacts.append(Contact(**{**contacts[1]._asdict(), **contact}))
    return checks.timeline(json.dumps({**made.to_dict(), **values}))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"timeout_s": 1e-9},
        {"timeout_s": 999_999_999.0},
        {"severity_s": -3.5},
        {"sure_sent": LATEST_S},
        {"shares": {}},
        {"contacts": []},
    ],
)
def test_a_timeline_is_read(values: dict[str, Any]) -> None:
    made = read_timeline(**values)
    assert {name: made.to_dict()[name] for name in values} == values
    assert read_timeline(why=LONG + "x").why == CUT


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"timeout_s": 0}, "timeout_s is out of range"),
        ({"timeout_s": -1.0}, "timeout_s is out of range"),
        ({"timeout_s": 1e9}, "timeout_s is out of range"),
        ({"timeout_s": None}, "timeout_s is no number"),
        ({"severity_s": "much"}, "severity_s is no number"),
        ({"sure_sent": LATEST_S + 1}, "sure_sent is no number"),
        ({"sure_received": None}, "sure_received is no number"),
        ({"chat_id": 5}, "a text is a int"),
        ({"verdict": None}, "a text is a NoneType"),
        ({"blame": []}, "a text is a list"),
        ({"why": 1.5}, "a text is a float"),
        ({"worker": {}}, "a text is a dict"),
        ({"shares": {"server": "all"}}, "shares is no number"),
        ({"shares": [1]}, "timeline: AttributeError"),
        ({"colour": "red"}, "timeline: TypeError"),
        ({"contact": {"operation": 5}}, "a text is a int"),
        ({"contact": {"outcome": None}}, "a text is a NoneType"),
        ({"contact": {"due": "now"}}, "contacts is no number"),
        ({"contact": {"sent": "now"}}, "contacts is no number"),
        ({"contact": {"received": None}}, "contacts is no number"),
    ],
)
def test_a_timeline_that_is_none_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_timeline(**values)


# -- windows and incidents -------------------------------------------------------------------------

BOOKS = json.dumps(Books().to_dict())


def test_a_window_is_read() -> None:
    start, end, still, books, cpu, rss, memory = checks.window((1.0, 1.0, 3, BOOKS, 99.5, 10**15, '{"a": 0, "b": 5}'))
    assert (start, end, still, cpu, rss, memory) == (1.0, 1.0, 3, 99.5, 10**15, {"a": 0, "b": 5})
    assert books.to_dict() == Books().to_dict()
    assert checks.window((1.0, 2.5, 3, BOOKS, None, None, "{}"))[4:] == (None, None, {})
    assert len(checks.memory(json.dumps({str(i): i for i in range(1000)}))) == 1000


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((2.0, 1.0, 3, BOOKS, None, None, "{}"), "not a stretch of time"),
        ((1.0, 2.0, 3.5, BOOKS, None, None, "{}"), "not a stretch of time"),
        ((1.0, 2.0, None, BOOKS, None, None, "{}"), "not a stretch of time"),
        (("x", 2.0, 3, BOOKS, None, None, "{}"), "windows is no number"),
        ((1.0, None, 3, BOOKS, None, None, "{}"), "windows is no number"),
        ((1.0, 2.0, 3, "[]", None, None, "{}"), "books"),
        ((1.0, 2.0, 3, BOOKS, "much", None, "{}"), "cpu or rss is no number"),
        ((1.0, 2.0, 3, BOOKS, None, 1.1e18, "{}"), "cpu or rss is no number"),
        ((1.0, 2.0, 3, BOOKS, None, None, "[1]"), "memory is not by process"),
        ((1.0, 2.0, 3, BOOKS, None, None, json.dumps({str(i): i for i in range(1001)})), "memory is not by process"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": -1}'), "memory is no number of bytes"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": true}'), "memory is no number of bytes"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": 1.5}'), "memory is no number of bytes"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": 1, "b": "x"}'), "memory is no number of bytes"),
    ],
)
def test_a_window_that_is_none_is_refused(row: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checks.window(row)


def test_an_incident_is_read_cut_or_refused() -> None:
    assert checks.incident((5.0, "kind", LONG + "x")) == (5.0, "kind", CUT)
    for row in (("5", "kind", "what"), (5.0, None, "what"), (5.0, "kind", b"what"), (True, "kind", "what")):
        with pytest.raises(ValueError, match=r"is no number|a text is a"):
            checks.incident(row)
    assert (checks.text(LONG + "x"), checks.instant(LATEST_S)) == (CUT, LATEST_S)


# -- the file itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("CREATE VIEW v AS SELECT 1", "'v' is no table but a view"),
        ("CREATE VIRTUAL TABLE v USING fts5(a)", "'v' is no table but a virtual"),
        ("CREATE TABLE t (a, b AS (a + 1))", "column 'b' of t is computed"),
        ("CREATE TABLE t (a, b AS (a + 1) STORED)", "column 'b' of t is computed"),
    ],
)
def test_nothing_in_a_file_is_run(statement: str, says: str) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE run (key TEXT, value TEXT)")
        checks.guard(database)
        database.execute(statement)
        with pytest.raises(ValueError, match=says):
            checks.guard(database)
        assert database.execute("PRAGMA trusted_schema").fetchone() == (0,)
        assert database.execute("PRAGMA cell_size_check").fetchone() == (1,)
