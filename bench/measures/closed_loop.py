"""Refreshes as fast as they go: 64 connections, back to back, all accounting on."""

from __future__ import annotations

from collections.abc import Mapping

from bench.figures import ratio
from bench.results import Chart, Results, Scale, Section, shown, shown_ratio
from bench.tools import ARTILLERY, FAST, HTTP_USER, K6, OURS, OURS_REQUESTS, TOOLS, WRK
from bench.work import Step, Work

NAME = "closed_loop"
ABOUT = "refreshes per second of the generator's CPU, 64 connections back to back"
_TOOLS = (OURS, OURS_REQUESTS, HTTP_USER, FAST, K6, ARTILLERY, WRK)
#: At least so many times the peer.
_GOALS = {K6: 4.0, HTTP_USER: 18.0}
#: Of the wall: wrk waits for the server more than it works.
_WALL_GOALS = {WRK: 0.4}


def _work(scale: Scale) -> Work:
    return Work(chats=64, ramp_s=1.0, steady_s=scale.closed_s, interval_s=0.0, settle_s=1.5)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Every tool in turn, and all of them again."""
    return [Step(tool, _work(scale), turn) for turn in range(scale.repetitions) for tool in _TOOLS]


def section(scale: Scale, results: Results) -> Section:
    """A row a tool, and ours against it."""
    work = _work(scale)

    def speed(tool: str):
        return results.figure(tool, work, lambda row: row["refreshes_per_cpu_s"])

    def wall(tool: str):
        return results.figure(tool, work, lambda row: row["refreshes_per_s"])

    table = [[
        "tool", "refreshes/s of CPU", "µs of CPU each", "refreshes/s of the wall", "server's core",
        "ours / it", "of the wall",
    ]]  # fmt: skip
    bars = []
    for tool in _TOOLS:
        found = speed(tool)
        if found is None:
            table.append([TOOLS[tool].label, results.problem(tool, work), "", "", "", "", ""])
            continue
        bars.append({"name": TOOLS[tool].label, "value": found.median, "low": found.low, "high": found.high})
        each = results.figure(tool, work, lambda row: row["cpu_us_per_refresh"])
        server = results.figure(tool, work, lambda row: 100 * row["server_cpu_share"])
        against = of_wall = ""
        if tool != OURS:
            against = shown_ratio(ratio(speed(OURS), found), _goal(_GOALS, tool))
            of_wall = shown_ratio(ratio(wall(OURS), wall(tool)), _goal(_WALL_GOALS, tool))
        figures = shown(found), shown(each), shown(wall(tool)), shown(server, " %", 2)
        table.append([results.label(tool, work), *figures, against, of_wall])
    text = (
        "What one core of the generator can do: refreshes that the server saw, over the CPU time the whole process "
        "tree used for them. Where the server's core is full, the wall's figure is the server's limit and not the "
        "tool's: wrk waits for the server most of the time. It opens no chats and reads no answers: it is the limit."
    )
    chart = Chart("closed_loop", "Refreshes per second of CPU, by tool", "bars", bars, "refreshes/s of CPU")
    return Section("Refreshes back to back", text, table, [chart])


def _goal(goals: Mapping[str, float], tool: str) -> str:
    return f"at least {goals[tool]:g}" if tool in goals else "none"
