"""The memory of one chat of chatload, part by part."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from bench.peers import MADE
from bench.results import Chart, Results, Scale, Section, number
from bench.tools import OURS
from bench.work import Step, Work

NAME = "parts"
ABOUT = "memory of a chat of chatload by part: greenlet, user, engine, script, connection"
_TITLE = "What the memory of a chat is made of"
#: After this many refreshes a chat has all the memory that it ever needs.
_INTERVAL_S, _ENOUGH = 2.0, 12


def _work(scale: Scale) -> Work:
    chats = scale.chats(5_000)
    return Work(chats, max(2.0, chats / 400), 40.0, _INTERVAL_S, parts=True)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Once: memory has no noise."""
    return [Step(OURS, _work(scale))]


def by_part(found: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return kB per chat for each part: of the process, and of the kernel for both ends of the connection.

    A part that was created only to be measured is subtracted where it is created for use.
    """
    looks, chats = found["looks"], found["chats"]
    both = list(zip(MADE, pairwise(looks), strict=True))
    own, kernel = (
        {part: (after[which] - before[which]) / chats / 1e3 for part, (before, after) in both} for which in (0, 1)
    )
    return {
        "greenlet": (own["greenlet"], 0.0),
        "Locust's user, with its event": (own["user"] - own["greenlet"], 0.0),
        "engine: the state of the chat": (own["engine"] - own["script"], 0.0),
        "script: what the customer will do": (own["script"], 0.0),
        "transport and driver": (own["transport"] + own["driver"], 0.0),
        "connection: socket and watcher": (own["connection"], kernel["connection"]),
        "in use: request, answer, timer, deeper stack": (own["held"] - own["engine"], kernel["held"]),
    }


def section(scale: Scale, results: Results) -> Section:
    """One row per part."""
    text = (
        "All chats create one part and wait, memory is read, then all create the next part. In the last step they are "
        "held. The kernel's memory is for both ends of the connection, outside the process. All chats share one parser "
        "and its known heads. TLS is not included (see below)."
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
