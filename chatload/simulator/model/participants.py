"""Those in a chat besides the customer: agents, who may hand it on, bots, supervisors and notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from chatload.simulator.model.session import SimulatedChat

URL = "https://example.com/help"


class Participant(NamedTuple):
    """One of those in a chat. kind: Client, Agent, Supervisor, Bot or External."""

    nickname: str
    number: int
    kind: str


class Plan(Enum):
    """What can be planned in a chat."""

    JOIN = 1
    ANSWER = 2
    LEAVE = 3
    HAND_ON = 4
    TAKE_OVER = 5
    GO = 6
    SUPERVISE = 7
    BOT_ANSWER = 8
    NOTICE = 9
    TYPE = 10
    VISIT = 11
    REMOVE = 12
    AGENT_ENDS = 13
    IDLE_CLOSES = 14
    LOSE = 15


SYSTEM = Participant("system", 0, "External")
_BOT = Participant("bot", 100, "Bot")
_SUPERVISOR = Participant("supervisor", 101, "Supervisor")
_OTHER_CLIENT = Participant("visitor", 102, "Client")


# One value for all chats, which have the same few agents, and under load the same few nicknames.


@lru_cache(maxsize=1000)
def customer(nickname: str) -> Participant:
    """The customer of a chat."""
    return Participant(nickname, 1, "Client")


@lru_cache(maxsize=1000)
def _agent(nickname: str, number: int) -> Participant:
    return Participant(nickname, number, "Agent")


@lru_cache(maxsize=1000)
def _with(others: tuple[Participant, ...], who: Participant) -> tuple[Participant, ...]:
    return (*others, who)


def begin(chat: SimulatedChat, now: float) -> None:
    """A chat was opened: the customer is in, and who comes is planned."""
    config = chat.config
    if config.customer_join_told:
        chat.event(now, "ParticipantJoined", chat.customer)
    if config.agents:
        chat.plan(now + chat.within(config.agent_wait_s), Plan.JOIN)
    if chat.happens(config.bot_chance):
        chat.event(now, "ParticipantJoined", _BOT)
        chat.speak(now, _BOT, "Message", "Hello, an agent will be with you soon.")
        chat.others = _with(chat.others, _BOT)
    if config.notice_every_s:
        chat.plan(now + config.notice_every_s, Plan.NOTICE)
    if chat.happens(config.removed_chance):
        chat.plan(now + chat.within(config.removed_after_s), Plan.REMOVE)
    if chat.happens(config.other_client_chance):
        chat.plan(now + chat.within(config.other_client_after_s), Plan.VISIT)


def plan_end(chat: SimulatedChat, at: float, reason: str) -> None:
    """Plan that the server's side ends the chat at an instant; reason: agent, idle, early or unrecoverable."""
    chat.plan(at, _ENDS[reason])


def heard(chat: SimulatedChat, now: float) -> None:
    """The customer spoke: an agent answers, a bot while there is none, or the first agent to come."""
    config = chat.config
    if agent_is_there(chat):
        _plan_answer(chat, now)
        return
    chat.awaited = config.agents
    if _BOT in chat.others:
        chat.plan(now + chat.within(config.bot_answer_s), Plan.BOT_ANSWER)


def act(chat: SimulatedChat, at: float, plan: Plan, who: Participant | None) -> None:
    """Carry out what was planned; what someone planned who has left since is dropped."""
    if who is None or who in chat.others:
        _ACTS[plan](chat, at, who or SYSTEM)


def agent_is_there(chat: SimulatedChat) -> bool:
    """Whether an agent is in the chat now."""
    return any(who.kind == "Agent" for who in chat.others)


def _plan_answer(chat: SimulatedChat, now: float) -> None:
    wait = chat.within(chat.config.agent_answer_s)
    if chat.config.agent_types:
        chat.plan(now + wait / 2, Plan.TYPE)
    chat.plan(now + wait, Plan.ANSWER)


def _join(chat: SimulatedChat, at: float, number: int) -> None:
    config = chat.config
    name = "agent" if number == 2 or config.agents_share_name else f"agent-{number - 1}"
    agent = _agent(name, number)
    chat.event(at, "ParticipantJoined", agent)
    chat.others = _with(chat.others, agent)
    chat.stir(at)
    if _BOT in chat.others:
        _go(chat, at, _BOT)
    if chat.happens(config.agent_leaves_chance):
        chat.plan(at + chat.within(config.agent_leaves_after_s), Plan.LEAVE, agent)
    if chat.happens(config.transfer_chance):
        chat.plan(at + chat.within(config.transfer_after_s), Plan.HAND_ON, agent)
    if chat.happens(config.supervisor_chance):
        chat.plan(at + chat.within(config.supervisor_after_s), Plan.SUPERVISE)
    if chat.awaited:
        chat.awaited = False
        _plan_answer(chat, at)


def _first_joins(chat: SimulatedChat, at: float, _: Participant) -> None:
    _join(chat, at, 2)


def _take_over(chat: SimulatedChat, at: float, _: Participant) -> None:
    """The agent to whom the chat was handed on joins; its number tells it from those before."""
    _join(chat, at, max(chat.agents(), default=1) + 1)


def _who_answers(chat: SimulatedChat) -> Participant | None:
    return next((who for who in chat.others if who.kind == "Agent"), None)


def _type(chat: SimulatedChat, at: float, _: Participant) -> None:
    agent = _who_answers(chat)
    if agent is not None:
        chat.event(at, "TypingStarted", agent)


def _answer(chat: SimulatedChat, at: float, _: Participant) -> None:
    """Whichever agent is there answers; in the middle of a transfer the next one will."""
    agent = _who_answers(chat)
    if agent is None:
        chat.awaited = True
        return
    config = chat.config
    if config.agent_types:
        chat.event(at, "TypingStopped", agent)
    chat.speak(at, agent, "Message", "I see.")
    if chat.happens(config.agent_pushes_chance):
        chat.speak(at, agent, "PushUrl", URL)


def _leave(chat: SimulatedChat, at: float, agent: Participant) -> None:
    """The agent ends the chat, or only leaves it where a colleague is there already."""
    told = chat.config.agent_left_told
    if told == "before" or any(who.kind == "Agent" and who != agent for who in chat.others):
        _go(chat, at, agent)
    else:
        _without(chat, agent)
    if not agent_is_there(chat):
        chat.end(at, "agent")
        if told == "after":
            chat.event(at, "ParticipantLeft", agent)


def _hand_on(chat: SimulatedChat, at: float, agent: Participant) -> None:
    gap = chat.within(chat.config.transfer_gap_s)
    if chat.config.transfer_overlaps:
        _take_over(chat, at, agent)
        chat.plan(at + gap, Plan.GO, agent)
    else:
        _go(chat, at, agent)
        chat.plan(at + gap, Plan.TAKE_OVER)


def _go(chat: SimulatedChat, at: float, who: Participant) -> None:
    """Someone leaves without ending the chat."""
    chat.event(at, "ParticipantLeft", who)
    _without(chat, who)


def _without(chat: SimulatedChat, who: Participant) -> None:
    chat.others = tuple(other for other in chat.others if other != who)


def _supervise(chat: SimulatedChat, at: float, _: Participant) -> None:
    if _SUPERVISOR in chat.others:
        return
    chat.event(at, "ParticipantJoined", _SUPERVISOR)
    chat.others = _with(chat.others, _SUPERVISOR)
    chat.speak(at, _SUPERVISOR, "Message", "Let me help.")
    chat.plan(at + chat.within(chat.config.supervisor_stays_s), Plan.GO, _SUPERVISOR)


def _visit(chat: SimulatedChat, at: float, _: Participant) -> None:
    """A second Client joins, who is not the customer whatever it is called."""
    config = chat.config
    name = chat.customer.nickname if config.other_client_shares_name else _OTHER_CLIENT.nickname
    other = _OTHER_CLIENT._replace(nickname=name)
    chat.event(at, "ParticipantJoined", other)
    chat.others = _with(chat.others, other)
    chat.plan(at + chat.within(config.other_client_stays_s), Plan.GO, other)


def _bot_answers(chat: SimulatedChat, at: float, _: Participant) -> None:
    if _BOT in chat.others:
        chat.speak(at, _BOT, "Message", "An agent will be with you soon.")


def _notice(chat: SimulatedChat, at: float, _: Participant) -> None:
    chat.event(at, "Notice", SYSTEM, "All conversations are recorded.")
    chat.plan(at + chat.config.notice_every_s, Plan.NOTICE)


def _remove(chat: SimulatedChat, at: float, _: Participant) -> None:
    """The server ends the chat itself."""
    chat.end(at, "early")


def _agent_ends(chat: SimulatedChat, at: float, _: Participant) -> None:
    """An agent ends the chat, whether or not one has joined it yet."""
    chat.event(at, "ParticipantLeft", _who_answers(chat) or _agent("agent", 2))
    chat.end(at, "agent")


def _idle_closes(chat: SimulatedChat, at: float, _: Participant) -> None:
    chat.close_idle(at)


def _lose(chat: SimulatedChat, at: float, _: Participant) -> None:
    chat.end(at, "unrecoverable")


_ENDS = {
    "agent": Plan.AGENT_ENDS, "idle": Plan.IDLE_CLOSES, "early": Plan.REMOVE, "unrecoverable": Plan.LOSE,
}  # fmt: skip
_ACTS: Mapping[Plan, Callable[[SimulatedChat, float, Participant], None]] = {
    Plan.JOIN: _first_joins,
    Plan.ANSWER: _answer,
    Plan.LEAVE: _leave,
    Plan.HAND_ON: _hand_on,
    Plan.TAKE_OVER: _take_over,
    Plan.GO: _go,
    Plan.SUPERVISE: _supervise,
    Plan.BOT_ANSWER: _bot_answers,
    Plan.NOTICE: _notice,
    Plan.TYPE: _type,
    Plan.VISIT: _visit,
    Plan.REMOVE: _remove,
    Plan.AGENT_ENDS: _agent_ends,
    Plan.IDLE_CLOSES: _idle_closes,
    Plan.LOSE: _lose,
}
