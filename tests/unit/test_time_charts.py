"""Charts over time as pictures and as data: scales, stacks, gaps, and that no text can break out."""

import json
import re

import pytest

from chatload.render.time_charts import (
    MarkKind,
    Panel,
    ShadedPart,
    TimeChart,
    TimeSeries,
    Unit,
    ValueAxis,
    as_json,
    clock,
    decades,
    domain,
    pictures,
    stacked,
    tick_text,
    time_ticks,
    value_ticks,
)  # fmt: skip

HOSTILE = "</script><img src=x onerror=y>\"'&<!--"


def chart(*panels, marked=(), times=(0.5, 1.5, 2.5)):
    return TimeChart("h", "s", times, 1.0, times[-1] + 0.5, panels, marked, 0.0)


def panel(*series, log=False, **more):
    return Panel(ValueAxis("n", Unit.SECONDS if log else Unit.COUNT, log=log), series, **more)


@pytest.mark.parametrize("length", [0.5, 3, 59, 61, 600, 3599, 3600, 9000, 86_400, 7 * 86_400, 60 * 86_400])
@pytest.mark.parametrize("most", [4, 11])
def test_a_time_axis_has_a_few_round_times(length, most):
    ticks = time_ticks(length, most)
    assert 1 <= len(ticks) <= most + 1 and ticks[0] == 0 and ticks[-1] <= length
    assert len({clock(at, length) for at in ticks}) == len(ticks)


@pytest.mark.parametrize("top", [1e-4, 0.9, 1.08, 7, 46, 99.9, 270, 1e6])
@pytest.mark.parametrize("most", [2, 4])
def test_an_axis_of_values_has_a_tick_beside_zero_and_not_many(top, most):
    ticks = value_ticks(top, most)
    assert 2 <= len(ticks) <= 2 * most + 1 and ticks[0] == 0 and ticks[-1] <= top


def test_sessions_are_counted_in_whole_numbers():
    assert value_ticks(2.16, 4, whole=True) == [0, 1, 2] and value_ticks(1.08, 2, whole=True) == [0, 1]


def test_a_log_axis_has_decades_and_more_where_they_are_few():
    assert decades(0.0004, 8.0) == pytest.approx([0.001, 0.01, 0.1, 1.0])
    assert decades(0.02, 0.3) == pytest.approx([0.02, 0.05, 0.1, 0.2])
    low, high = domain(ValueAxis("t", Unit.SECONDS, log=True), [[None, 0.01, 0.0101]])
    assert high / low >= 4 and low < 0.01 < 0.0101 < high
    assert domain(ValueAxis("t", Unit.SECONDS, log=True), [[None]]) == (0.001, 1.0)
    assert domain(ValueAxis("n", Unit.COUNT), [[]])[1] > 0


def test_ticks_have_their_unit():
    assert [tick_text(v, Unit.SECONDS) for v in (0.0, 5e-4, 0.05, 2.0)] == ["0 s", "500 us", "50 ms", "2 s"]
    assert [tick_text(v, Unit.COUNT) for v in (0, 2.5, 12_000)] == ["0", "2.5", "12 000"]
    assert [tick_text(v, Unit.PER_SECOND) for v in (0.5, 250.0)] == ["0.5/s", "250/s"]


def test_areas_and_bars_are_stacked_and_lines_are_not():
    series = [
        TimeSeries("a", "red", [1, 2, None], MarkKind.AREA),
        TimeSeries("b", "red", [3, 0, 4], MarkKind.AREA),
        TimeSeries("c", "red", [5, 5, 5]),
        TimeSeries("d", "red", [1, 1, 1], MarkKind.BARS),
    ]
    assert stacked(panel(*series)) == [[1, 2, 0], [4, 2, 4], [5, 5, 5], [1, 1, 1]]


def test_a_picture_has_its_lines_with_gaps_and_its_bars():
    lines = panel(TimeSeries("p", "var(--x)", [0.1, None, 0.3], beyond=frozenset({2})), log=True)
    picture = pictures(chart(lines), lines, "label")
    assert picture.count("<svg ") == 2 and picture.count('role="img" aria-label="label"') == 2
    # Both points are alone, and the last one is only a lower bound: a triangle.
    assert picture.count("<circle") == 2 * 2 and picture.count("l-4 -7Z") == 2
    bars = panel(TimeSeries("n", "var(--x)", [0, 3, 0], MarkKind.BARS))
    (path, _) = re.findall(r'<path d="([^"]+)" fill="var\(--x\)"', pictures(chart(bars), bars, ""))
    assert path.count("M") == 1


def test_what_is_marked_is_a_rectangle_or_a_line_with_its_name():
    shown = panel(TimeSeries("n", "red", [1, 1, 1]))
    marked = (ShadedPart(0.0, 1.0, "burst"), ShadedPart(2.0, 2.0, "<lost>"))
    picture = pictures(chart(shown, marked=marked), shown, "")
    assert picture.count("<title>burst</title></rect>") == 2
    assert picture.count("<title>&lt;lost&gt;</title></line>") == 2


def test_no_text_can_break_out_of_the_data_or_of_a_picture():
    shown = panel(TimeSeries(HOSTILE, "red", [1, 1, 1]))
    made = chart(shown, marked=(ShadedPart(0.0, 0.0, HOSTILE),))
    text = as_json(made)
    assert not set("<>&") & set(text)
    data = json.loads(text)
    assert data["marked"][0][2] == data["panels"][0]["series"][0]["name"] == HOSTILE
    assert "<img" not in pictures(made, shown, HOSTILE) and "<!--" not in pictures(made, shown, HOSTILE)


def test_the_data_has_what_the_script_draws():
    series = (TimeSeries("a", "red", [1, 2, 3], MarkKind.AREA), TimeSeries("b", "red", [1.23456, None, 3], right=True))
    made = chart(Panel(ValueAxis("n", Unit.COUNT, least=5), series, ValueAxis("t", Unit.SECONDS, log=True)))
    data = json.loads(as_json(made))
    (only,) = data["panels"]
    assert only["axes"] == [["count", False, 5], ["seconds", True, 0.0]]
    assert [one["values"] for one in only["series"]] == [[1, 2, 3], [1.235, None, 3]]
    assert [one["drawn"] for one in only["series"]] == [[1, 2, 3], None]
    assert data["times"] == [0.5, 1.5, 2.5] and data["length"] == 3.0
