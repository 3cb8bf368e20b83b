"""summary.json: its schema, what makes a run invalid or unbalanced, and how it looks on a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.features.report.junit import junit
from chatload.features.report.page import write_report
from chatload.features.report.summary import exit_code, summarize
from chatload.features.report.tiles import tiles
from chatload.features.report.view import summary_document, write_outputs
from chatload.protocol.reply import Reply
from chatload.render.document import Tone
from chatload.render.markdown import markdown
from chatload.render.terminal import render
from chatload.run.books import Books
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.stats.rates import upper
from chatload.thresholds.gate import make_gate
from chatload.vocabulary import Blame, Outcome, Verdict
from tests.run_files import add_sessions, put_books
from tests.schemas import read_schema

Change = Callable[[RunWriter, Books], None]


def nothing(writer: RunWriter, books: Books) -> None:
    pass


def make_run(
    folder: Path, verdicts: list[str], change: Change = nothing, finish: bool = True, timeout: Any = 45.0
) -> dict[str, Any]:
    books = Books()
    with RunWriter.create(folder, RunSettings(name="mine", flex_disconnect_timeout=timeout), 1000.0) as writer:
        for i, verdict in enumerate(verdicts):
            blame = "server" if verdict == "dropped_late" else ""
            record = SessionRecord(f"c{i}", verdict, blame, goodbye_confirmed=i % 2 == 0)
            books.started += 1
            books.session_ended(record)
            add_sessions(writer, [record])
            for outcome, latency in ((Outcome.FINE, 0.1), (Outcome.UNSUCCESSFUL, 0.3)):
                books.sent["GetMessages"] += 1
                books.request_ended("GetMessages", Exchange(0, 1, 1 + latency, Reply(outcome)))
        books.gap.add(20.0)
        books.gap.add(44.0)
        books.lateness.add(0.002)
        change(writer, books)
        put_books(writer, "w1", books)
        if finish:
            writer.finish(1300.0)
    return write_outputs(folder)


def shown(summary: dict[str, Any], width: int = 80) -> str:
    stream = io.StringIO()
    render(summary_document(summary), stream, width)
    return stream.getvalue()


def test_a_real_summary_satisfies_the_published_schema(tmp_path: Path) -> None:
    published = read_schema("report", "summary")
    jsonschema.Draft202012Validator.check_schema(published)
    empty = make_run(tmp_path / "empty", [], timeout=None)
    full = make_run(tmp_path / "full", list(Verdict), lambda w, _: w.incident("worker_lost", "w2"))
    for summary in (empty, full):
        jsonschema.validate(summary, published)
    assert json.loads((tmp_path / "full" / "summary.json").read_text()) == full


def test_the_outputs_are_written_beside_the_run(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed"])
    assert (tmp_path / "junit.xml").read_text() == junit(summary)
    assert (tmp_path / "summary.md").read_text() == markdown(summary_document(summary))


def _objects(schema: dict[str, Any], value: Any, root: dict[str, Any], path: str = "") -> None:
    """Every key of the summary is in the schema, and the other way round."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "properties" in schema:
        assert set(schema["properties"]) == set(value) == set(schema["required"]), path
        for key, sub in schema["properties"].items():
            _objects(sub, value[key], root, f"{path}.{key}")


def test_schema_and_summary_name_the_same_keys(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed"])
    _objects(read_schema("report", "summary"), summary, read_schema("report", "summary"))
    operation = read_schema("report", "summary")["$defs"]["operation"]
    _objects(operation, summary["requests"]["by_operation"]["GetMessages"], read_schema("report", "summary"))


def test_the_schema_refuses_a_renamed_key(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed"])
    summary["sessions"]["by_verdict"]["done"] = summary["sessions"]["by_verdict"].pop("completed")
    with pytest.raises(jsonschema.ValidationError, match="completed"):
        jsonschema.validate(summary, read_schema("report", "summary"))


def test_the_numbers(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed", "completed", "cut_off", "cut_off", "dropped_late"])
    assert summary["sessions"]["started"] == 5
    assert summary["sessions"]["by_verdict"] == {
        **{v.value: 0 for v in Verdict},
        "completed": 2,
        "cut_off": 2,
        "dropped_late": 1,
    }
    assert summary["sessions"]["dropped_late_by_blame"] == {**{b.value: 0 for b in Blame}, "server": 1}
    assert summary["sessions"]["cut_off_confirmed"] == 1
    refreshes = summary["requests"]["by_operation"]["GetMessages"]
    assert refreshes["by_outcome"] == {**{o.value: 0 for o in Outcome}, "0/false": 5, "1/false": 5}
    assert refreshes["latency_s"]["max"] == pytest.approx(0.3)
    assert summary["refresh"]["gap_s"]["p50"] == 44.0
    # The last silence of the chat that was dropped: nobody knows how long it was.
    assert (summary["refresh"]["gap_s"]["max"], summary["refresh"]["gap_s"]["over"]["max"]) == (None, 44.0)
    assert (summary["refresh"]["margin_s"]["min"], summary["refresh"]["margin_s"]["under"]["min"]) == (None, 1.0)
    assert summary["refresh"]["margin_s"]["p50"] == pytest.approx(1.0)
    assert (summary["valid"], summary["books"]["balanced"], exit_code(summary)) == (True, True, 0)


def test_without_a_timeout_there_is_no_margin(tmp_path: Path) -> None:
    assert make_run(tmp_path, ["completed"], timeout=None)["refresh"]["margin_s"]["min"] is None


def suspect(n: int) -> Change:
    return lambda _, books: setattr(books, "suspects", n)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (suspect(1), "the generator's own lateness could have caused 1 drop"),
        (suspect(7), "the generator's own lateness could have caused 7 drops"),
        (lambda _, books: setattr(books, "cpu_saturated", 1), "generator CPU was saturated"),
    ],
)
def test_an_invalid_run_says_so_first(tmp_path: Path, change: Change, reason: str) -> None:
    summary = make_run(tmp_path, ["completed"], change)
    assert (summary["valid"], summary["invalid_reasons"]) == (False, [reason])
    assert summary["books"]["balanced"] is True
    assert exit_code(summary) == 3
    assert shown(summary).startswith(f"INVALID: {reason}\n")


@pytest.mark.parametrize(
    ("change", "imbalance"),
    [
        (lambda _, b: setattr(b, "started", 4), "4 sessions started, 3 ended"),
        (lambda _, b: b.sent.update(["GetMessages"]), "GetMessages: 7 requests sent, 6 outcomes"),
        (lambda _, b: b.sent.update(["Disconnect"]), "Disconnect: 1 requests sent, 0 outcomes"),
        (
            lambda w, _: add_sessions(w, [SessionRecord("x", "failed")]),
            "failed: 0 sessions in the books, 1 session rows",
        ),
        (lambda w, _: w.incident("worker_lost", "w9 died"), "worker_lost: w9 died"),
    ],
)
def test_books_that_do_not_balance_say_so_first(tmp_path: Path, change: Change, imbalance: str) -> None:
    summary = make_run(tmp_path, ["completed"] * 3, change)
    assert summary["books"]["balanced"] is False
    assert imbalance in summary["books"]["imbalances"]
    assert summary["valid"] is True
    assert exit_code(summary) == 3
    text = " ".join(shown(summary).split())
    assert text.startswith("INVALID: the books do not balance: ") and imbalance in text
    assert "books balance:" not in shown(summary)


def test_no_figure_of_a_run_that_cannot_be_trusted_is_called_good(tmp_path: Path) -> None:
    def one_more(_: RunWriter, books: Books) -> None:
        books.started += 1

    good = {tile.label for tile in tiles(make_run(tmp_path / "fine", ["completed"] * 3)) if tile.tone is Tone.GOOD}
    assert {"dropped", "served"} <= good
    assert not any(tile.tone is Tone.GOOD for tile in tiles(make_run(tmp_path / "off", ["completed"] * 3, one_more)))


def test_one_process_s_surplus_does_not_make_up_for_another_s_lack(tmp_path: Path) -> None:
    def other(writer: RunWriter, books: Books) -> None:
        books.started += 1
        second = Books()
        second.verdicts["completed"] = 1
        add_sessions(writer, [SessionRecord("x", "completed")])
        put_books(writer, "w2", second)

    summary = make_run(tmp_path, ["completed"], other)
    assert summary["books"]["sessions_started"] == summary["books"]["sessions_ended"] == 2
    assert summary["books"]["imbalances"] == [
        "w1: 2 sessions started, 1 ended",
        "w2: 0 sessions started, 1 ended",
    ]


def test_a_run_that_was_never_finished_does_not_balance(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed"], finish=False)
    assert summary["ended_at"] is None
    assert summary["books"]["imbalances"] == ["the run was never finished: what came after its last write is missing"]


def test_other_incidents_do_not_unbalance(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed"], lambda w, _: w.incident("note", "disk was slow"))
    assert summary["books"]["balanced"] is True
    assert "note: disk was slow" in shown(summary)


def test_zero_drops_are_a_bound_and_the_books_are_shown(tmp_path: Path) -> None:
    text = shown(make_run(tmp_path, ["completed"] * 200))
    assert text.startswith("NOT JUDGED: none of 200 sessions was dropped: under 1.49 % with 95 % confidence\n")
    assert "200 sessions started = 200 ended; 400 requests sent = 400 outcomes" in " ".join(text.split())
    assert "\x1b" not in text
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())


def test_refused_sessions_prove_nothing_about_refreshes(tmp_path: Path) -> None:
    assert shown(make_run(tmp_path, ["refused"] * 190 + ["completed"] * 10)).startswith(
        "NOT JUDGED: none of 10 accepted sessions was dropped: under 25.9 %"
    )


def test_drops_are_shown_with_their_blame(tmp_path: Path) -> None:
    text = shown(make_run(tmp_path, ["completed"] * 8 + ["dropped_late", "dropped_unproven"]))
    assert " ".join(text.split()).startswith(
        "NOT JUDGED: 1 of 10 sessions was dropped because a refresh came too late (10.0 %); 1 more may have been"
    )
    assert "blame" in text and "server" in text and "the blame is not certain" not in text


@pytest.mark.parametrize("other", ["dropped_early", "failed"])
def test_the_blame_is_not_certain_where_the_timeout_may_be_shorter(tmp_path: Path, other: str) -> None:
    text = " ".join(shown(make_run(tmp_path, ["dropped_late", other])).split())
    assert "1 session ended for a reason that lateness does not explain" in text and "the blame is not certain" in text


@pytest.mark.parametrize("n", [1, 3, 59, 208, 300, 12345])
def test_the_bound_shown_is_never_below_the_bound(tmp_path: Path, n: int) -> None:
    assert (1 - upper(0, n)) ** n == pytest.approx(0.05)
    summary = make_run(tmp_path, ["completed"])
    summary["rates"]["dropped"].update(of=n, high=upper(0, n))
    head = shown(summary).splitlines()[0]
    assert float(head.split("under ")[1].split(" %")[0]) >= 100 * upper(0, n)


def refusals(folder: Path, *thresholds: str, allow_inconclusive: bool = False) -> dict[str, Any]:
    """A run of 29 sessions, none accepted, one more than half of them for one reason."""
    gate = make_gate(thresholds, allow_inconclusive=allow_inconclusive)
    whys = ["RequestChat: no capacity"] * 15 + ["RequestChat: no such service"] * 14
    books = Books()
    with RunWriter.create(folder, RunSettings(name="mine", flex_disconnect_timeout=45.0), 1000.0) as writer:
        for why in whys:
            record = SessionRecord("", "refused", why=why)
            books.started += 1
            books.session_ended(record)
            add_sessions(writer, [record])
        put_books(writer, "w1", books)
        writer.finish(1300.0)
    return write_outputs(folder, gate)


NOTHING = "29 sessions started, none accepted (29 refused); most often: RequestChat: no capacity (15)"


@pytest.mark.parametrize(
    ("thresholds", "allow", "result", "code"),
    [
        ((), False, "nothing tested", 4),
        ((), True, "nothing tested", 4),
        (("dropped_late.rate < 5%",), False, "nothing tested", 4),
        (("dropped_late.rate < 5%",), True, "nothing tested", 4),
        (("sessions.count > 10",), False, "nothing tested", 4),
        (("refused.rate < 5%", "dropped_late.rate < 5%"), True, "failed", 1),
    ],
)
def test_a_run_without_an_accepted_session_tested_nothing(
    tmp_path: Path, thresholds: tuple[str, ...], allow: bool, result: str, code: int
) -> None:
    summary = refusals(tmp_path, *thresholds, allow_inconclusive=allow)
    jsonschema.validate(summary, read_schema("report", "summary"))
    assert (summary["result"], exit_code(summary)) == (result, code)
    assert summary["sessions"]["accepted"] == 0
    assert summary["sessions"]["not_accepted"][0] == {
        "verdict": "refused",
        "why": "RequestChat: no capacity",
        "sessions": 15,
    }
    text = " ".join(shown(summary).split())
    assert text.startswith(f"NOTHING TESTED: {NOTHING}") or f"nothing was tested: {NOTHING}" in text
    assert text.startswith("NOTHING TESTED") == (result == "nothing tested")
    assert "too late" not in text and "was dropped" not in text


def test_sessions_that_the_end_of_the_run_cut_off_are_no_reason_while_there_is_another(tmp_path: Path) -> None:
    def unanswered(writer: RunWriter, books: Books) -> None:
        for verdict, why in (
            ("cut_off", "the run was stopped"),
            ("cut_off", "the run was stopped"),
            ("gave_up", "dead"),
        ):
            record = SessionRecord("", verdict, why=why)
            books.started += 1
            books.session_ended(record)
            add_sessions(writer, [record])

    summary = make_run(tmp_path / "run", [], unanswered)
    assert [reason["why"] for reason in summary["sessions"]["not_accepted"]] == ["dead", "the run was stopped"]


def test_a_session_that_gave_up_before_it_had_a_chat_id_is_not_accepted(tmp_path: Path) -> None:
    def unanswered(writer: RunWriter, books: Books) -> None:
        for verdict in ("gave_up", "cut_off"):
            record = SessionRecord("", verdict, why="RequestChat: no answer")
            books.started += 1
            books.session_ended(record)
            add_sessions(writer, [record])

    summary = make_run(tmp_path / "a", [], unanswered)
    assert (summary["result"], exit_code(summary)) == ("nothing tested", 4)
    assert "none accepted (1 gave_up, 1 cut_off); most often" in " ".join(shown(summary).split())
    summary = make_run(tmp_path / "b", ["completed"], unanswered)
    assert (summary["result"], summary["sessions"]["accepted"]) == ("not judged", 1)
    assert shown(summary).startswith("NOT JUDGED: none of 1 accepted sessions was dropped")


def test_a_run_without_thresholds_is_not_judged(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed"] * 20)
    assert (summary["result"], exit_code(summary)) == ("not judged", 0)
    text = shown(summary)
    assert text.startswith("NOT JUDGED: ") and "\nno threshold was set. " in text
    assert "passed" not in text.lower()


def test_a_run_ended_by_a_signal_says_after_how_much_of_its_time(tmp_path: Path) -> None:
    summary = make_run(tmp_path, ["completed"], lambda w, _: w.incident("interrupted", "SIGINT", 1003.2))
    assert summary["end"] == {"by": "interrupted", "after_s": 3.2, "planned_s": None}
    assert "interrupted after 3.2 s: " in shown(summary)
    assert (summary["result"], exit_code(summary)) == ("not judged", 0)


@pytest.mark.parametrize(
    ("verdicts", "first"),
    [
        (["dropped_late"] * 3 + ["completed"], "3 of 4 sessions were dropped because a refresh came too late (75.0 %)"),
        (
            ["dropped_early"] * 3 + ["completed"],
            "3 of 4 sessions were dropped by the server though every refresh was in time (75.0 %)",
        ),
        (
            ["dropped_late", "dropped_early", "dropped_early", "completed", "dropped_unproven"],
            "3 of 5 sessions were dropped (60.0 %): 1 because a refresh came too late, 2 though every refresh was in "
            "time; 1 more may have been",
        ),
        (["dropped_unproven", "completed"], "no drop is proven in 2 sessions, but 1 may have been dropped"),
    ],
)
def test_the_headline_is_about_all_drops(tmp_path: Path, verdicts: list[str], first: str) -> None:
    assert " ".join(shown(make_run(tmp_path, verdicts)).split()).startswith(f"NOT JUDGED: {first} mine, 1970")


def dropped_after(lower: float | None, upper: float | None, found: float, n: int) -> Change:
    """Adds n early drops by a server whose clock says after which silence (seconds) it ended them."""

    def change(writer: RunWriter, books: Books) -> None:
        for i in range(n):
            record = SessionRecord(f"d{i}", "dropped_early", gap_lower_s=found, gap_upper_s=found + 0.1)
            record.end_silence_lower_s, record.end_silence_upper_s = lower, upper
            books.started += 1
            books.session_ended(record)
            add_sessions(writer, [record])

    return change


def test_one_common_silence_is_said_and_accuses_the_timeout(tmp_path: Path) -> None:
    summary = make_run(tmp_path, [], dropped_after(6.0, 6.02, 11.99, 80))
    jsonschema.validate(summary, read_schema("report", "summary"))
    assert summary["sessions"]["common_silence"] == {
        **{"sessions": 80, "dropped": 80, "lower_s": 6.0, "upper_s": 6.02, "timeout_s": 45.0},
    }
    said = (
        "80 of 80 sessions were dropped by the server (100 %), all about 6 s after the last answered request. "
        "The timeout of 45 s is probably wrong: run `chatload probe`"
    )
    text = " ".join(shown(summary).split())
    assert text.startswith(f"NOT JUDGED: {said}")
    # 6.0 and 6.02 s have different texts; 6.0 and 6.002 s have the same one.
    assert "ended 80 of 80 dropped sessions 6 to 6.02 s after their last" in text
    summary["sessions"]["common_silence"]["upper_s"] = 6.002
    assert "ended 80 of 80 dropped sessions about 6 s after their last" in " ".join(shown(summary).split())


# -- exposure ----------------------------------------------------------------------------------------


def make_timed_run(folder: Path, *groups: tuple[int, str, float]) -> dict[str, Any]:
    """A run of so many sessions with a verdict, each open for so long (seconds)."""
    books = Books()
    with RunWriter.create(folder, RunSettings(name="mine", flex_disconnect_timeout=45.0), 1000.0) as writer:
        for count, verdict, alive_s in groups:
            for _ in range(count):
                record = SessionRecord(
                    "c", verdict, accepted_at=1000.0, alive_s=alive_s, ended_at=1000.0 + alive_s, goodbye_confirmed=True
                )
                books.started += 1
                books.session_ended(record)
                add_sessions(writer, [record])
        put_books(writer, "w1", books)
        writer.finish(2000.0)
    return write_outputs(folder)


def test_the_headline_has_sessions_and_chat_hours(tmp_path: Path) -> None:
    # 200 chats of 8 minutes are 26.7 hours. By hand: 2.9957 / 26.667 = 0.1123.
    summary = make_timed_run(tmp_path, (200, "completed", 480.0))
    jsonschema.validate(summary, read_schema("report", "summary"))
    text = " ".join(shown(summary).split())
    assert text.startswith(
        "NOT JUDGED: none of 200 sessions was dropped in 26.7 chat-hours: under 1.49 % and under 0.113 per chat-hour, "
        "each with 95 % confidence "
    )
    assert summary["exposure"]["chat_hours"] == pytest.approx(200 * 480 / 3600)
    assert summary["exposure"]["dropped_per_chat_hour"]["high"] == pytest.approx(0.11234, abs=1e-5)
    assert not summary["exposure"]["censored"] and "cut off" not in text
    assert "drops per chat-hour: 0 (0 in 26.7 chat-hours), bounds 0 to 0.113" in text
    assert "dropped before the age of 8 min: 0 % of chats, bounds 0 % to 1.49 %, each with 95 %" in text
    assert [point["age_s"] for point in summary["dropped_by_age"]] == [30.0 * i for i in range(1, 17)]
    assert summary["dropped_by_age"][-1] == {
        "age_s": 480.0, "at_risk": 200, "least": 0, "most": 0, "rate": 0.0, "low": 0.0,
        "high": pytest.approx(upper(0, 200)),
    }  # fmt: skip


def test_a_short_run_says_that_its_rates_per_session_are_censored(tmp_path: Path) -> None:
    summary = make_timed_run(tmp_path, (60, "cut_off", 200.0), (40, "completed", 480.0))
    text = " ".join(shown(summary).split())
    assert text.startswith(
        "NOT JUDGED: none of 100 sessions was dropped in 8.67 chat-hours: under 0.346 per chat-hour with"
    )
    assert "60.0 % of the accepted sessions were cut off by the end of the run" in text
    assert "rates per session are too low for whole chats" in text
    # The upper bound is that of the 60 that were seen to their end.
    some = make_timed_run(tmp_path / "some", (40, "cut_off", 200.0), (60, "completed", 480.0))
    assert "none of 100 sessions was dropped in 10.2 chat-hours: under 4.88 % and" in " ".join(shown(some).split())
    assert (some["rates"]["dropped"]["of"], some["rates"]["dropped"]["open"]) == (100, 40)
    enough = make_timed_run(tmp_path / "enough", (10, "cut_off", 200.0), (90, "completed", 480.0))
    assert (enough["exposure"]["cut_off_share"], enough["exposure"]["censored"]) == (0.1, False)


def test_a_run_of_which_all_chats_were_cut_off_has_a_report_that_claims_nothing(tmp_path: Path) -> None:
    make_timed_run(tmp_path, (300, "cut_off", 90.0))
    gate = make_gate([], named="standard")
    with RunReader.open(tmp_path) as reader:
        summary = summarize(reader, gate)
        page = write_report(reader, summary).read_text()
    assert summary["result"] == "inconclusive" and summary["rates"]["completed"]["rate"] is None
    assert "cut off 300 of the 300" in page
    dropped = next(each for each in summary["thresholds"] if each["metric"] == "dropped.rate")
    assert dropped["result"] == "inconclusive" and "the end of the run cut off 300 of the 300" in dropped["why"]


def test_drops_are_counted_per_chat_hour_and_by_age(tmp_path: Path) -> None:
    summary = make_timed_run(tmp_path, (2, "dropped_late", 100.0), (1, "gave_up", 50.0), (97, "completed", 480.0))
    text = " ".join(shown(summary).split())
    assert (
        "2 of 100 sessions were dropped because a refresh came too late (2.0 %), in 13 chat-hours; 1 more may" in text
    )
    # The two drops came at once.
    assert "drops per chat-hour: 0.23 (2 to 3 in 13 chat-hours), bounds 0.00788 to 0.852" in text
    by_age = {point["age_s"]: (point["least"], point["most"], point["at_risk"]) for point in summary["dropped_by_age"]}
    assert (by_age[30.0], by_age[60.0], by_age[480.0]) == ((0, 0, 100), (0, 1, 99), (2, 3, 97))


def test_without_an_accepted_session_there_is_no_exposure(tmp_path: Path) -> None:
    summary = make_run(tmp_path, [])
    assert summary["dropped_by_age"] == []
    assert summary["exposure"]["chat_hours"] == 0
    assert summary["exposure"]["dropped_per_chat_hour"]["high"] is None
