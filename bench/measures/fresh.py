"""The same as `closed_loop`, but every answer has a new secureKey: no request and no answer repeats an earlier one."""

from __future__ import annotations

from dataclasses import replace

from bench.figures import Figure, ratio
from bench.measures import closed_loop
from bench.results import Results, Scale, Section, shown, shown_ratio
from bench.tools import HTTP_USER, K6, OURS, TOOLS
from bench.work import Step, Work

NAME = "fresh"
ABOUT = "the same if every answer is new, so that chatload can reuse nothing of the last refresh"
_TOOLS = (OURS, HTTP_USER, K6)


def _work(scale: Scale) -> Work:
    return replace(closed_loop.work(scale), fresh=True)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Every tool in turn, then all of them again."""
    return [Step(tool, _work(scale), turn) for turn in range(scale.repetitions) for tool in _TOOLS]


def section(scale: Scale, results: Results) -> Section:
    """One row per tool, with the ratio of chatload to it."""
    work = _work(scale)

    def found(tool: str, key: str, times: float = 1.0) -> Figure | None:
        return results.figure(tool, work, lambda row: times * row[key])

    keys = "refreshes_per_cpu_s", "refreshes_per_s"
    table = [["tool", "refreshes/s of CPU", "µs of CPU each", "refreshes/s of the wall", "server's core",
              "ours / it", "of the wall"]]  # fmt: skip
    for tool in _TOOLS:
        if found(tool, keys[0]) is None:
            table.append([TOOLS[tool].label, results.problem(tool, work), "", "", "", "", ""])
            continue
        goal = f"at least {closed_loop.GOALS[tool]:g}" if tool in closed_loop.GOALS else ""
        ratios = (shown_ratio(ratio(found(OURS, key), found(tool, key)), goal) if goal else "" for key in keys)
        each, server = found(tool, "cpu_us_per_refresh"), found(tool, "server_cpu_share", 100.0)
        speeds = shown(found(tool, keys[0])), shown(each), shown(found(tool, keys[1])), shown(server, " %", 2)
        table.append([results.label(tool, work), *speeds, *ratios])
    text = (
        "If a chat has no new events, the server answers with the same bytes as before. chatload then neither reads "
        "the answer again nor builds the next request again; the other tools always do both. Here every answer has a "
        "new secureKey, which the next request must have. So this is the smallest advantage of chatload."
    )
    return Section("Refreshes back to back, every answer new", text, table)
