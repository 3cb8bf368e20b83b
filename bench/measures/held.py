"""Growing numbers of chats held by one process, one connection each, refreshed every 5 s."""

from __future__ import annotations

from bench.figures import Figure
from bench.results import Chart, Results, Scale, Section, milliseconds, shown
from bench.tools import ARTILLERY, FAST, HTTP_USER, K6, OURS, OURS_REQUESTS, TOOLS
from bench.work import Step, Work

NAME = "held"
ABOUT = "chats held per process: lateness, CPU, memory, up to 19 000"
#: Chats per process, by tool. Many machines allow 20 000 open files per process.
LADDERS = {
    OURS: (1_000, 5_000, 10_000, 19_000),
    OURS_REQUESTS: (1_000, 5_000),
    HTTP_USER: (1_000, 5_000),
    FAST: (1_000, 5_000, 10_000),
    K6: (1_000, 5_000, 10_000),
    ARTILLERY: (1_000, 3_000, 5_000),
}
#: Chats opened per second.
_RATE = 400.0


def rung(scale: Scale, chats: int) -> Work:
    """This number of chats."""
    wanted = scale.chats(chats)
    return Work(chats=wanted, ramp_s=max(2.0, wanted / _RATE), steady_s=scale.steady_s)


def alone(scale: Scale) -> Work:
    """One chat: its memory is that of the tool itself."""
    return Work(chats=1, ramp_s=1.0, steady_s=min(3.0, scale.steady_s), settle_s=1.0)


def steps(scale: Scale, results: Results) -> list[Step]:
    """All tools at one size, then all at the next."""
    sizes = sorted({size for ladder in LADDERS.values() for size in ladder})
    rungs = [Step(tool, alone(scale)) for tool in LADDERS]
    for turn in range(scale.held_repetitions):
        for size in sizes:
            rungs += [Step(tool, rung(scale, size), turn) for tool, ladder in LADDERS.items() if size in ladder]
    return rungs


def memory_kb(scale: Scale, results: Results, tool: str, work: Work) -> Figure | None:
    """Memory of a chat: (memory with N chats - with one) / (N - 1)."""
    base = results.figure(tool, alone(scale), lambda row: row["rss_mb"])
    if base is None:
        return None
    return results.figure(
        tool, work, lambda row: 1e3 * (row["rss_mb"] - base.median) / (row["chats"] - 1) if row["chats"] > 1 else None
    )


def lateness_ms(results: Results, tool: str, work: Work) -> Figure | None:
    """p99.9 of the lateness that chatload reports: actual minus scheduled send time, over the whole run."""
    return results.figure(
        tool, work, lambda row: 1e3 * row["own_lateness_s"]["p99_9"] if row.get("own_lateness_s") else None
    )


HEADER = [
    *("tool", "chats", "gap error p50", "p99", "p99.9", "max", "p99.9 with the ramp", "own lateness p99.9"),
    *("CPU of a core", "kB a chat"),
]


def line(scale: Scale, results: Results, tool: str, work: Work) -> list[str]:
    """The row of one number of chats."""
    name = results.label(tool, work)
    cpu = results.figure(tool, work, lambda row: 100 * row["cpu_share"])
    if cpu is None:
        return [name, str(work.chats), results.problem(tool, work), *[""] * (len(HEADER) - 3)]

    def error(where: str, which: str) -> str:
        return shown(results.figure(tool, work, lambda row: milliseconds(row, where, which)), " ms", 2)

    own = lateness_ms(results, tool, work)
    there = results.figure(tool, work, lambda row: row["chats"])
    assert there is not None
    chats = str(work.chats) if there.median >= work.chats else f"{there.median:.0f} of {work.chats}"
    return [
        *(name, chats, *(error("steady", which) for which in ("p50", "p99", "p99_9", "max"))),
        *(error("with_ramp", "p99_9"), shown(own, " ms", 2), shown(cpu, " %", 2)),
        shown(memory_kb(scale, results, tool, work), "", 2),
    ]


def section(scale: Scale, results: Results) -> Section:
    """One row per number of chats."""
    table = [HEADER]
    late, cpu = [], []
    for tool, ladder in LADDERS.items():
        for size in ladder:
            work = rung(scale, size)
            table.append(line(scale, results, tool, work))
            found = results.figure(tool, work, lambda row: milliseconds(row, "steady", "p99_9"))
            share = results.figure(tool, work, lambda row: 100 * row["cpu_share"])
            late += [{"name": TOOLS[tool].label, "x": work.chats, "y": found.median}] if found else []
            cpu += [{"name": TOOLS[tool].label, "x": work.chats, "y": share.median}] if share else []
    text = (
        "Gap error: the difference between 5 s and the time between two refreshes of a chat, as the server saw them, "
        "in either direction; the same for every tool. Own lateness: only of chatload, against its absolute schedule, "
        "over the whole run including the ramp. kB a chat: resident memory of the process tree, without that of the "
        "same tool with one chat, per chat."
    )
    return Section(
        "Chats held by one process",
        text,
        table,
        [
            Chart(
                "held_lateness", "Gap error p99.9 by chats held", "lines", late, "gap error p99.9, ms", "chats", True
            ),
            Chart("held_cpu", "CPU by chats held", "lines", cpu, "CPU of a core, %", "chats"),
        ],
    )
