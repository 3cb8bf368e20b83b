"""What a chat costs where there are many: a refresh's CPU time and a chat's memory, by how many are held."""

from __future__ import annotations

from bench.measures import held, shared
from bench.results import Chart, Results, Scale, Section, number
from bench.tools import ARTILLERY, K6, OURS, TOOLS
from bench.work import Step, Work

NAME = "growth"
ABOUT = "cost of a refresh and memory of a chat as their number grows"
_SHARED = (20_000, 50_000)


def _courses(scale: Scale) -> dict[str, tuple[str, list[Work]]]:
    """Of each line in the chart: the tool and its rungs."""
    own = {tool: (tool, [held.rung(scale, size) for size in held.LADDERS[tool]]) for tool in (OURS, K6, ARTILLERY)}
    named = {TOOLS[tool].label: course for tool, course in own.items()}
    named["chatload, shared connections"] = (OURS, [shared.rung(scale, size) for size in _SHARED])
    return named


def steps(scale: Scale, results: Results) -> list[Step]:
    """Rungs of `held` and `shared` are not carried out twice."""
    turns = range(scale.held_repetitions)
    tools = (OURS, K6, ARTILLERY)
    base = [Step(tool, held.alone(scale)) for tool in tools]
    return base + [
        Step(tool, work, turn) for turn in turns for tool, works in _courses(scale).values() for work in works
    ]


def section(scale: Scale, results: Results) -> Section:
    """A row a rung, two charts."""
    table = [["tool", "chats", "µs of CPU a refresh", "kB a chat"]]
    costs, memories = [], []
    for label, (tool, works) in _courses(scale).items():
        for work in works:
            cost = results.figure(tool, work, lambda row: row["cpu_us_per_refresh"])
            memory = held.memory_kb(scale, results, tool, work)
            if cost is None:
                table.append([label, str(work.chats), results.problem(tool, work), ""])
                continue
            kept = number(memory.median, 2) if memory else "-"
            table.append([label, str(work.chats), number(cost.median) + ("" if cost.quiet else ", noisy"), kept])
            costs.append({"name": label, "x": work.chats, "y": cost.median})
            memories += [{"name": label, "x": work.chats, "y": memory.median}] if memory else []
    text = (
        "All CPU time of the process tree in the steady part over the refreshes in it: what a process costs idle too."
    )
    return Section(
        "What a chat costs where there are many",
        text,
        table,
        [
            Chart("growth_cpu", "CPU of a refresh by chats held", "lines", costs, "µs of CPU a refresh", "chats"),
            Chart("growth_memory", "Memory of a chat by chats held", "lines", memories, "kB a chat", "chats", True),
        ],
    )
