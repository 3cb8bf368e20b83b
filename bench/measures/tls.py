"""The cost of starting a chat over TLS."""

from __future__ import annotations

from bench.figures import Figure
from bench.results import Results, Scale, Section, shown
from bench.tools import FAST, OURS, OURS_REQUESTS, TOOLS
from bench.work import Step, Work

NAME = "tls"
ABOUT = "memory and CPU to start a chat over TLS, against FastHttpUser"
_CHATS = 1_000
GOAL_KB, GOAL_MS = 60, 2
#: Time in which the chats are opened (seconds): FastHttpUser reads the system's authorities again for each.
_RAMP_S = {OURS: 10.0, OURS_REQUESTS: 20.0, FAST: 45.0}


def _work(scale: Scale, tool: str, chats: int = _CHATS, tls: bool = True) -> Work:
    # No second refresh within the measurement, because the start is measured.
    wanted = scale.chats(chats) if chats > 1 else 1
    ramp = _RAMP_S[tool] * wanted / _CHATS
    return Work(wanted, max(1.0, ramp), min(3.0, scale.steady_s), 600.0, 2.0, timeout_s=1800.0, tls=tls)


def steps(scale: Scale, results: Results) -> list[Step]:
    """One chat, then many, with and without TLS."""
    found = []
    for tool in _RAMP_S:
        found.append(Step(tool, _work(scale, tool, 1)))
    for turn in range(scale.held_repetitions):
        for tool in _RAMP_S:
            found += [Step(tool, _work(scale, tool), turn), Step(tool, _work(scale, tool, tls=False), turn)]
    return found


def cpu_ms(scale: Scale, results: Results, tool: str, tls: bool = True) -> Figure | None:
    """CPU time to start a chat."""
    return results.figure(tool, _work(scale, tool, tls=tls), lambda row: row["start_cpu_ms_per_chat"])


def memory_kb(scale: Scale, results: Results, tool: str) -> Figure | None:
    """Memory of a chat: (memory with N chats - with one) / (N - 1)."""
    base = results.figure(tool, _work(scale, tool, 1), lambda row: row["rss_mb"])
    if base is None:
        return None
    return results.figure(
        tool, _work(scale, tool), lambda row: 1e3 * (row["rss_mb"] - base.median) / max(1, row["chats"] - 1)
    )


def section(scale: Scale, results: Results) -> Section:
    """One row per tool."""
    table = [["tool", "chats", "ms of CPU a chat", "without TLS", "kB a chat", "goal"]]
    for tool in _RAMP_S:
        work = _work(scale, tool)
        cpu, memory = cpu_ms(scale, results, tool), memory_kb(scale, results, tool)
        if cpu is None or memory is None:
            table.append([TOOLS[tool].label, str(work.chats), results.problem(tool, work), "", "", ""])
            continue
        plain = cpu_ms(scale, results, tool, tls=False)
        goal = f"at most {GOAL_MS} ms, {GOAL_KB} kB" if tool == OURS else ""
        table.append([TOOLS[tool].label, str(work.chats), shown(cpu), shown(plain), shown(memory), goal])
    text = (
        "From the first opened chat to the last: CPU time of the process tree per chat (handshake, RequestChat, first "
        "GetMessages, and everything else that the tool does in that time), and resident memory per chat, without that "
        "of one chat. chatload verifies the server's certificate; FastHttpUser does not unless told to."
    )
    return Section("Starting chats over TLS", text, table)
