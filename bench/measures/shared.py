"""Chats of chatload that share connections, as behind a reverse proxy: how many one process holds."""

from __future__ import annotations

from bench.measures import held
from bench.results import Results, Scale, Section
from bench.tools import OURS
from bench.work import SHARED_CONNECTIONS, SHARED_OPTION, Step, Work

NAME = "shared"
ABOUT = "chats of chatload over shared connections, 20 000 to 60 000"
SIZES = (20_000, 40_000, 60_000)
_RATE = 1_000.0


def rung(scale: Scale, chats: int) -> Work:
    """This number of chats over few connections."""
    wanted = scale.chats(chats)
    return Work(
        chats=wanted,
        ramp_s=max(2.0, wanted / _RATE),
        steady_s=scale.steady_s,
        connections=scale.chats(SHARED_CONNECTIONS),
    )


def steps(scale: Scale, results: Results) -> list[Step]:
    """From few to many."""
    base = [Step(OURS, held.alone(scale))]
    return base + [Step(OURS, rung(scale, size), turn) for turn in range(scale.held_repetitions) for size in SIZES]


def section(scale: Scale, results: Results) -> Section:
    """One row per number of chats."""
    table = [held.HEADER] + [held.line(scale, results, OURS, rung(scale, size)) for size in SIZES]
    text = f"`{SHARED_OPTION} {scale.chats(SHARED_CONNECTIONS)}`; the columns are those of the measure `held`."
    return Section("Chats over shared connections", text, table)
