"""Refreshes as fast as they go: 64 connections, back to back, all accounting on."""

from __future__ import annotations

from bench.figures import ratio
from bench.results import Chart, Results, Scale, Section, shown, shown_ratio
from bench.tools import ARTILLERY, FAST, HTTP_USER, K6, OURS, OURS_REQUESTS, TOOLS, WRK
from bench.work import Step, Work

NAME = "closed_loop"
ABOUT = "refreshes per second of the generator's CPU, 64 connections back to back"
_TOOLS = (OURS, OURS_REQUESTS, HTTP_USER, FAST, K6, ARTILLERY, WRK)
#: At least so many times the peer.
_GOALS = {K6: 4.0, HTTP_USER: 18.0, WRK: 0.4}


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

    table = [["tool", "refreshes/s of CPU", "µs of CPU each", "refreshes/s of the wall", "server's core", "ours / it"]]
    bars = []
    for tool in _TOOLS:
        found = speed(tool)
        if found is None:
            table.append([TOOLS[tool].label, results.problem(tool, work), "", "", "", ""])
            continue
        bars.append({"name": TOOLS[tool].label, "value": found.median, "low": found.low, "high": found.high})
        each = results.figure(tool, work, lambda row: row["cpu_us_per_refresh"])
        wall = results.figure(tool, work, lambda row: row["refreshes_per_s"])
        server = results.figure(tool, work, lambda row: 100 * row["server_cpu_share"])
        against = "" if tool == OURS else shown_ratio(ratio(speed(OURS), found), _goal(tool))
        table.append(
            [results.label(tool, work), shown(found), shown(each), shown(wall), shown(server, " %", 2), against]
        )
    text = (
        "What one core of the generator can do: refreshes that the server saw, over the CPU time the whole process "
        "tree used for them. Where the server's core is full, the wall's figure is the server's limit and not the "
        "tool's. wrk opens no chats and reads no answers: it is the limit."
    )
    chart = Chart("closed_loop", "Refreshes per second of CPU, by tool", "bars", bars, "refreshes/s of CPU")
    return Section("Refreshes back to back", text, table, [chart])


def _goal(tool: str) -> str:
    return f"at least {_GOALS[tool]:g}" if tool in _GOALS else "none"
