"""The cost of accounting: the share of run file, books and histograms in the generator's CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.accounting import REFRESHES_A_ROW
from bench.results import Chart, Results, Scale, Section, number
from bench.stacks import text as as_text
from bench.tools import OURS
from bench.work import Step, Work

NAME = "store"
ABOUT = "share of run file, books and histograms in the generator's CPU"
FILE = "profile.txt"
_TITLE = "The cost of accounting"
GOAL = 10


def _twice(scale: Scale) -> Work:
    steady = 6.0 if scale.quick else 30.0
    return Work(chats=64, ramp_s=1.0, steady_s=steady, interval_s=0.0, settle_s=1.5, twice=True)


def _profiled(scale: Scale) -> Work:
    return replace(_twice(scale), steady_s=6.0 if scale.quick else 18.0, twice=False, profile=True)


def steps(scale: Scale, results: Results) -> list[Step]:
    """chatload back to back: once with accounting done twice half of the time, once with a profile."""
    return [Step(OURS, _twice(scale)), Step(OURS, _profiled(scale))]


def section(scale: Scale, results: Results) -> Section:
    """One row per part of the accounting; the profile as a chart and a file."""
    text = (
        "64 chats are refreshed back to back. In some periods of a tenth of a second, in random order, all accounting "
        "of a request is done once more, on books that are thrown away. The additional CPU time per request is the "
        "cost of the accounting. Work that is done once a second is timed directly. One session row is counted per "
        f"{REFRESHES_A_ROW} refreshes. Disturbances affect both kinds of periods alike, so a noisy machine does not "
        "matter."
    )
    charts, files = [], {}
    if profile := _first(results, _profiled(scale), "profile"):
        shares = [{"name": part, "share": 100 * share} for part, share in profile["shares"].items()]
        bars = [{"name": each["name"], **dict.fromkeys(("value", "low", "high"), each["share"])} for each in shares]
        charts = [Chart("store", "Where the generator's CPU goes", "bars", bars, "share of the samples, %")]
        files = {FILE: as_text(profile)}
        text += (
            f" The chart shows {profile['samples']} samples of py-spy ([{FILE}]({FILE}) has the functions). It misses "
            "calls that take only a microsecond, and counts accounting inside the engine as engine."
        )
    return Section(_TITLE, text, _table(scale, results), charts, files)


def share(scale: Scale, results: Results) -> tuple[float, float] | None:
    """The share of accounting in the generator's CPU time (%), and half the width of its 95 % interval."""
    found = _first(results, _twice(scale), "accounting")
    return found and (100 * found["share"], 100 * found["either_way_us"] / found["us_per_refresh"])


def _table(scale: Scale, results: Results) -> list[list[str]]:
    found = _first(results, _twice(scale), "accounting")
    if found is None:
        return [["part", "share"], ["all", results.problem(OURS, _twice(scale))]]
    whole = found["us_per_refresh"] + found["row_us"]
    booked = f"{number(found['booked_us'])} ± {number(found['either_way_us'], 2)}"
    a_second = f"store, once a second ({number(found['a_second_ms'], 2)} ms)"
    parts = [
        ("books and histograms", booked, found["booked_us"], ""),
        (a_second, number(found["stored_us"], 2), found["stored_us"], ""),
        ("store, the chat's row", number(found["row_us"], 2), found["row_us"], ""),
        ("store + books + histograms", number(found["share"] * whole), found["share"] * whole, f"at most {GOAL} %"),
        ("all the process does", number(whole), whole, ""),
    ]
    table = [["part", "µs of CPU a refresh", "share", "goal"]]
    return table + [[part, us, f"{number(100 * of_it / whole, 2)} %", goal] for part, us, of_it, goal in parts]


def _first(results: Results, work: Work, key: str) -> Any:
    return next((row[key] for row in results.of(OURS, work) if row.get(key)), None)
