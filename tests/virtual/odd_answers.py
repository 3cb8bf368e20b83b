"""A service that answers in ways that no documentation describes: what a proxy, another version or a defect may make
of its answers. None of it tells a lie about who ended a chat; some of it hides that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from chatload.simulator.model.answers import ServiceAnswer
from chatload.simulator.model.service import ChatService

#: Changes an answer. random: numbers of this service.
Oddity = Callable[[dict[str, Any], Random], None]


def _events(answer: dict[str, Any]) -> list[dict[str, Any]]:
    events = answer.get("messages")
    return events if isinstance(events, list) else []


def _each(name: str, change: Callable[[Any, Random], Any]) -> Oddity:
    """Change a member of each event that has it."""

    def odd(answer: dict[str, Any], random: Random) -> None:
        for event in _events(answer):
            if event.get(name) is not None:
                event[name] = change(event[name], random)

    return odd


def _next_position(change: Callable[[int, Random], Any]) -> Oddity:
    def odd(answer: dict[str, Any], random: Random) -> None:
        if answer.get("nextPosition") is not None:
            answer["nextPosition"] = change(answer["nextPosition"], random)

    return odd


def _list(change: Callable[[list[Any], Random], Any]) -> Oddity:
    def odd(answer: dict[str, Any], random: Random) -> None:
        if _events(answer):
            answer["messages"] = change(answer["messages"], random)

    return odd


def _without(*names: str) -> Oddity:
    def odd(answer: dict[str, Any], random: Random) -> None:
        for name in names:
            answer.pop(name, None)

    return odd


def _agents_as(kind: str) -> Oddity:
    return _each("from", lambda sender, _: {**sender, "type": kind} if sender.get("type") == "Agent" else sender)


def _agents_clock(answer: dict[str, Any], random: Random) -> None:
    for event in _events(answer):
        if event.get("utcTime") is not None and event.get("from", {}).get("type") == "Agent":
            event["utcTime"] -= 3_600_000


ODDITIES: Mapping[str, Oddity] = {
    "agents are supervisors": _agents_as("Supervisor"),
    "agents are bots": _agents_as("Bot"),
    "agents are external": _agents_as("External"),
    "agents have no type": _agents_as(""),
    "some events have no sender": _list(
        lambda events, random: [
            {k: v for k, v in event.items() if k != "from" or random.random() < 0.7} for event in events
        ]
    ),
    "the agents' clock is an hour behind": _agents_clock,
    "events out of order": _list(lambda events, random: random.sample(events, len(events))),
    "events twice": _list(lambda events, _: [event for event in events for _ in range(2)]),
    "events are missing": _list(lambda events, random: [event for event in events if random.random() < 0.7]),
    "positions from 0": _each("index", lambda index, _: index - 1),
    "positions with gaps": _each("index", lambda index, _: 2 * index),
    "positions as texts": _each("index", lambda index, _: str(index)),
    "seconds in place of milliseconds": _each("utcTime", lambda ms, _: ms // 1000),
    "another time zone": _each("utcTime", lambda ms, _: ms - 5 * 3_600_000),
    "nextPosition goes back": _next_position(lambda position, random: max(0, position - random.randint(1, 4))),
    "nextPosition skips events": _next_position(lambda position, random: position + random.randint(1, 4)),
    "nextPosition is absent": _without("nextPosition"),
    "keys are absent": _without("userId", "secureKey", "alias"),
    "alias changes with each answer": lambda answer, random: answer.update(alias=str(random.randint(1, 3))),
}


class OddService(ChatService):
    """A service whose answers have an oddity. The ledger is as it was."""

    oddity: Oddity

    def process(self, *arguments: Any) -> ServiceAnswer:
        return self._odd(super().process(*arguments))

    def resume(self, *arguments: Any) -> ServiceAnswer:
        return self._odd(super().resume(*arguments))

    def _odd(self, answer: ServiceAnswer) -> ServiceAnswer:
        if answer.payload is None:
            return answer
        if not hasattr(self, "_random"):
            self._random = Random(1)
        payload = copy.deepcopy(answer.payload)
        type(self).oddity(payload, self._random)
        return replace(answer, payload=payload)
