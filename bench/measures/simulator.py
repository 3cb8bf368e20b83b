"""The speed of the simulator: it must not be the limit of a measurement."""

from __future__ import annotations

from bench.figures import Figure
from bench.results import Results, Scale, Section, shown
from bench.tools import SIMULATOR
from bench.work import Step, Work

NAME = "simulator"
ABOUT = "refreshes/s of the simulator's core, its memory per chat, the delay of an expiry"
CONNECTIONS = (64, 2_000)
RATE, KB, LATE_MS = 50_000, 1.2, 150
_MEMORY_CHATS = 50_000


def _work(scale: Scale, connections: int) -> Work:
    return Work(chats=2_000, ramp_s=8.0, steady_s=8.0 if scale.quick else 10.0, interval_s=0.0, connections=connections)


def _memory(scale: Scale) -> Work:
    return Work(chats=scale.chats(_MEMORY_CHATS), ramp_s=0.0, steady_s=0.0)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Memory, then speed with few and many connections in turn."""
    turns = range(scale.repetitions)
    speed = [Step(SIMULATOR, _work(scale, connections), turn) for turn in turns for connections in CONNECTIONS]
    return [Step(SIMULATOR, _memory(scale)), *speed]


def figure(scale: Scale, results: Results, connections: int, key: str) -> Figure | None:
    """The figure `key` of server_speed.py, with this number of connections."""
    return results.figure(SIMULATOR, _work(scale, connections), lambda row: row.get("speed", {}).get(key))


def memory_kb(scale: Scale, results: Results) -> Figure | None:
    """Resident memory of a chat, without its connection."""
    return results.figure(SIMULATOR, _memory(scale), lambda row: row.get("speed", {}).get("kb"))


def section(scale: Scale, results: Results) -> Section:
    """One row per number of connections, and one for the memory."""
    table = [["connections", "refreshes/s", "µs of CPU each", "its core", "latest expiry", "kB a chat"]]
    for connections in CONNECTIONS:
        keys = ("refreshes_per_s", "cpu_us", "cores", "latest_expiry_ms")
        found = [figure(scale, results, connections, key) for key in keys]
        if found[0] is None:
            table.append([str(connections), results.problem(SIMULATOR, _work(scale, connections)), "", "", "", ""])
            continue
        rate, each, cores, late = map(shown, found)
        table.append([str(connections), rate, each, cores, f"{late} ms", ""])
    table.append(["none", "", "", "", "", shown(memory_kb(scale, results), "", 3)])
    text = (
        "wrk on the other core refreshes 2000 chats with agents in turn, while 100 silent chats expire. Latest expiry: "
        "the longest delay until an expiry was booked, as the simulator reports it. A repetition in which the "
        "simulator got less than 0.95 of its core is noisy. See docs/simulator-speed.md."
    )
    return Section("The simulator alone", text, table)
