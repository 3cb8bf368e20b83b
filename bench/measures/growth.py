"""The cost of a chat by the number of chats: CPU time and lateness of a refresh, memory of a chat."""

from __future__ import annotations

from bench.bend import Rung, sentence
from bench.measures import held, shared
from bench.results import Chart, Results, Scale, Section, milliseconds, number
from bench.tools import ARTILLERY, K6, OURS, TOOLS
from bench.work import Step, Work

NAME = "growth"
ABOUT = "cost and lateness of a refresh and memory of a chat as their number grows, and where they bend"
_SHARED = (20_000, 40_000, 50_000, 60_000)


def _courses(scale: Scale) -> dict[str, tuple[str, list[Work]]]:
    """For each line of the chart: the tool and its steps."""
    own = {tool: (tool, [held.rung(scale, size) for size in held.LADDERS[tool]]) for tool in (OURS, K6, ARTILLERY)}
    named = {TOOLS[tool].label: course for tool, course in own.items()}
    named["chatload, shared connections"] = (OURS, [shared.rung(scale, size) for size in _SHARED])
    return named


def steps(scale: Scale, results: Results) -> list[Step]:
    """The same work as in `held` and `shared`, which is not carried out twice."""
    turns = range(scale.held_repetitions)
    tools = (OURS, K6, ARTILLERY)
    base = [Step(tool, held.alone(scale)) for tool in tools]
    return base + [
        Step(tool, work, turn) for turn in turns for tool, works in _courses(scale).values() for work in works
    ]


def _rung(scale: Scale, results: Results, tool: str, work: Work) -> Rung | None:
    """What was measured at one number of chats; None if nothing was."""
    cpu = results.figure(tool, work, lambda row: row["cpu_share"])
    rate = results.figure(tool, work, lambda row: row["refreshes_per_s"])
    if cpu is None or rate is None:
        return None
    late = results.figure(tool, work, lambda row: milliseconds(row, "steady", "p99_9"))
    memory = held.memory_kb(scale, results, tool, work)
    return Rung(
        work.chats, rate.median, cpu.median, late and late.median, memory and memory.median, cpu.quiet and rate.quiet
    )


def section(scale: Scale, results: Results) -> Section:
    """One row per number of chats, three charts, and where each curve bends."""
    table = [["tool", "chats", "µs of CPU a refresh", "gap error p99.9", "kB a chat"]]
    costs, memories, late, bends = [], [], [], []
    for label, (tool, works) in _courses(scale).items():
        rungs = []
        for work in works:
            rung = _rung(scale, results, tool, work)
            cost = results.figure(tool, work, lambda row: row["cpu_us_per_refresh"])
            if rung is None or cost is None:
                table.append([label, str(work.chats), results.problem(tool, work), "", ""])
                continue
            rungs.append(rung)
            lateness = "-" if rung.late_ms is None else f"{number(rung.late_ms, 2)} ms"
            kept = number(rung.kb, 2) if rung.kb else "-"
            table.append(
                [label, str(work.chats), number(cost.median) + ("" if cost.quiet else ", noisy"), lateness, kept]
            )
            costs.append({"name": label, "x": work.chats, "y": cost.median})
            memories += [{"name": label, "x": work.chats, "y": rung.kb}] if rung.kb else []
            late += [{"name": label, "x": work.chats, "y": rung.late_ms}] if rung.late_ms else []
        bends.append(sentence(label, rungs))
    text = (
        "The CPU time of the process tree in the steady part, divided by the refreshes in it. This includes what the "
        "process needs when it is idle."
    )
    text = "\n- ".join([text + "\n", *filter(None, bends)]).rstrip("\n")
    title = "Cost of a chat by the number of chats"
    memory = "Memory of a chat by chats held"
    return Section(
        title,
        text,
        table,
        [
            Chart("growth_cpu", "CPU of a refresh by chats held", "lines", costs, "µs of CPU a refresh", "chats"),
            Chart("growth_memory", memory, "lines", memories, "kB a chat", "chats", True),
            Chart("growth_lateness", "Lateness by chats held", "lines", late, "gap error p99.9, ms", "chats", True),
        ],
    )
