"""Where a tool's curves bend, and what is said of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.bend import Rung, line, sentence
from bench.measures import growth
from tests.unit.bench_rows import SCALE, filled


def rung(chats, fixed=0.05, per_refresh_us=60.0, late_ms=3.0, kb=17.0, quiet=True):
    rate = chats / 5
    return Rung(chats, rate, fixed + 1e-6 * per_refresh_us * rate, late_ms, kb, quiet)


@given(st.floats(0.01, 0.3), st.floats(10.0, 600.0))
def test_the_line_is_found_and_bends_where_its_parts_are_equal(fixed, per_refresh_us):
    found = line([rung(chats, fixed, per_refresh_us) for chats in (1_000, 5_000, 10_000)])
    assert (found.fixed, 1e6 * found.per_refresh_s) == pytest.approx((fixed, per_refresh_us), rel=1e-6)
    assert 1e-6 * per_refresh_us * found.bend / 5 == pytest.approx(fixed, rel=1e-6)
    assert fixed + 1e-6 * per_refresh_us * found.full / 5 == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    "rungs", [[rung(1), rung(2)], [rung(n, fixed=0.5 - n / 1e4, per_refresh_us=0) for n in range(4)]]
)
def test_no_line_is_drawn_through_what_is_none(rungs):
    assert line(rungs) is None


LADDER = (1_000, 5_000, 10_000)


def test_what_is_said_of_a_curve():
    assert sentence("it", [rung(chats) for chats in LADDER]) == (
        "it: about 5.0 % of a core whatever it holds and 60 µs a refresh, so that the cost of one bends at 4 200 "
        "chats, where both are equal; by that line a core is full at 79 000; p99.9 is at most 10 ms with 10 000; "
        "memory of a chat does not bend (17.0 to 17.0 kB)."
    )
    assert sentence("it", []) == ""


def test_lateness_begins_where_all_beyond_are_late_and_the_core_says_why():
    late = [rung(1_000, late_ms=50.0), rung(5_000), rung(10_000, late_ms=40.0), rung(19_000, late_ms=90.0)]
    assert "p99.9 is above 10 ms from 10 000 on, with 17 % of its core used: pauses" in sentence("it", late)
    full = [rung(chats, per_refresh_us=475.0, late_ms=chats / 100) for chats in LADDER]
    assert "its core is full at 10 000; p99.9 is above 10 ms from 5 000 on, with 52 %" in sentence("it", full)
    assert "p99.9" not in sentence("it", [rung(chats, late_ms=None) for chats in LADDER])


def test_noisy_rungs_are_left_out_where_enough_are_quiet():
    rungs = [rung(500, fixed=0.9, late_ms=99.0, quiet=False), *map(rung, LADDER)]
    assert sentence("it", rungs) == sentence("it", rungs[1:]) + " (Of 4 rungs 1 were noisy.)"
    all_noisy = [each._replace(quiet=False) for each in rungs[1:]]
    assert sentence("it", all_noisy).startswith("it: about 5.0 % of a core")


def test_the_growth_has_a_lateness_chart_of_ours_and_of_the_peers():
    section = growth.section(SCALE, filled("growth"))
    chart = next(chart for chart in section.charts if chart.name == "growth_lateness")
    assert {row["name"] for row in chart.rows} == {"chatload, lean", "k6", "artillery", "chatload, shared connections"}
    assert "- k6: " in section.text
