"""The figures of a running run: equal to the summary's, their rates exact, the same as table and CSV."""

import csv
import io
import json

import pytest

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.features.report.summary import rate
from chatload.features.report.view import write_outputs
from chatload.protocol.reply import Reply
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.swarm.snapshot import RunSnapshot, figures, rows, to_csv
from chatload.thresholds.metrics import Facts
from chatload.vocabulary import Outcome
from tests.run_files import add_sessions, put_books


def ended(**by_verdict):
    """Books in which so many sessions ended in each way."""
    books = Books()
    for verdict, n in by_verdict.items():
        for _ in range(n):
            books.started += 1
            books.session_ended(SessionRecord("c", verdict, "network" if verdict == "dropped_late" else ""))
    return books


def busy():
    books = ended(completed=7, dropped_late=2, dropped_unproven=1, cut_off=2)
    books.started += 3
    books.state_changed("", "held")
    books.state_changed("", "held")
    books.state_changed("", "retrying")
    for outcome in (Outcome.FINE, Outcome.FINE, Outcome.UNSUCCESSFUL):
        books.sent["GetMessages"] += 1
        books.request_ended("GetMessages", Exchange(0, 1, 1.25, Reply(outcome)))
    books.sent["RequestChat"] += 1
    books.gap.add(20.0)
    books.gap.add(44.0)
    books.lateness.add(0.002)
    books.stall(0.4)
    return books


def at(books, phase="running", confirmed=2):
    return RunSnapshot(phase, Facts(books, 45.0, confirmed), 12.5, 3, "mine")


def test_what_summary_json_has_too_is_equal(tmp_path):
    books = ended(completed=3, dropped_late=2, cut_off=1)
    books.gap.add(44.0)
    books.lateness.add(0.002)
    books.exposure_s = 7200.0
    with RunWriter.create(tmp_path, RunSettings(name="mine", flex_disconnect_timeout=45.0), 1000.0) as writer:
        add_sessions(
            writer,
            # The drops come one by one: only a finished run looks for incidents.
            [
                SessionRecord(f"c{i}", v, ended_at=1000.0 + 59 * i)
                for i, v in enumerate(["completed"] * 3 + ["dropped_late"] * 2)
            ]
            + [SessionRecord("c5", "cut_off", goodbye_confirmed=True)],
        )
        put_books(writer, "w1", books)
        writer.finish(1300.0)
    summary = write_outputs(tmp_path)
    found = figures(RunSnapshot("ended", Facts(books, 45.0, 1), 300.0, 1))
    assert found["exposure"]["chat_hours"] == 2.0
    for key in ("exposure", "requests", "refresh", "arrivals", "generator"):
        assert found[key] == summary[key]
    both = found["sessions"].keys() & summary["sessions"].keys()
    assert {"started", "by_verdict", "dropped_late_by_blame", "unserved_by_verdict", "cut_off_confirmed"} == both
    assert {key: found["sessions"][key] for key in both} == {key: summary["sessions"][key] for key in both}
    assert {key: summary["books"][key] for key in found["books"]} == found["books"]
    assert summary["books"]["balanced"]


def test_open_sessions_are_those_in_a_state():
    found = figures(at(busy()))["sessions"]
    assert found["by_state"] == {"opening": 0, "held": 2, "retrying": 1, "leaving": 0}
    assert (found["started"], found["ended"], found["open"]) == (15, 12, 3)


@pytest.mark.parametrize(
    ("by_verdict", "confirmed", "of", "seen", "low", "high"),
    [
        ({}, 0, 0, None, None, None),
        # Clopper-Pearson, one-sided: 1 - 0.05 ** (1/100)
        ({"completed": 100}, 0, 100, 0.0, 0.0, 0.0295130),
        # 3 of 100: R's binom.test(3, 100, alternative = "less" and "greater")$conf.int
        ({"completed": 97, "dropped_late": 3}, 0, 100, 0.03, 0.00822583, 0.07571079),
        # 3 surely and 5 possibly of 100: the lower bound of 3, the upper of 5
        ({"completed": 95, "dropped_late": 3, "dropped_unproven": 2}, 0, 100, 0.03, 0.00822583, 0.1022534),
        # Refused never began; a goodbye that was not confirmed says nothing.
        ({"completed": 97, "dropped_late": 3, "refused": 9, "cut_off": 5}, 0, 100, 0.03, 0.00822583, 0.07571079),
        # Of chats that were cut off, the lower bound counts those with a confirmed goodbye, the upper bound none: 3 of
        # 100, and 3 of 93.
        ({"completed": 90, "dropped_late": 3, "cut_off": 9}, 7, 100, 0.03, 0.00822583, 0.08126316),
        ({"cut_off": 5}, 0, 0, None, None, None),
    ],
)
def test_drop_rate_and_its_interval(by_verdict, confirmed, of, seen, low, high):
    found = rate("dropped_late", Facts(ended(**by_verdict), 45.0, confirmed))
    assert found["of"] == of
    assert found["rate"] == (None if seen is None else pytest.approx(seen))
    assert (found["low"], found["high"]) == (
        (None, None) if low is None else (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    )


def cells(snapshot):
    """(area, figure) -> (value, note)."""
    return {(row.area, row.figure): (row.value, row.note) for row in rows(figures(snapshot))}


def test_the_table_has_drops_per_chat_hour():
    books = busy()
    assert ("drop rate", "dropped per chat-hour") not in cells(at(books))
    books.session_accepted(0.0)
    books.count_exposure(7200.0)
    value, note = cells(at(books))["drop rate", "dropped per chat-hour"]
    # 2 are proven and 3 possible in 2 hours. By hand: 0.3554 / 2 and 7.7537 / 2.
    assert (value, note) == ("1.5", "0.177 to 3.88 (one-sided 95 % bounds if drops are independent), in 2 chat-hours")


def test_the_table_says_what_the_figures_say():
    found = cells(at(busy()))
    assert found["open, by state", "retrying"][0] == "1"
    assert found["drop rate", "dropped_late"][0] == "16.7 %"
    assert "2 proven, 3 possible, of 12 sessions" in found["drop rate", "dropped_late"][1]
    assert found["ended, by verdict", "cut_off"] == ("2", "16.7 %; 2 with goodbye confirmed")
    assert found["dropped_late, by blame", "network"][0] == "2"
    assert found["margin", "min"][0] == "under 1 s"
    assert found["lateness", "max"][0] == "2 ms"
    assert found["generator", "stalls"] == ("1", "400 ms in all, longest 400 ms")
    assert found["requests sent", "GetMessages"][0] == "3"
    assert found["books", "sessions"] == ("15", "= 12 ended + 3 open")
    assert found["books", "requests"] == ("4", "= 3 outcomes + 1 under way")
    ended = {verdict for area, verdict in found if area == "ended, by verdict"}
    assert ended == {"completed", "dropped_late", "dropped_unproven", "cut_off"}, "no row for a count of 0"
    assert {state for area, state in found if area == "open, by state"} == {"held", "retrying"}


def test_before_any_run_no_row_says_anything():
    assert rows(figures(RunSnapshot("ready", Facts(Books())))) == []


def test_figures_are_json_and_csv():
    found = json.loads(json.dumps(figures(at(busy())), allow_nan=False))
    lines = dict(list(csv.reader(io.StringIO(to_csv(found))))[1:])
    assert lines["sessions.by_verdict.dropped_late"] == "2"
    assert (lines["refresh.margin_s.min"], lines["refresh.margin_s.under.min"]) == ("", "1.0")
    assert lines["requests.by_operation.RequestChat.latency_s.max"] == ""
