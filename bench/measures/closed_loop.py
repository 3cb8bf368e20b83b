"""The highest rate of refreshes: 64 connections, back to back, all accounting on."""

from __future__ import annotations

from bench.figures import Figure, Ratio, ratio
from bench.results import Chart, Results, Scale, Section, shown, shown_ratio
from bench.tools import ARTILLERY, FAST, HTTP_USER, K6, OURS, OURS_REQUESTS, TOOLS, WRK
from bench.work import Step, Work

NAME = "closed_loop"
ABOUT = "refreshes per second of the generator's CPU, 64 connections back to back"
_TOOLS = (OURS, OURS_REQUESTS, HTTP_USER, FAST, K6, ARTILLERY, WRK)
#: chatload reaches at least this many times the rate of the peer.
GOALS = {K6: 4.0, HTTP_USER: 18.0, WRK: 0.4}


def work(scale: Scale) -> Work:
    """64 connections, back to back."""
    return Work(chats=64, ramp_s=1.0, steady_s=scale.closed_s, interval_s=0.0, settle_s=1.5)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Every tool in turn, then all of them again."""
    return [Step(tool, work(scale), turn) for turn in range(scale.repetitions) for tool in _TOOLS]


def by_cpu(scale: Scale, results: Results, tool: str) -> Figure | None:
    """Refreshes per second of the tool's CPU time."""
    return results.figure(tool, work(scale), lambda row: row["refreshes_per_cpu_s"])


def by_wall(scale: Scale, results: Results, tool: str) -> Figure | None:
    """Refreshes per second of wall time."""
    return results.figure(tool, work(scale), lambda row: row["refreshes_per_s"])


def against(scale: Scale, results: Results, tool: str) -> tuple[Ratio, Ratio]:
    """The ratio of chatload to a peer, by CPU time and by wall time."""
    both = ((by(scale, results, OURS), by(scale, results, tool)) for by in (by_cpu, by_wall))
    of_cpu, of_wall = (ratio(*figures) for figures in both)
    return of_cpu, of_wall


def section(scale: Scale, results: Results) -> Section:
    """One row per tool, with the ratio of chatload to it."""
    table = [[
        "tool", "refreshes/s of CPU", "µs of CPU each", "refreshes/s of the wall", "server's core",
        "ours / it", "of the wall",
    ]]  # fmt: skip
    bars = []
    for tool in _TOOLS:
        found = by_cpu(scale, results, tool)
        if found is None:
            table.append([TOOLS[tool].label, results.problem(tool, work(scale)), "", "", "", "", ""])
            continue
        bars.append({"name": TOOLS[tool].label, "value": found.median, "low": found.low, "high": found.high})
        each = results.figure(tool, work(scale), lambda row: row["cpu_us_per_refresh"])
        server = results.figure(tool, work(scale), lambda row: 100 * row["server_cpu_share"])
        of_cpu = of_wall = ""
        if tool != OURS:
            goal = f"at least {GOALS[tool]:g}" if tool in GOALS else "none"
            of_cpu, of_wall = (shown_ratio(each, goal) for each in against(scale, results, tool))
        figures = shown(found), shown(each), shown(by_wall(scale, results, tool)), shown(server, " %", 2)
        table.append([results.label(tool, work(scale)), *figures, of_cpu, of_wall])
    text = (
        "What one core of the generator can do: the refreshes that the server saw, divided by the CPU time of the "
        "tool's whole process tree. If the server's core is full, the figure by wall time is the limit of the server, "
        "not of the tool: wrk waits for the server most of the time, chatload some of the time. wrk opens no chats and "
        "reads no answers: it is the upper limit."
    )
    chart = Chart("closed_loop", "Refreshes per second of CPU, by tool", "bars", bars, "refreshes/s of CPU")
    return Section("Refreshes back to back", text, table, [chart])
