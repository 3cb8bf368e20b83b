"""The web UI's page of a run: what it says so far, and that it says at the end what summary.json says."""

import json
from dataclasses import asdict

from chatload.chat.effects import Exchange
from chatload.features.report.view import write_outputs
from chatload.protocol.reply import Reply
from chatload.run.books import Books, RunBooks
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from chatload.swarm.live_page import ClassState, SwarmSize, live_page
from chatload.swarm.series import LiveSeries
from chatload.swarm.snapshot import RunSnapshot, figures, to_csv
from chatload.thresholds.gate import make_gate
from chatload.thresholds.metrics import Facts
from chatload.vocabulary import Outcome, RunPhase
from tests.run_files import add_sessions, put_books
from tests.unit.test_live import SessionRecord, busy, ended


def tiles(page):
    return {tile.label: tile for tile in page.tiles}


def states(page):
    return {threshold.expression: threshold for threshold in page.thresholds}


def running(books, *thresholds, **more):
    return RunSnapshot(RunPhase.RUNNING, Facts(books, 45.0, 2), 12.5, 3, "mine", gate=make_gate(thresholds), **more)


def test_before_the_first_run_there_is_only_the_form():
    page = live_page(RunSnapshot(RunPhase.READY, Facts(Books()), refused="no host"), SwarmSize(workers=0))
    assert (page.phase, page.badge, page.headline, page.refused) == ("ready", "ready", "No run yet", "no host")
    assert page.tiles == page.thresholds == page.points == page.rows == [] and not page.has_report


def test_the_tiles_of_an_active_run():
    found = tiles(live_page(running(busy())))
    assert list(found) == ["Open sessions", "Dropped", "Served", "GetMessages p95", "Least margin", "Generator"]
    assert (found["Open sessions"].value, found["Open sessions"].detail) == ("3", "15 started, 12 ended")
    # By hand, exact one-sided bounds: 2 proven of 12 sessions, and 3 possible of the 10 that were not cut off.
    assert (found["Dropped"].value, found["Dropped"].tone) == ("2", "bad")
    # A number is not broken before its unit.
    assert found["Dropped"].detail == "3.04\u00a0% to 60.7\u00a0%, if independent, of 12 sessions; 1 more possibly"
    assert (found["Served"].value, found["Served"].tone) == ("100\u00a0%", "good")
    assert found["Least margin"].value == "under 1\u00a0s" and found["Generator"].tone == "warn"


def test_several_user_classes_have_a_row_each():
    vip, web = busy(), Books(started=2)
    total = busy()
    total.merge(web)
    facts = Facts.so_far(RunBooks(total, {"Vip": vip, "Web": web}), 45.0, {"Vip": 2})
    page = live_page(RunSnapshot(RunPhase.RUNNING, facts, gate=make_gate(["Web: dropped.rate < 1%"])))
    one, other = page.classes
    assert one == ClassState(
        "Vip", "3", "12", "2 to 3 (3.04 % to 60.7 %)", "bad", "0", "250 ms", "250 ms", "250 ms", "under 1 s"
    )
    assert (other.user_class, other.open, other.ended, other.dropped, other.p50, other.margin) == (
        "Web", "2", "0", "0", "", "",
    )  # fmt: skip
    assert states(page)["Web: dropped.rate < 1%"].state == "not decided yet"
    whole = figures(RunSnapshot(RunPhase.RUNNING, facts))
    assert whole["sessions"]["started"] == sum(own["sessions"]["started"] for own in whole["by_class"].values())
    assert "generator" not in whole["by_class"]["Vip"] and "by_class.Vip.sessions.open,3" in to_csv(whole)
    assert live_page(running(busy())).classes == []


def test_a_saturated_generator_is_said_to_make_the_run_invalid():
    books = busy()
    books.cpu_saturated = 1
    tile = tiles(live_page(running(books)))["Generator"]
    assert tile.tone == "bad" and "the run is invalid" in tile.detail


def test_nothing_is_said_to_pass_or_fail_before_the_end():
    wanted = (
        "dropped.rate < 1%", "lateness.max < 1s", "completed.rate > 50%", "incident.share < 10%",
        "GetMessages.latency.p99 < 2s in every 1m", "dropped_late.count == 0",
    )  # fmt: skip
    found = states(live_page(running(busy(), *wanted)))
    assert {str(found[name].state) for name in found} <= {
        "within the limit so far", "beyond the limit so far", "not decided yet", "judged at the end"
    }  # fmt: skip
    assert found["dropped.rate < 1%"].state == "beyond the limit so far"
    assert found["dropped.rate < 1%"].why.endswith("this assumes independent sessions")
    assert found["completed.rate > 50%"].state == "not decided yet"  # 7 of 10 is not enough to be sure
    assert found["lateness.max < 1 s"].state == "within the limit so far"
    assert found["incident.share < 10%"].state == "judged at the end"  # it is not known when the drops came
    assert found["GetMessages.latency.p99 < 2 s in every 1m"].state == "judged at the end"


def test_what_no_threshold_covers_is_said():
    found = states(live_page(running(ended(completed=5, dropped_early=5), "lateness.max < 1s")))
    assert found["dropped.rate < 1%"].state == "no threshold covers it"


def test_an_ended_run_says_what_its_summary_says(tmp_path):
    books = ended(completed=3, dropped_late=2)
    books.lateness.add(0.002)
    settings = RunSettings(name="mine", flex_disconnect_timeout=45.0, thresholds=("dropped_late.count == 0",))
    with RunWriter.create(tmp_path, settings, 1000.0) as writer:
        add_sessions(
            writer, [SessionRecord(f"c{i}", v) for i, v in enumerate(["completed"] * 3 + ["dropped_late"] * 2)]
        )
        put_books(writer, "w1", books)
        writer.finish(1300.0)
    summary = write_outputs(tmp_path)
    gate = make_gate(settings.thresholds)
    page = live_page(RunSnapshot(RunPhase.ENDED, Facts(books, 45.0), 300.0, 1, gate=gate, summary=summary))
    assert (page.badge, page.tone, page.has_report) == (summary["result"], "bad", True)
    assert page.headline == "1 of 1 threshold failed: dropped_late.count == 0"
    (threshold,) = page.thresholds
    assert (threshold.state, threshold.tone, threshold.value) == ("fail", "bad", "2")
    json.dumps(asdict(page), allow_nan=False)


def window(start, end, ended_sessions=0, latency_s=None):
    books = ended(completed=ended_sessions)
    if latency_s is not None:
        books.request_ended("GetMessages", Exchange(0, 0.0, latency_s, Reply(Outcome.FINE)))
        books.gap.add(5.0)
    return Window(start, end, 4, books)


def test_the_charts_get_each_point_once():
    series = LiveSeries(1000.0, 45.0)
    series.add(window(1000.0, 1002.0, 3))
    series.add(window(1002.0, 1003.0, 0, 0.25))
    snapshot = running(busy(), series=series)
    first, second = live_page(snapshot).points
    assert (first.at_s, first.open, first.ended, first.p95_s, first.margin_s) == (2.0, 4, 1.5, None, None)
    assert second.p95_s == second.p50_s and abs(second.p95_s - 0.25) < 0.0025 and second.margin_s == 40.0
    assert live_page(snapshot, shown=1000.0, after_s=2.0).points == [second]
    # A page that shows another run gets all of them.
    assert live_page(snapshot, shown=900.0, after_s=2.0).points == [first, second]


def test_a_long_run_keeps_a_bounded_number_of_points():
    series = LiveSeries(0.0, 45.0)
    for i in range(2000):
        series.add(window(10.0 * i, 10.0 * (i + 1)))
    points = series.after(-1.0)
    assert len(points) == 720 and points[-1].at_s == 20_000.0
