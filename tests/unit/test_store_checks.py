"""Each check of a run file: the last value that is read, and the first that is refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import Any

import pytest
from pydantic import TypeAdapter

from chatload.chat.record import Contact, SessionRecord, Timeline
from chatload.run import reader, schema
from chatload.run.books import Books
from chatload.run.histogram import Histogram
from chatload.run.settings import RunSettings

LATEST_S, EARLIEST_S = 253_402_300_799.0, -62_000_000_000.0  # the last second of year 9999, and about year 5
SESSION, WINDOW = TypeAdapter(schema.SESSION_ROW), TypeAdapter(schema.WINDOW_ROW)
INCIDENT = TypeAdapter(reader.Incident)
LONG = "x" * 4096
CUT = "x" * 4095 + "…"


def nested(depth: int) -> str:
    """A number within so many lists."""
    return "[" * depth + "1" + "]" * depth


# -- JSON ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [nested(8), "1e18", "-1e18", "true", '"x"', "null", '{"a": {"b": [1, 2]}}'])
def test_json_of_ordinary_depth_and_size_is_read(text: str) -> None:
    assert schema.parsed(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (nested(9), "nested too deep"),
        ('{"a":' * 9 + "1" + "}" * 9, "nested too deep"),
        (nested(100_000), "nested too deep"),
        ("1.1e18", "out of range"),
        ("[-1.1e18]", "out of range"),
        ("NaN", "out of range"),
        ("Infinity", "out of range"),
        (b"1", "not JSON text"),
        (1, "not JSON text"),
        (None, "not JSON text"),
    ],
)
def test_other_json_is_refused(text: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        schema.parsed(text)


def test_half_a_million_values_are_read_and_no_more() -> None:
    most = json.dumps([1] * 499_999)  # and the list itself
    assert len(schema.parsed(most)) == 499_999
    with pytest.raises(ValueError, match="too much JSON"):
        schema.parsed(json.dumps([1] * 500_000))


def test_no_cell_is_read_that_has_more_than_32_mib() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE run (key TEXT, value TEXT)")
        schema.guard(database)
        assert database.execute(f"SELECT length(zeroblob({32 * 2**20}))").fetchone() == (32 * 2**20,)
        with pytest.raises(sqlite3.DataError):
            database.execute(f"SELECT length(zeroblob({32 * 2**20 + 1}))")


# -- facts of the run ------------------------------------------------------------------------------


def facts(**values: Any) -> dict[str, Any]:
    return schema.facts([(key, json.dumps(value)) for key, value in {"settings": {}, **values}.items()])


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
        ({"settings": {"thresholds": "a < 1"}}, "settings: thresholds"),
        ({"settings": {"thresholds": ["a < 1", 2]}}, "settings: thresholds"),
        ({"settings": {"abort_on": {"a": 1}}}, "settings: abort_on"),
        ({"settings": {"confidence": "0.95"}}, "settings: confidence"),
        ({"started_at": "now"}, "valid number"),
        ({"ended_at": True}, "valid number"),
        ({"ended_at": LATEST_S + 1}, "less than or equal to"),
        ({"started_at": EARLIEST_S - 1}, "greater than or equal to"),
    ],
)
def test_facts_that_no_run_has_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        facts(**values)


# -- sessions --------------------------------------------------------------------------------------


def session_row(**values: Any) -> tuple[Any, ...]:
    """A session's row as SQLite gives it, with other values in some columns."""
    plain = {**asdict(SessionRecord("c", "completed")), "goodbye_confirmed": 0, "generator_suspect": 1, **values}
    return tuple(plain.values())


def read_session(**values: Any) -> SessionRecord:
    return SessionRecord(*SESSION.validate_python(session_row(**values)))


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
    assert (record.goodbye_confirmed, record.generator_suspect) == (False, True)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("started_at", LATEST_S + 1, "less than or equal to 253402300799"),
        ("ended_at", EARLIEST_S - 1, "greater than or equal to -62000000000"),
        ("gap_lower_s", float("inf"), "less than or equal to 253402300799"),
        ("started_at", "5", "valid number"),
        ("started_at", True, "valid number"),
        ("contacts", "5", "valid integer"),
        ("chat_id", None, "valid string"),
        ("chat_id", b"c", "valid string"),
        ("generator_suspect", 1.5, "valid boolean"),
    ],
)
def test_a_session_that_is_none_is_refused(name: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_session(**{name: value})


def test_a_session_with_a_column_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="Field required"):
        SESSION.validate_python(session_row()[:-1])


# -- books -----------------------------------------------------------------------------------------


def read_books(**parts: Any) -> Books:
    return TypeAdapter(schema.BooksCell).validate_python(json.dumps({**Books().to_dict(), **parts}))


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
        ({"started": 1.5}, r"started\n.*valid integer"),
        ({"started": True}, r"started\n.*valid integer"),
        ({"started": None}, r"started\n.*valid integer"),
        ({"started": "1"}, r"started\n.*valid integer"),
        ({"started": -1}, r"started\n.*greater than or equal to 0"),
        ({"stalled_s": -0.5}, r"stalled_s\n.*greater than or equal to 0"),
        ({"sent": {"GetMessages": -1}}, r"sent.GetMessages\n.*greater than or equal to 0"),
        ({"sent": {"GetMessages": 1.5}}, r"sent.GetMessages\n.*valid integer"),
        ({"sent": {"GetMessages": True}}, r"sent.GetMessages\n.*valid integer"),
        ({"sent": {"GetMessages": "1"}}, r"sent.GetMessages\n.*valid integer"),
        ({"sent": {LONG + "x": 1}}, r"at most 4096 characters"),
        ({"sent": 5}, r"sent\n.*valid dictionary"),
        ({"sent": {"GetMessages": {"0/false": 1}}}, r"sent.GetMessages\n.*valid integer"),
        ({"outcomes": {"GetMessages": 7}}, r"outcomes.GetMessages\n.*valid dictionary"),
        ({"outcomes": {"GetMessages": {"0/false": {"a": 1}}}}, r"outcomes.GetMessages.0/false\n.*valid integer"),
        ({"suspects": {}}, r"suspects\n.*valid integer"),
        ({"states": {"held": 0.5}}, r"states.held\n.*valid integer"),
        ({"lateness": {**histogram(1.0), "count": 3}}, "a histogram does not add up"),
        ({"lateness": {**histogram(1.0), "zeros": 2}}, "a histogram does not add up"),
        ({"lateness": {**histogram(1.0), "min": None}}, "a histogram does not add up"),
        ({"lateness": {**histogram(1.0), "max": None}}, "a histogram does not add up"),
        (
            {"lateness": {"buckets": {}, "zeros": 0, "count": 0, "total_us": 0, "min": 1.0, "max": 1.0}},
            "does not add up",
        ),
        ({"lateness": {**histogram(1.0), "buckets": {"2000": 1}}}, "less than 2000"),
        ({"lateness": {**histogram(1.0), "buckets": {"-2000": 1}}}, "greater than -2000"),
        ({"lateness": {**histogram(1.0), "max": LATEST_S + 1}}, r"lateness.max\n.*less than"),
        ({"lateness": {**histogram(1.0), "max": -LATEST_S - 1}}, r"lateness.max\n.*greater than"),
        ({"lateness": {**histogram(1.0), "total_us": 0.5}}, r"lateness.total_us\n.*valid integer"),
        ({"lateness": {"buckets": {}}}, r"lateness.zeros\n.*Field required"),
    ],
)
def test_books_that_no_run_has_are_refused(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_books(**parts)


@pytest.mark.parametrize("name", Books().to_dict())
def test_books_without_one_of_their_fields_are_refused(name: str) -> None:
    told = Books().to_dict()
    del told[name]
    with pytest.raises(ValueError, match=f"{name} is missing"):
        Books.from_dict(told)


@pytest.mark.parametrize("key", [1999, -1999])
def test_a_bucket_at_the_limit_is_read(key: int) -> None:
    assert read_books(lateness={**histogram(1.0), "buckets": {str(key): 1}}).lateness.buckets == {key: 1}


# -- timelines -------------------------------------------------------------------------------------


def read_timeline(contact: dict[str, Any] | None = None, **values: Any) -> Timeline:
    contacts = [Contact("GetMessages", 1.0, None, 2.0, "timeout"), Contact("GetMessages", 3.0, 3.1, 3.2, "2")]
    made = Timeline("c", "dropped_late", "server", "why", 45.0, 1.5, 0.25, 0.5, {"server": 2.7}, contacts)
    if contact is not None:
        made.contacts.append(Contact(**{**contacts[1]._asdict(), **contact}))
    return TypeAdapter(schema.TimelineCell).validate_python(json.dumps({**asdict(made), **values}))


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
    assert {name: asdict(made)[name] for name in values} == values
    assert read_timeline(why=LONG + "x").why == CUT


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"timeout_s": 0}, "timeout_s is out of range"),
        ({"timeout_s": -1.0}, "timeout_s is out of range"),
        ({"timeout_s": 1e9}, "timeout_s is out of range"),
        ({"timeout_s": None}, r"timeout_s\n.*valid number"),
        ({"severity_s": "much"}, r"severity_s\n.*valid number"),
        ({"severity_s": "inf"}, r"severity_s\n.*valid number"),
        ({"timeout_s": "45"}, r"timeout_s\n.*valid number"),
        ({"sure_sent": LATEST_S + 1}, "a number is out of range"),
        ({"sure_sent": EARLIEST_S - 1}, "a number is out of range"),
        ({"sure_received": None}, r"sure_received\n.*valid number"),
        ({"chat_id": 5}, r"chat_id\n.*valid string"),
        ({"verdict": None}, r"verdict\n.*valid string"),
        ({"blame": []}, r"blame\n.*valid string"),
        ({"why": 1.5}, r"why\n.*valid string"),
        ({"worker": {}}, r"worker\n.*valid string"),
        ({"shares": {"server": "all"}}, r"shares.server\n.*valid number"),
        ({"shares": [1]}, r"shares\n.*valid dictionary"),
        ({"colour": "red"}, r"colour\n.*Unexpected"),
        ({"contact": {"operation": 5}}, r"contacts.2.0\n.*valid string"),
        ({"contact": {"outcome": None}}, r"contacts.2.4\n.*valid string"),
        ({"contact": {"due": "now"}}, r"contacts.2.1\n.*valid number"),
        ({"contact": {"due": "nan"}}, r"contacts.2.1\n.*valid number"),
        ({"contact": {"sent": "now"}}, r"contacts.2.2\n.*valid number"),
        ({"contact": {"received": None}}, r"contacts.2.3\n.*valid number"),
    ],
)
def test_a_timeline_that_is_none_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_timeline(**values)


# -- windows and incidents -------------------------------------------------------------------------

BOOKS = json.dumps(Books().to_dict())


def test_a_window_is_read() -> None:
    start, end, still, books, cpu, rss, memory = WINDOW.validate_python(
        (1.0, 1.0, 3, BOOKS, 99.5, 10**15, '{"a": 0, "b": 5}')
    )
    assert (start, end, still, cpu, rss, memory) == (1.0, 1.0, 3, 99.5, 10**15, {"a": 0, "b": 5})
    assert books.to_dict() == Books().to_dict()
    assert WINDOW.validate_python((1.0, 2.5, 3, BOOKS, None, None, "{}"))[4:] == (None, None, {})
    assert len(TypeAdapter(schema.MemoryCell).validate_python(json.dumps({str(i): i for i in range(1000)}))) == 1000


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((2.0, 1.0, 3, BOOKS, None, None, "{}"), "a window ends before its start"),
        ((1.0, 2.0, 3.5, BOOKS, None, None, "{}"), r"2\n.*valid integer"),
        ((1.0, 2.0, None, BOOKS, None, None, "{}"), r"2\n.*valid integer"),
        (("x", 2.0, 3, BOOKS, None, None, "{}"), r"0\n.*valid number"),
        ((1.0, None, 3, BOOKS, None, None, "{}"), r"1\n.*valid number"),
        ((1.0, 2.0, 3, "[]", None, None, "{}"), r"3\n.*dictionary or an instance of Books"),
        ((1.0, 2.0, 3, BOOKS, "much", None, "{}"), r"4\n.*valid number"),
        ((1.0, 2.0, 3, BOOKS, None, 1.1e18, "{}"), r"5\n.*valid integer"),
        ((1.0, 2.0, 3, BOOKS, None, 10**18 + 1, "{}"), r"5\n.*less than"),
        ((1.0, 2.0, 3, BOOKS, 1.1e18, None, "{}"), r"4\n.*less than"),
        ((1.0, 2.0, 3, BOOKS, None, None, "[1]"), r"6\n.*valid dictionary"),
        ((1.0, 2.0, 3, BOOKS, None, None, json.dumps({str(i): i for i in range(1001)})), r"6\n.*at most 1000 items"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": -1}'), r"6.a\n.*greater than or equal to 0"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": true}'), r"6.[ab]\n.*valid integer"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": 1.5}'), r"6.[ab]\n.*valid integer"),
        ((1.0, 2.0, 3, BOOKS, None, None, '{"a": 1, "b": "x"}'), r"6.[ab]\n.*valid integer"),
    ],
)
def test_a_window_that_is_none_is_refused(row: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WINDOW.validate_python(row)


def test_an_incident_is_read_cut_or_refused() -> None:
    assert INCIDENT.validate_python((5.0, "kind", LONG + "x")) == (5.0, "kind", CUT)
    for row in (("5", "kind", "what"), (5.0, None, "what"), (5.0, "kind", b"what"), (True, "kind", "what")):
        with pytest.raises(ValueError, match=r"valid number|valid string"):
            INCIDENT.validate_python(row)


# -- the file itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("CREATE VIEW v AS SELECT 1", "'v' is a view, not a table"),
        ("CREATE VIRTUAL TABLE v USING fts5(a)", "'v' is a virtual, not a table"),
        ("CREATE TABLE t (a, b AS (a + 1))", "column 'b' of t is computed"),
        ("CREATE TABLE t (a, b AS (a + 1) STORED)", "column 'b' of t is computed"),
    ],
)
def test_nothing_in_a_file_is_run(statement: str, says: str) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE run (key TEXT, value TEXT)")
        schema.guard(database)
        database.execute(statement)
        with pytest.raises(ValueError, match=says):
            schema.guard(database)
        assert database.execute("PRAGMA trusted_schema").fetchone() == (0,)
        assert database.execute("PRAGMA cell_size_check").fetchone() == (1,)
