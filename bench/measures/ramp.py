"""The longest pause of a process while it opens chats."""

from __future__ import annotations

from bench.figures import Figure
from bench.measures import held
from bench.results import Chart, Results, Scale, Section, shown
from bench.tools import ARTILLERY, FAST, HTTP_USER, K6, OURS, OURS_REQUESTS, TOOLS
from bench.work import Step

NAME = "ramp"
ABOUT = "worst pause of the generator while ramping to 10 000"
GOAL_MS = 20.0
#: The highest number of chats that each tool reaches.
_TOP = {OURS: 10_000, OURS_REQUESTS: 5_000, HTTP_USER: 5_000, FAST: 10_000, ARTILLERY: 5_000}


def steps(scale: Scale, results: Results) -> list[Step]:
    """The same work as in `held`, which is not carried out twice."""
    turns = range(scale.held_repetitions)
    return [Step(tool, held.rung(scale, size), turn) for turn in turns for tool, size in _TOP.items()]


def pause_ms(scale: Scale, results: Results, tool: str) -> Figure | None:
    """The worst pause of a tool's ramp."""
    work = held.rung(scale, _TOP[tool])
    return results.figure(
        tool, work, lambda row: None if row.get("worst_pause_s") is None else 1e3 * row["worst_pause_s"]
    )


def section(scale: Scale, results: Results) -> Section:
    """One row per tool."""
    table = [["tool", "chats", "worst pause", "goal"]]
    bars = []
    for tool, size in _TOP.items():
        work = held.rung(scale, size)
        found = pause_ms(scale, results, tool)
        goal = f"at most {GOAL_MS:g} ms" if tool == OURS else ""
        pause = shown(found, " ms") if found else results.problem(tool, work)
        table.append([TOOLS[tool].label, str(work.chats), pause, goal])
        if found:
            bars.append({"name": TOOLS[tool].label, "value": found.median, "low": found.low, "high": found.high})
    table.append([TOOLS[K6].label, "", "n/a: its scripts share no event loop", ""])
    text = (
        "A timer of 5 ms in the event loop of the generator, from the first opened chat to the last: the delay of its "
        f"latest event. {held._RATE:g} chats are opened per second."
    )
    chart = Chart("ramp", "Worst pause while ramping, by tool", "bars", bars, "worst pause, ms")
    return Section("Pauses while ramping", text, table, [chart])
