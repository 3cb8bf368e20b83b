"""What the memory of one chat of ours is made of, part by part."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from bench.peers import MADE
from bench.results import Chart, Results, Scale, Section, number
from bench.tools import OURS
from bench.work import Step, Work

NAME = "parts"
ABOUT = "memory of a chat of ours by part: greenlet, user, engine, script, connection"
_TITLE = "What the memory of a chat is made of"
#: Refreshed often enough that each remembers all it ever does by the end.
_INTERVAL_S, _ENOUGH = 2.0, 12


def _work(scale: Scale) -> Work:
    chats = scale.chats(5_000)
    return Work(chats, max(2.0, chats / 400), 40.0, _INTERVAL_S, parts=True)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Once: memory has no noise."""
    return [Step(OURS, _work(scale))]


def by_part(found: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """kB of a chat, the process's and the kernel's for both ends of its connection, of each part. What was made only to
    be looked at is taken off where it is made for good."""
    looks, chats = found["looks"], found["chats"]
    both = list(zip(MADE, pairwise(looks), strict=True))
    own, kernel = (
        {part: (after[which] - before[which]) / chats / 1e3 for part, (before, after) in both} for which in (0, 1)
    )
    return {
        "greenlet": (own["greenlet"], 0.0),
        "Locust's user, with its event": (own["user"] - own["greenlet"], 0.0),
        "engine: what is known of the chat": (own["engine"] - own["script"], 0.0),
        "script: what its customer will do": (own["script"], 0.0),
        "transport and driver": (own["transport"] + own["driver"], 0.0),
        "connection: socket and watcher": (own["connection"], kernel["connection"]),
        "in use: request, answer, timer, deeper stack": (own["held"] - own["engine"], kernel["held"]),
    }


def section(scale: Scale, results: Results) -> Section:
    """A row a part."""
    text = (
        "All chats make one part and wait, memory is looked at, and all make the next; the last is that they are held. "
        "The kernel's memory is that of both ends of the connection, and not the process's. There is no parser of a "
        "chat's own: one is shared by all, and the heads it knows. TLS is not in it (see below)."
    )
    work = _work(scale)
    found = next((row["parts"] for row in results.of(OURS, work) if row.get("parts")), None)
    if found is None:
        return Section(_TITLE, text, [["part", "kB a chat"], ["all", results.problem(OURS, work)]])
    if len(found["looks"]) != len(MADE) + 1 or found["refreshes"] < _ENOUGH:
        return Section(_TITLE, text, [["part", "kB a chat"], ["all", "not measured: its time was over before"]])
    parts = by_part(found)
    table = [["part", "kB a chat", "the kernel's"]]
    table += [[part, number(own, 2), number(kernel, 2) if kernel else ""] for part, (own, kernel) in parts.items()]
    own, kernel = (sum(each[which] for each in parts.values()) for which in (0, 1))
    table.append(["all", number(own), number(kernel, 2)])
    bars = [{"name": part, **dict.fromkeys(("value", "low", "high"), own)} for part, (own, _) in parts.items()]
    chart = Chart("parts", "Memory of a chat by part", "bars", bars, "kB a chat")
    return Section(_TITLE, f"{number(found['chats'])} chats. {text}", table, [chart])
