"""One chat on the server: its transcript, clocks, secureKeys, participants and files. It is advanced on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from heapq import heappop, heappush
from math import ceil
from typing import Any, NamedTuple

from chatload.protocol.names import EventNames, put_in
from chatload.random_numbers import SplitMix64
from chatload.simulator.model.answers import HeldRequest, OperationRefusedError, ServiceState
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.ledger import LedgerEntry

NEVER = float("inf")
#: Ends after which the transcript says that the customer left.
_CUSTOMER_LEAVES = frozenset({"expired", "disconnected", "early"})
#: Ends after which only some servers write that the customer left.
_CUSTOMER_IS_REMOVED = frozenset({"agent", "idle"})
#: Detail of an early end: the session could not be restored on another node.
RESTORATION = "restoration failed"
#: End reason of the ledger -> quit-reason-code of Chat Server [doc: Chat Server "Reason Codes"].
_QUIT_CODES = {"disconnected": 0, "expired": 3, "agent": 4, "early": 5, "idle": 7}
_RESTORATION_CODE = 8
#: The codes that answers to clients carry, as documented.
_DOCUMENTED_CODES = frozenset({4, 5, 7, 8})
_QUIT_REASON = EventNames().quit_reason
_UNREGISTERED = "user-register-timeout"
#: List elements per event of a transcript: kind, participant, instant, words (_Words). One flat list takes half the
#: memory of objects, and a soak has many events.
_EVENT = 4
#: Number of replaced secureKeys that are remembered.
_OLD_KEYS = 16
#: An event's text, or its text and further members of its JSON.
_Words = str | tuple[str | None, dict[str, Any]] | None


class SimulatedChat:
    """A chat on the server. `advance` first, then act; everything happens in order of time.

    others: the participants besides the customer. awaited: the customer spoke while no agent was there. hold: the
    GetMessages that is held, or None. user: the flex user's id. user_key: what tells that user apart, an e-mail address
    or the id. events: number of events in the transcript. draft: what the customer is typing, as far as known.
    timeout_s: its flex-disconnect-timeout (seconds); 0 is none. due, settled: kept for the service: when it examines
    this chat next, and whether it has counted its end.
    """

    __slots__ = (
        "_agenda", "_alerts", "_held_contact", "_key", "_key_answers", "_key_since", "_last_contact", "_last_words",
        "_not_before", "_old_keys", "_planned", "_shared", "_transcript", "agents_so_far", "awaited", "config",
        "customer", "draft", "draws", "due", "entry", "files", "hold", "others", "settled", "timeout_s", "typing",
        "user", "user_data", "user_key",
    )  # fmt: skip

    def __init__(self, shared: ServiceState, entry: LedgerEntry, seed: str, nickname: str) -> None:
        self._shared, self.config, self.entry = shared, shared.config, entry
        self.draws = SplitMix64(seed)
        self.user = f"{self.draws.bits():016X}"
        self._key, self._key_since, self._key_answers = f"{self.draws.bits():016x}", entry.started_at, 0
        self._old_keys: tuple[tuple[str, float], ...] = ()
        self.customer = _participant(nickname, 1, "Client")
        self._transcript: list[Any] = []
        self.others: tuple[Participant, ...] = ()
        self.awaited = self.typing = self.settled = False
        self.draft, self.user_key = "", self.user
        self.user_data: dict[str, str] | None = None
        self.files: ChatFiles | None = None
        self.hold: HeldRequest | None = None
        self.due = NEVER
        self._held_contact = 0
        self._agenda: list[tuple[float, int, PlannedAct, Participant | None]] = []
        self._planned = self.agents_so_far = 0
        self._last_contact = self._not_before = entry.started_at
        self.timeout_s = shared.timeout_s
        self.stir(entry.started_at)

    # -- what the customer's requests do -----------------------------------------------------------

    def contact(self, now: float, operation: str) -> None:
        """Note a request that resets the flex-disconnect-timeout clock."""
        self._last_contact = now
        self.entry.contact(now, operation, self.hold is not None)

    def keep_waiting(self, now: float, hold: HeldRequest) -> None:
        """Hold the request that just was a contact; a request held before is released."""
        self.release(now)
        self.hold, self._held_contact = hold, self.entry.contacts - 1

    def release(self, now: float) -> None:
        """Release the held request: the silence counts from here."""
        if self.hold is None:
            return
        self.hold = None
        if not self.ended:
            self._last_contact = now
            self.entry.released(self._held_contact, now)

    def said(self, now: float, text: str, more: dict[str, Any] | None = None) -> None:
        """Add a message of the customer; a present agent or bot answers, or the first agent to join."""
        self.typing, self.draft = False, ""
        self.speak(now, self.customer, "Message", text, more)
        answer_customer(self, now)

    def end(self, now: float, reason: str, detail: str = "") -> None:
        """End the chat."""
        if self.hold is not None:
            self.entry.released(self._held_contact, now)
        self.entry.ended_at, self.entry.end_reason, self.entry.detail = now, reason, detail
        config = self.config
        removed = config.removed_customer_leaves or config.quit_reasons != "none"
        leaves = reason in _CUSTOMER_LEAVES or (reason in _CUSTOMER_IS_REMOVED and removed)
        if leaves and config.customer_left_told:
            self.event(now, "ParticipantLeft", self.customer, more=_quit_attributes(config, reason, detail))
        self._agenda.clear()

    def change_timeout(self, now: float, timeout_s: float) -> None:
        """Change the flex-disconnect-timeout. A chat that has been silent for longer than it is dropped now."""
        self.advance(now)
        self.timeout_s, self._not_before = timeout_s, now

    def close_idle(self, at: float) -> None:
        """Inactivity control closes the chat."""
        if self.config.idle_close_told:
            self.event(at, "IdleClose", SYSTEM, "IDLE_CONTROL_CLOSE")
        self.end(at, "idle")

    @property
    def ended(self) -> bool:
        """Whether the chat is over."""
        return self.entry.ended_at is not None

    @property
    def dropped(self) -> bool:
        """Whether the chat ended because its client sent nothing for too long."""
        return self.entry.end_reason == "expired" or self.entry.detail == _UNREGISTERED

    # -- time --------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Carry out everything that was due by `now`; a contact at `now` itself is still in time."""
        agenda = self._agenda
        while not self.ended:
            deadline, idle = self._deadline(), self._idle_at
            planned = agenda[0][0] if agenda else NEVER
            due = min(deadline, planned, idle)
            if due > now or (due == now and due == deadline):
                return
            if agenda and due == planned:
                at, _, act, who = heappop(agenda)
                if who is None or who in self.others:
                    act(self, at, who or SYSTEM)
            elif due == idle and self._alerts >= (2 if self.config.idle_alert2_s else 1):
                self.close_idle(idle)
            elif due == idle:
                self._alerts += 1
                self.event(idle, "IdleAlert", SYSTEM, "IDLE_CONTROL_ALERT")
            elif deadline < self._last_contact + (self.timeout_s or NEVER):
                # Not dropped by the flex-disconnect-timeout: by that clock it ended before its deadline.
                self.end(deadline, "early", _UNREGISTERED)
            else:
                self.entry.timeout_s = self.timeout_s
                self.end(deadline, "expired")

    def next_act(self) -> float:
        """Return when something happens next without a request in an open chat, other than a drop for silence."""
        planned = self._agenda[0][0] if self._agenda else NEVER
        return min(planned, self._idle_at)

    def next_due(self) -> float:
        """Return when something happens next without a request in an open chat."""
        return min(self._deadline(), self.next_act())

    def plan(self, at: float, act: PlannedAct, who: Participant | None = None) -> None:
        """Plan that `who` does something at an instant, unless they have left or the chat is over by then."""
        self._planned += 1
        heappush(self._agenda, (at, self._planned, act, who))

    # -- the transcript ----------------------------------------------------------------------------

    def event(
        self, now: float, kind: str, who: Participant, text: str | None = None, more: dict[str, Any] | None = None
    ) -> None:
        """Add an event to the transcript; indices count from 1."""
        self._transcript += (kind, who, now, (text, more) if more else text)

    def speak(self, now: float, who: Participant, kind: str, text: str, more: dict[str, Any] | None = None) -> None:
        """Add an event that is speech, so that inactivity control starts again."""
        self.event(now, kind, who, text, more)
        self.stir(now)

    def stir(self, now: float) -> None:
        """Start inactivity control again."""
        self._last_words, self._alerts = now, 0

    def events_from(self, position: int) -> list[dict[str, Any]]:
        """Return the events of the transcript from an index on, as JSON."""
        log = self._transcript
        starts = range((position - 1) * _EVENT, len(log), _EVENT)
        return [self._payload(index, *log[at : at + _EVENT]) for index, at in enumerate(starts, position)]

    def notice(self, now: float, text: str, user_data: dict[str, str]) -> dict[str, Any]:
        """Return a Notice for the customer alone: it is not in the transcript and has no index."""
        payload = self._payload(0, "Notice", self.customer, now, (text, {"userData": user_data}))
        del payload["index"]
        return payload

    @property
    def events(self) -> int:
        """Number of events in the transcript."""
        return len(self._transcript) // _EVENT

    def own_files(self) -> ChatFiles:
        """Return the files of the chat; they are made when they are first needed."""
        if self.files is None:
            self.files = ChatFiles(self._shared)
        return self.files

    @property
    def agent(self) -> Participant | None:
        """The agent in the chat who came first; None while there is none."""
        return next((who for who in self.others if who.kind == "Agent"), None)

    # -- keys --------------------------------------------------------------------------------------

    def key_valid_until(self, shown: str | None) -> float | None:
        """Return the instant until which a secureKey is valid; None if it never was valid."""
        return NEVER if shown == self._key else dict(self._old_keys).get(shown or "")

    def give_key(self, now: float) -> str:
        """Return the secureKey to put into an answer; a new one if one is due."""
        config = self.config
        most, after = config.key_rotates_answers, config.key_rotates_s
        if most or after:
            if (most and self._key_answers >= most) or (after and now - self._key_since >= after):
                replaced = (self._key, now + config.old_key_grace_s)
                self._old_keys = (*self._old_keys[1 - _OLD_KEYS :], replaced)
                self._key, self._key_since, self._key_answers = f"{self.draws.bits():016x}", now, 0
            self._key_answers += 1
        return self._key

    # -- inside ------------------------------------------------------------------------------------

    def _deadline(self) -> float:
        """Return when the chat is dropped without a contact: at the first sweep that finds it silent for too long.

        A request that is held is a contact until it is released.
        """
        config, last = self.config, self._last_contact
        if self.hold is not None:
            last = max(last, self.hold.until)
        deadline = max(last + (self.timeout_s or NEVER), self._not_before)
        if config.user_register_timeout_s and self.entry.contacts <= 1:
            deadline = min(deadline, self.entry.started_at + config.user_register_timeout_s)
        every = config.sweep_interval_s
        return max(deadline, ceil(deadline / every) * every) if every and deadline < NEVER else deadline

    @property
    def _idle_at(self) -> float:
        """When inactivity control acts next: it alerts once or twice, then closes. Polls do not count as words.

        Source: options timeout-alert, timeout-alert2 and timeout-close of Chat Server [opt].
        """
        config = self.config
        if not config.idle_alert_s:
            return NEVER
        second = [config.idle_alert2_s] if config.idle_alert2_s else []
        waits = [config.idle_alert_s, *second, config.idle_close_s or NEVER]
        return self._last_words + sum(waits[: self._alerts + 1])

    def _payload(self, index: int, kind: str, who: Participant, at: float, words: _Words) -> dict[str, Any]:
        """An event's JSON, with the names of gms-v2."""
        item: dict[str, Any] = {
            "from": {"nickname": who.nickname, "participantId": who.number, "type": who.kind},
            "index": index,
            "type": kind,
            "utcTime": int((self._shared.utc_offset + at) * 1000),
        }
        text, more = words if type(words) is tuple else (words, {})
        if text is not None:
            item["text"] = text
        item.update(more)
        if self._shared.marked:
            self._shared.mark(item, at, self.entry)
        return item


# -- participants: agents, bots, supervisors, notices ----------------------------------------------


class Participant(NamedTuple):
    """A participant of a chat. kind: Client, Agent, Supervisor, Bot or External."""

    nickname: str
    number: int
    kind: str


#: What a participant does: (chat, instant, participant). SYSTEM, if the act was planned for nobody in particular.
PlannedAct = Callable[[SimulatedChat, float, Participant], None]
SYSTEM = Participant("system", 0, "External")
_BOT = Participant("bot", 100, "Bot")
_SUPERVISOR = Participant("supervisor", 101, "Supervisor")
_OTHER_CLIENT = Participant("visitor", 102, "Client")


# Cached: all chats have the same few agents and, under load, the same few nicknames.
_participant = lru_cache(maxsize=1000)(Participant)


def _enter(chat: SimulatedChat, at: float, who: Participant) -> None:
    chat.event(at, "ParticipantJoined", who)
    chat.others = (*chat.others, who)


def open_conversation(chat: SimulatedChat, now: float) -> None:
    """Add the customer to a new chat, and plan who joins."""
    config = chat.config
    if config.customer_join_told:
        chat.event(now, "ParticipantJoined", chat.customer)
    if config.agents:
        chat.plan(now + chat.draws.uniform(*config.agent_wait_s), _agent_joins)
    if chat.draws.happens(config.bot_chance):
        _enter(chat, now, _BOT)
        chat.speak(now, _BOT, "Message", "Hello, an agent will be with you soon.")
    if config.notice_every_s:
        chat.plan(now + config.notice_every_s, _notice)
    if chat.draws.happens(config.removed_chance):
        plan_end(chat, now + chat.draws.uniform(*config.removed_after_s), "early")
    if chat.draws.happens(config.other_client_chance):
        chat.plan(now + chat.draws.uniform(*config.other_client_after_s), _visit)


def plan_end(chat: SimulatedChat, at: float, reason: str) -> None:
    """Plan that the server's side ends the chat at an instant; reason: agent, idle, early or unrecoverable."""
    chat.plan(at, _PLANNED_ENDS[reason])


def answer_customer(chat: SimulatedChat, now: float) -> None:
    """Plan the answer to a message of the customer: by an agent, by a bot while there is none, or by the next agent."""
    config = chat.config
    if chat.agent is not None:
        _plan_answer(chat, now)
        return
    chat.awaited = config.agents
    if _BOT in chat.others:
        chat.plan(now + chat.draws.uniform(*config.bot_answer_s), _bot_answers, _BOT)


def _plan_answer(chat: SimulatedChat, now: float) -> None:
    wait = chat.draws.uniform(*chat.config.agent_answer_s)
    if chat.config.agent_types:
        chat.plan(now + wait / 2, _type)
    chat.plan(now + wait, _agent_answers)


def _agent_joins(chat: SimulatedChat, at: float, _: Participant) -> None:
    """An agent joins; its number differs from those before."""
    chat.agents_so_far += 1
    config, number = chat.config, chat.agents_so_far + 1
    name = "agent" if number == 2 or config.agents_share_name else f"agent-{number - 1}"
    agent = _participant(name, number, "Agent")
    _enter(chat, at, agent)
    chat.stir(at)
    if _BOT in chat.others:
        _go(chat, at, _BOT)
    if chat.draws.happens(config.agent_leaves_chance):
        chat.plan(at + chat.draws.uniform(*config.agent_leaves_after_s), _agent_leaves, agent)
    if chat.draws.happens(config.transfer_chance):
        chat.plan(at + chat.draws.uniform(*config.transfer_after_s), _hand_on, agent)
    if chat.draws.happens(config.supervisor_chance):
        chat.plan(at + chat.draws.uniform(*config.supervisor_after_s), _supervise)
    if chat.awaited:
        chat.awaited = False
        _plan_answer(chat, at)


def _type(chat: SimulatedChat, at: float, _: Participant) -> None:
    if chat.agent is not None:
        chat.event(at, "TypingStarted", chat.agent)


def _agent_answers(chat: SimulatedChat, at: float, _: Participant) -> None:
    """A present agent answers; during a transfer the next one will."""
    agent = chat.agent
    if agent is None:
        chat.awaited = True
        return
    config = chat.config
    if config.agent_types:
        chat.event(at, "TypingStopped", agent)
    chat.speak(at, agent, "Message", "I see.")
    if chat.draws.happens(config.agent_pushes_chance):
        chat.speak(at, agent, "PushUrl", "https://example.com/help")


def _agent_leaves(chat: SimulatedChat, at: float, agent: Participant) -> None:
    """The agent ends the chat, or only leaves it if another agent is there already."""
    told = chat.config.agent_left_told
    if told == "before" or any(who.kind == "Agent" and who != agent for who in chat.others):
        _go(chat, at, agent)
    else:
        _without(chat, agent)
    if chat.agent is None:
        chat.end(at, "agent")
        if told == "after":
            chat.event(at, "ParticipantLeft", agent)


def _hand_on(chat: SimulatedChat, at: float, agent: Participant) -> None:
    gap = chat.draws.uniform(*chat.config.transfer_gap_s)
    if chat.config.transfer_overlaps:
        _agent_joins(chat, at, agent)
        # The chat ends with the last agent: the second one may leave first.
        chat.plan(at + gap, _agent_leaves, agent)
    else:
        _go(chat, at, agent)
        chat.plan(at + gap, _agent_joins)


def _go(chat: SimulatedChat, at: float, who: Participant) -> None:
    """A participant leaves without ending the chat."""
    chat.event(at, "ParticipantLeft", who)
    _without(chat, who)


def _without(chat: SimulatedChat, who: Participant) -> None:
    chat.others = tuple(other for other in chat.others if other != who)


def _supervise(chat: SimulatedChat, at: float, _: Participant) -> None:
    if _SUPERVISOR in chat.others:
        return
    _enter(chat, at, _SUPERVISOR)
    chat.speak(at, _SUPERVISOR, "Message", "Let me help.")
    chat.plan(at + chat.draws.uniform(*chat.config.supervisor_stays_s), _go, _SUPERVISOR)


def _visit(chat: SimulatedChat, at: float, _: Participant) -> None:
    """A second Client joins; it is not the customer, whatever its nickname."""
    config = chat.config
    name = chat.customer.nickname if config.other_client_shares_name else _OTHER_CLIENT.nickname
    other = _OTHER_CLIENT._replace(nickname=name)
    _enter(chat, at, other)
    chat.plan(at + chat.draws.uniform(*config.other_client_stays_s), _go, other)


def _bot_answers(chat: SimulatedChat, at: float, bot: Participant) -> None:
    chat.speak(at, bot, "Message", "An agent will be with you soon.")


def _notice(chat: SimulatedChat, at: float, _: Participant) -> None:
    chat.event(at, "Notice", SYSTEM, "All conversations are recorded.")
    chat.plan(at + chat.config.notice_every_s, _notice)


def _agent_ends(chat: SimulatedChat, at: float, _: Participant) -> None:
    """An agent ends the chat, whether or not one has joined it yet."""
    chat.event(at, "ParticipantLeft", chat.agent or _participant("agent", 2, "Agent"))
    chat.end(at, "agent")


_PLANNED_ENDS: Mapping[str, PlannedAct] = {
    "agent": _agent_ends,
    "idle": lambda chat, at, _: chat.close_idle(at),
    "early": lambda chat, at, _: chat.end(at, "early"),
    "unrecoverable": lambda chat, at, _: chat.end(at, "unrecoverable"),
}


def _quit_attributes(config: SimulatorConfig, reason: str, detail: str) -> dict[str, Any] | None:
    """Return the additional members of the customer's ParticipantLeft; None if it carries no code."""
    code = _RESTORATION_CODE if detail == RESTORATION else _QUIT_CODES[reason]
    if config.quit_reasons == "none" or (config.quit_reasons == "documented" and code not in _DOCUMENTED_CODES):
        return None
    more: dict[str, Any] = {}
    put_in(more, _QUIT_REASON, code if config.quit_reason_number else str(code))
    return more


# -- files -----------------------------------------------------------------------------------------


class StoredFile(NamedTuple):
    """One file. media_type: as the client stated it."""

    name: str
    media_type: str
    content: bytes

    def event_data(self, file_id: str) -> dict[str, Any]:
        """Return the members of a transcript event that describes the file."""
        size = str(len(self.content))
        about = {"file-id": file_id, "file-name": self.name, "file-size": size, "file-type": self.media_type}
        return {"userData": about}


class ChatFiles:
    """The files of one chat. Its methods raise OperationRefusedError if a limit is reached."""

    __slots__ = ("_downloads", "_kept", "_shared", "_size", "_taken")

    def __init__(self, shared: ServiceState) -> None:
        self._shared = shared
        self._kept: dict[str, StoredFile] = {}
        self._size = self._taken = self._downloads = 0

    def limits(self) -> dict[str, str]:
        """Return the limits and how much of each is used, in the vendor's names [client]."""
        config = self._shared.config
        return {
            "upload-max-files": str(config.file_max_count),
            "upload-max-file-size": str(config.file_max_bytes),
            "upload-max-total-size": str(config.file_max_total_bytes),
            "upload-file-types": config.file_types,
            "upload-need-agent": str(config.file_needs_agent).lower(),
            "download-attempts": str(config.file_downloads),
            "delete-file": "odd" if config.file_deletes else "none",
            "used-upload-max-files": str(len(self._kept)),
            "used-upload-max-total-size": str(self._size),
            "used-download-attempts": str(self._downloads),
        }

    def upload(self, file: StoredFile) -> str:
        """Store a file; return its id."""
        config = self._shared.config
        size, ending = len(file.content), file.name.rpartition(".")[2].lower()
        if config.file_types != "*" and ("." not in file.name or ending not in config.file_types.split(":")):
            raise OperationRefusedError(f"file type not allowed; allowed are {config.file_types}")
        if size > config.file_max_bytes:
            raise OperationRefusedError(f"file too large; at most {config.file_max_bytes} bytes")
        if len(self._kept) >= config.file_max_count:
            raise OperationRefusedError(f"too many files; at most {config.file_max_count}")
        if self._size + size > config.file_max_total_bytes:
            raise OperationRefusedError(f"files too large together; at most {config.file_max_total_bytes} bytes")
        if self._shared.files_bytes + size > config.files_memory_bytes:
            raise OperationRefusedError("the server has no room for files now")
        self._taken += 1
        file_id = f"{self._taken:08X}FILE"
        self._kept[file_id] = file
        self._count(size)
        return file_id

    def download(self, file_id: str) -> StoredFile:
        """Return a file; counts as one download."""
        file, most = self._find(file_id), self._shared.config.file_downloads
        if self._downloads >= most:
            raise OperationRefusedError(f"too many downloads; at most {most}")
        self._downloads += 1
        return file

    def delete(self, file_id: str) -> StoredFile:
        """Delete a file and return it."""
        file = self._find(file_id)
        if not self._shared.config.file_deletes:
            raise OperationRefusedError("files may not be deleted")
        del self._kept[file_id]
        self._count(-len(file.content))
        return file

    def clear(self) -> None:
        """Delete all files."""
        self._count(-self._size)
        self._kept.clear()

    def _find(self, file_id: str) -> StoredFile:
        file = self._kept.get(file_id)
        if file is None:
            raise OperationRefusedError("no such file")
        return file

    def _count(self, size: int) -> None:
        self._size += size
        self._shared.files_bytes += size
