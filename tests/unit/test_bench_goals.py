"""Whether a run of the benchmark reaches what is to be reached, and that a noisy one claims neither."""

from __future__ import annotations

import pytest

from bench import goals
from bench.measures import MEASURES
from bench.results import Results
from bench.tools import OURS, WRK
from tests.unit.bench_rows import SCALE, filled


def reached(results, only=tuple(MEASURES)):
    head, *lines = goals.table(SCALE, results, only)
    assert {len(line) for line in lines} <= {len(head)}
    return {line[0]: line[1:] for line in lines}


def test_nothing_is_reached_where_nothing_was_measured():
    assert {said for _, _, said in reached(Results()).values()} == {"not said"}
    assert goals.table(SCALE, Results(), ["growth", "soak"]) == [goals.HEADER]


def test_a_goal_is_reached_missed_or_too_noisy_to_say():
    what = "19 000 chats, a connection each: gap error p99.9, the server's delays in it"
    late = {"steady": {"p50": 0.0, "p99": 0.0, "p99_9": 0.012, "max": 0.1}}
    good, bad = filled("held", books_balanced=True), filled("held", books_balanced=False)
    for row in bad.rows:
        row["gap_error_s"] = {**late, "with_ramp": late["steady"]}
    assert reached(good, ["held"])[what] == ("at most 10 ms", "3.00 ms", "yes")
    assert reached(bad, ["held"])[what] == ("at most 10 ms", "12.0 ms", "no")
    assert reached(filled("held", quiet=False), ["held"])[what] == ("at most 10 ms", "3.00 ms, noisy", "not said")
    good.rows[0]["own_lateness_s"] = None
    for row in good.rows[1:]:
        row["own_lateness_s"] = {"p99_9": 0.009}
    own = "19 000 chats, a connection each: lateness p99.9, with the ramp"
    assert reached(good, ["held"])[own] == ("at most 10 ms", "9.00 ms", "yes")
    recorded = "19 000 chats, a connection each: recorded, the books balance"
    assert [reached(each, ["held"])[recorded][2] for each in (good, bad)] == ["yes", "no"]


def test_chats_that_were_not_opened_are_not_held():
    results = filled("shared")
    for row in results.rows:
        row["chats"] = min(row["chats"], 55_000)
    assert reached(results, ["shared"])["60 000 chats over shared connections"] == ("all of them", "55 000", "no")


@pytest.mark.parametrize("ours, by_cpu, by_wall", [(39.0, "no", "no"), (40.0, "no", "yes"), (80.0, "yes", "yes")])
def test_ours_beside_wrk_has_its_goal_by_cpu_and_by_the_wall(ours, by_cpu, by_wall):
    results = filled("closed_loop")
    for row in results.rows:
        if row["tool"] == OURS:
            row["refreshes_per_cpu_s"] = row["refreshes_per_s"] = ours
        elif row["tool"] == WRK:
            row["refreshes_per_cpu_s"], row["refreshes_per_s"] = 200.0, 100.0
    found = reached(results, ["closed_loop"])
    assert [found[f"back to back, ours / wrk, by the {which}"][2] for which in ("CPU", "wall")] == [by_cpu, by_wall]


def test_the_accounting_has_its_goal_too():
    for share, said in ((0.07, "yes"), (0.12, "no"), (0.096, "not said")):
        cost = {"share": share, "either_way_us": 0.3, "us_per_refresh": 30.0}
        results = filled("store", accounting=cost)
        assert reached(results, ["store"])["store, books and histograms, of the CPU"][2] == said
