"""Arrivals in the books and in what a run says of itself; options of the open workload."""

import pytest

from chatload.errors import UsageError
from chatload.features.report import sentences
from chatload.features.report.page import repeat_command
from chatload.features.report.summary import invalid_reasons
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.swarm.checks import check_users
from chatload.swarm.plan import make_open_workload
from chatload.swarm.snapshot import figures, rows
from tests.unit.test_live import at
from tests.unit.test_prometheus import scraped, value
from tests.unit.test_summary import make_run, nothing


def arrived(*late_s):
    books = Books()
    for one in late_s:
        books.arrived(one)
    return books


def test_arrivals_travel_merge_and_are_cut_into_windows():
    before = arrived(0.001, 0.1)
    after = Books.from_dict(before.to_dict())
    after.merge(arrived(0.1001, None, None))
    for books, counts in ((after, (5, 1, 2, 3)), (after.since(before), (3, 1, 2, 1))):
        assert (books.arrivals, books.late_starts, books.not_started, books.start_lateness.count) == counts
        assert books.balanced()


def test_books_without_an_open_workload_have_no_arrivals():
    books = Books.from_dict(Books().to_dict())
    assert (books.arrivals, books.start_lateness.count) == (0, 0) and books.balanced()


def test_an_arrival_that_is_lost_unbalances_the_books(tmp_path):
    lost = arrived(0.001, None)
    lost.arrivals += 1
    assert not lost.balanced()

    def change(writer, books):
        books.merge(lost)

    summary = make_run(tmp_path, ["completed"], change)
    assert summary["books"]["imbalances"] == ["3 arrivals, 1 started and 1 not"]


@pytest.mark.parametrize(
    "on_time, late, missing, reason",
    [
        (1000, 0, 0, None),
        (990, 10, 0, None),
        (990, 4, 6, None),
        (989, 11, 0, "of 1 000 arrivals 11 started more than 100 ms late, 0 never: not the load asked for"),
        (989, 0, 11, "of 1 000 arrivals 0 started more than 100 ms late, 11 never: not the load asked for"),
        (989, 6, 5, "of 1 000 arrivals 6 started more than 100 ms late, 5 never: not the load asked for"),
        (9, 1, 0, None),
        (9, 0, 1, None),
        (8, 2, 0, "of 10 arrivals 2 started more than 100 ms late, 0 never: not the load asked for"),
    ],
)
def test_a_run_that_did_not_put_its_load_on_the_server_is_invalid(on_time, late, missing, reason):
    books = arrived(*[0.01] * on_time, *[0.2] * late, *[None] * missing)
    assert invalid_reasons(books) == ([] if reason is None else [reason])


def test_what_a_run_says_of_its_arrivals(tmp_path):
    books = arrived(*[0.001] * 97, 0.25, None)
    said = "arrivals: 99, 1 not started, 1 late by more than 100 ms; start lateness p50 1 ms, p99"
    summary = make_run(tmp_path / "open", ["completed"], lambda writer, own: own.merge(books))
    assert sentences.arrivals(summary).startswith(said) and sentences.arrivals(summary).endswith("most 250 ms")
    closed = make_run(tmp_path / "closed", ["completed"], nothing)
    assert sentences.arrivals(closed) == "" and closed["arrivals"]["count"] == 0
    del closed["arrivals"]  # as of a run made before there were any
    assert sentences.arrivals(closed) == ""


def test_the_live_table_has_arrivals_where_there_are_any():
    def shown(books):
        return {row.figure: row.value for row in rows(figures(at(books)))}

    assert (shown(arrived(0.2, None))["late_starts"], shown(arrived(0.2, None))["not_started"]) == ("1", "1")
    assert "late_starts" not in shown(arrived(0.01))
    assert "not_started" not in shown(Books())


def test_the_metrics_have_them():
    found = scraped(at(arrived(0.002, 0.2, None)))
    totals = [value(found, f"chatload_arrivals{which}_total") for which in ("", "_late", "_not_started")]
    assert totals == [3, 1, 1]
    assert value(found, "chatload_arrival_lateness_seconds_bucket", le="0.005") == 1


class Source:
    is_source = True


class Customer:
    pass


RATE = make_open_workload(RunSettings(arrival_rate=20.0))


@pytest.mark.parametrize(
    "users, workload, message",
    [
        ([Customer], None, None),
        ([Source], RATE, None),
        ([Source, Source], RATE, None),
        ([Source], None, "no arrivals are asked for; give --arrival-rate PER_S or --arrival-profile FILE.csv"),
        ([Customer], RATE, "--arrival-rate and --arrival-profile are for locustfiles/arrivals.py"),
        ([Source, Customer], RATE, "the sources of an open workload share its rate with all users of a run"),
    ],
)
def test_users_are_what_the_options_are_about(users, workload, message):
    if message is None:
        check_users(users, workload is not None)
    else:
        with pytest.raises(UsageError, match=message):
            check_users(users, workload is not None)


def test_a_rate_and_a_profile_contradict_and_a_rate_has_no_shape(tmp_path):
    with pytest.raises(UsageError, match="contradict each other"):
        make_open_workload(RunSettings(arrival_rate=1.0, arrival_profile="day.csv"))
    with pytest.raises(UsageError, match="--arrival-compress needs --arrival-profile"):
        make_open_workload(RunSettings(arrival_rate=1.0, arrival_compress=24.0))
    assert make_open_workload(RunSettings()) is None


def test_an_open_run_s_command_repeats_its_arrivals():
    settings = RunSettings(name="arrivals", arrival_rate=20.0, max_open=500, workload="open")
    assert "--arrival-rate 20 " in repeat_command(settings).replace("\\\n ", "") + " "
    assert "locustfiles/arrivals.py" in repeat_command(settings)
    assert "--arrival" not in repeat_command(RunSettings(name="chat"))
