"""How fast the simulator is: it must not be what is measured."""

from __future__ import annotations

from bench.figures import Figure
from bench.results import Results, Scale, Section, shown
from bench.tools import SIMULATOR
from bench.work import Step, Work

NAME = "simulator"
ABOUT = "refreshes/s of the simulator's core, its memory of a chat, how late an expiry is"
CONNECTIONS = (64, 2_000)
RATE, KB, LATE_MS = 50_000, 1.2, 150
_MEMORY_CHATS = 50_000


def _work(scale: Scale, connections: int) -> Work:
    return Work(chats=2_000, ramp_s=8.0, steady_s=8.0 if scale.quick else 10.0, interval_s=0.0, connections=connections)


def _memory(scale: Scale) -> Work:
    return Work(chats=scale.chats(_MEMORY_CHATS), ramp_s=0.0, steady_s=0.0)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Its memory, and its speed under few and many connections in turn."""
    turns = range(scale.repetitions)
    speed = [Step(SIMULATOR, _work(scale, connections), turn) for turn in turns for connections in CONNECTIONS]
    return [Step(SIMULATOR, _memory(scale)), *speed]


def figure(scale: Scale, results: Results, connections: int, key: str) -> Figure | None:
    """What server_speed.py calls so, under so many connections."""
    return results.figure(SIMULATOR, _work(scale, connections), lambda row: row.get("speed", {}).get(key))


def memory_kb(scale: Scale, results: Results) -> Figure | None:
    """Resident memory of a chat, its connection not in it."""
    return results.figure(SIMULATOR, _memory(scale), lambda row: row.get("speed", {}).get("kb"))


def section(scale: Scale, results: Results) -> Section:
    """A row a number of connections, and its memory."""
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
        "wrk refreshes 2000 chats with agents in turn, from the other core, while 100 that say nothing expire; the "
        "latest expiry is how long after its instant it was booked, by the simulator's own account. A repetition in "
        "which it got less than 0.95 of its core is noisy. See docs/simulator-speed.md."
    )
    return Section("The simulator alone", text, table)
