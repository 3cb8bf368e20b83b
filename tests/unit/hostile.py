"""Run files made to do harm: what is read of them must be taken for text, or refused."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from chatload.chat.record import Contact, SessionRecord, Timeline
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, add_timelines, put_books

#: Sets document.title, by every way a page could be made to run it.
SCRIPT = (
    "</style></title></text></svg></script><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">\"'><svg onload=\"document.title='owned'\">"
    "{{7*7}}${7*7}<a href=\"javascript:document.title='owned'\">x</a>"
)
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\x00\r\n\t"
FORMULAS = ("=cmd|' /C calc'!A0", "+1+cmd", "-2+3+cmd|x", "@SUM(1)", "\t=1+1", "\r=1+1", "＝1+1", "x;=1+1", "a\n=1+1")
WORDS = (SCRIPT, ESCAPES, *FORMULAS, "x" * 10 * 2**20, "$(touch /tmp/owned)`id`; rm -rf ~ #", "-fevil.py")


def make(folder, words=WORDS, **settings):
    """A run of which every text is one of the words, the rest as it should be."""
    books = Books()
    books.started = len(words)
    for word in words:
        operation = word[:500]
        books.sent[operation] = 3
        books.outcomes[operation] = books.sent.__class__({"0/false": 3})
        books.verdicts["dropped_late"] += 1
    books.blames["server"] = len(words)
    for histogram in (books.lateness, books.gap):
        histogram.add(0.5)
    run = RunSettings(
        name=words[0], host=words[0], flex_disconnect_timeout=45.0, users=5, run_time=60.0, script=words[-1],
        dialect=words[0], service=words[-2], persona=words[0], transport=words[-1], script_text=words[1],
        thresholds=("dropped_late.rate < 0.1%",),
    )  # fmt: skip
    with RunWriter.create(folder, replace(run, **settings), 1000.0) as writer:
        for i, word in enumerate(words):
            cut, shares = word[: 2**17], {word[:900]: 40.0}
            record = SessionRecord(word, "dropped_late", cut, cut, 1001.0, 1100.0 + i, learned_by=cut, worker=cut)
            record.user_class = cut
            add_sessions(writer, [record])
            contacts = [
                Contact(word[:500], 1001.0, 1001.0, 1001.1, "0/false"),
                Contact(word, 1050.0, 1050.0, 1050.1, word[:500]),
                Contact("GetMessages", 1060.0, 1060.0, 1060.1, "2"),
            ]
            severity_s = 3.0 + i
            line = Timeline(
                *(cut, "dropped_late", cut, cut, 45.0, severity_s, 1001.0, 1001.1, shares, contacts, cut, cut)
            )
            add_timelines(writer, [line])
            writer.incident(cut, cut)
            put_books(writer, f"{i}{cut}", books if i == 0 else Books())
            put_books(writer, f"{i}{cut}", Books(), cut)
        spans = [(1000.0 + i, 1001.0 + i) for i in range(5)]
        by_class = {word[: 2**17]: Books() for word in words}
        by_class[words[0][: 2**17]] = books
        writer.add_windows(
            [
                Window(*span, 3, books, by_class={name: Window(*span, 3, own) for name, own in by_class.items()})
                for span in spans
            ]
        )
        writer.finish(1200.0)
    return folder


def altered(folder, *statements):
    """A good small run, on which SQL has been let loose."""
    make(folder, ("a", "b"))
    with sqlite3.connect(folder / "run.sqlite") as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return folder


def with_books(old, new):
    """SQL that puts books with something replaced in the place of good ones."""
    return f"UPDATE books SET data = '{_BOOKS.replace(old, new)}'"


def with_fact(key, text):
    """SQL that puts a text where JSON is expected."""
    return f"INSERT OR REPLACE INTO run VALUES ('{key}', '{text}')"


_BOOKS = json.dumps(Books().to_dict())
_ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
#: Name -> SQL; each makes of a good run one that no chatload has written.
ALTERATIONS = {
    "endless view for a table": (
        "DROP TABLE sessions",
        f"CREATE VIEW sessions AS {_ENDLESS} SELECT x AS chat_id, x AS verdict FROM c",
    ),
    "endless view for a fact": ("DROP TABLE run", f"CREATE VIEW run AS {_ENDLESS} SELECT x AS key, x AS value FROM c"),
    "computed column": (
        "ALTER TABLE incidents ADD COLUMN boom TEXT GENERATED ALWAYS AS (hex(zeroblob(500000000))) VIRTUAL",
    ),
    "virtual table": ("DROP TABLE incidents", "CREATE VIRTUAL TABLE incidents USING fts5(at, kind, what)"),
    "text for a number": ("UPDATE sessions SET started_at = '<script>'",),
    "bytes for a text": ("UPDATE sessions SET verdict = x'00ff'",),
    "no number": ("UPDATE sessions SET ended_at = 9e999",),
    "a year that no calendar has": ("UPDATE sessions SET ended_at = 1e18",),
    "a cell out of proportion": ("UPDATE sessions SET why = hex(zeroblob(20000000))",),
    "nothing for a verdict": (
        "ALTER TABLE sessions RENAME TO s",
        "CREATE TABLE sessions AS SELECT * FROM s",
        "UPDATE sessions SET verdict = NULL",
    ),
    "windows of a class that end before they begin": ('UPDATE class_windows SET start = "end" + 1',),
    "books of a class that are none": ("UPDATE class_windows SET books = '[]'",),
    "view for the windows of a class": (
        "DROP TABLE class_windows",
        f"CREATE VIEW class_windows AS {_ENDLESS} SELECT x AS user_class, x AS start FROM c",
    ),
    "settings that are a list": (with_fact("settings", "[]"),),
    "settings that are not JSON": (with_fact("settings", "{"),),
    "settings nested too deep": (with_fact("settings", "[" * 100_000),),
    "settings nested deep": (with_fact("settings", "{\"a\":" * 50 + "1" + "}" * 50),),
    "thresholds that are no list": (with_fact("settings", '{"thresholds": 5}'),),
    "a threshold that is none": (with_fact("settings", '{"thresholds": ["; rm -rf"]}'),),
    "confidence that is a text": (with_fact("settings", '{"confidence": "high"}'),),
    "a start that is a text": (with_fact("started_at", '"<b>"'),),
    "a start with 5000 digits": (with_fact("started_at", "9" * 5000),),
    "a start that never was": (with_fact("started_at", "1e999"),),
    "books that are a list": ("UPDATE books SET data = '[]'",),
    "books of text": (with_books('"started": 0', '"started": "<script>"'),),
    "a table for a count": (with_books('"suspects": 0', '"suspects": {}'),),
    "a table for a count in a table": (with_books('"verdicts": {}', '"verdicts": {"completed": {}}'),),
    "books below 0": (with_books('"started": 0', '"started": -1'),),
    "a histogram that does not add up": (with_books('"count": 0', '"count": 9'),),
    "windows of text": ("UPDATE windows SET start = 'x'",),
    "windows backwards": ('UPDATE windows SET "end" = start - 5',),
    "memory of text": ("UPDATE windows SET memory = '{\"master\": \"much\"}'",),
    "memory of nobody": ("UPDATE windows SET memory = '[1]'",),
    "a timeline without contacts": ("UPDATE timelines SET data = '{}'",),
    "a timeline of text": ("UPDATE timelines SET data = replace(data, '45.0', '\"x\"')",),
    "an incident of bytes": ("UPDATE incidents SET what = x'1b'",),
    "a table less": ("DROP TABLE books",),
    "a column less": ("ALTER TABLE sessions DROP COLUMN why",),
}  # fmt: skip
