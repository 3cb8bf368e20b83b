"""The pure model of the chat service: sessions, faults, ledger. The caller passes the time; there is no clock."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from heapq import heappop, heappush, heapreplace
from typing import Any

from chatload.protocol.operations import OPERATION_FIELDS
from chatload.random_numbers import SplitMix64
from chatload.simulator.model.answers import (
    FIRST_ALIAS,
    HeldRequest,
    NoAnswer,
    OperationRefusedError,
    ServiceAnswer,
    ServiceState,
    error,
    shaped,
)
from chatload.simulator.model.config import FIELDS, SimulatorConfig, changed
from chatload.simulator.model.faults import ENDS, Fault, FaultPlan, FaultSource
from chatload.simulator.model.ledger import LedgerEntry
from chatload.simulator.model.operations import ChatRequest, act, attach, bounded, nickname_of, position_of
from chatload.simulator.model.session import NEVER, RESTORATION, SimulatedChat, open_conversation, plan_end

#: 2023-11-14, so that virtual runs have a date of their own (seconds since the Unix epoch).
VIRTUAL_EPOCH = 1_700_000_000.0
_ALIAS = str(FIRST_ALIAS)
_NO_SUCH_USER, _LOGGED_OUT, _BAD_KEY = 8201, 8209, 8210


class ChatService:
    """The chat service as a value: no sockets, no clock.

    For each request that arrives: `draw` its fault; `serve` returns how long it waits in line and is served; `process`
    it that much later (a "stall" delays it by its delay_s too). An answer that is held is continued with `resume`.
    Times are seconds of the caller's clock. Deterministic: the same calls give the same answers.

    >>> service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=10.0, agents=False))
    >>> opened = service.process(0.0, "RequestChat", None, {"nickname": "Ann"}).payload
    >>> chat_id = opened["chatId"]
    >>> keys = {"user_id": opened["userId"], "secure_key": opened["secureKey"]}
    >>> service.process(9.0, "GetMessages", chat_id, keys).payload["chatEnded"]
    False
    >>> service.process(19.5, "GetMessages", chat_id, keys).payload["chatEnded"]
    True
    >>> [(row["end_reason"], row["ended_at"]) for row in service.ledger_rows(20.0)]
    [('expired', 19.0)]
    """

    def __init__(
        self,
        config: SimulatorConfig,
        faults: FaultSource | None = None,
        utc_offset: float = VIRTUAL_EPOCH,
    ) -> None:
        """utc_offset: seconds since the Unix epoch at instant 0 of the caller's clock."""
        self.config = config
        self._faults = None if isinstance(faults, FaultPlan) and not faults.faults else faults
        self._shared = ServiceState(config, utc_offset)
        self._has_shape = changed(config, FIELDS)
        #: The next instant of work without a request: begin, restart, change of the timeout, late arrival. In the past
        #: while the service is down.
        self._attends_at = -NEVER
        self._begun = False
        #: When a restart last lost all chats and connections.
        self.restarted_at = -NEVER
        self._down_until = -NEVER
        #: Faults that happen without a request, and requests that arrive late or a second time because of a fault:
        #: instant, number, which. The answers of these requests go nowhere.
        self._agenda: list[tuple[float, int, Fault | ChatRequest]] = []
        self._planned = 0
        self._chats: dict[str, SimulatedChat] = {}
        #: In order of starting; the chatId is the position.
        self._ledger: list[LedgerEntry] = []
        #: The largest delay so far between the end of a silent chat and its booking (seconds).
        self.latest_expiry_s = 0.0
        self.limits = ChatLimits(config)
        self._workers = ServiceWorkers(config)
        self._no_contacts: tuple[str, ...] = () if config.send_keeps_alive else ("SendMessage",)
        self._no_contacts += () if config.typing_keeps_alive else ("StartTyping", "StopTyping")
        # One valid entry per chat, at its `due` or before; an entry that is not at its chat's `due` is ignored.
        self._due: list[tuple[float, str, SimulatedChat]] = []

    def start_at(self, now: float) -> None:
        """Set the start of the fault windows; without a call, the first request is the start."""
        self._shared.started, self._begun = now, True
        for fault in () if self._faults is None else self._faults.unasked:
            self._plan(now + fault.from_s, fault)
            if fault.kind == "timeout_change" and fault.until_s is not None:
                configured = replace(fault, timeout_s=self.config.flex_disconnect_timeout_s)
                self._plan(now + fault.until_s, configured)

    def draw(self, now: float, operation: str) -> Fault | None:
        """Return the fault that strikes a request arriving now, or None."""
        if self._faults is None:
            return None
        self._attend(now)
        return self._faults.draw(now - self._shared.started, operation)

    def serve(self, now: float) -> float:
        """Return how long a request arriving now waits in line and is served (seconds); `process` it then."""
        return self._workers.take(now, self.live_sessions)

    def process(
        self,
        now: float,
        operation: str,
        chat_id: str | None,
        fields: Mapping[str, str],
        fault: Fault | None = None,
        content: bytes | None = None,
    ) -> ServiceAnswer:
        """Handle one request and return its answer.

        fields: our names (user_id, secure_key, position, message, ...), user data flattened as `user_data.<key>`.
        content: the bytes of an upload. A request that a fault strikes is never held.
        """
        self._attend(now)
        if now < self._down_until:
            refused = fault is not None and fault.kind == "restart"
            return ServiceAnswer(silence=NoAnswer.REFUSED if refused else NoAnswer.CLOSED)
        request = ChatRequest(operation, chat_id, fields, content, fault)
        answer = self._carry_out(now, request) if fault is None else self._struck(now, request, fault)
        return self._as_told(now, request, answer)

    def _as_told(self, now: float, request: ChatRequest, answer: ServiceAnswer) -> ServiceAnswer:
        """Return the answer with the fields and the alias that this server gives it."""
        payload = answer.payload
        if payload is not None:
            if self._shared.marked and "alias" in payload:
                entry = self._entry_of(payload.get("chatId") or request.chat_id or "")
                if entry is not None:
                    payload["alias"] = self._shared.alias(now, entry)
            if self._has_shape:
                answer.payload = shaped(self.config, request.operation, request.fields, payload)
        return answer

    def _struck(self, now: float, request: ChatRequest, fault: Fault) -> ServiceAnswer:
        """Handle a request that a fault strikes."""
        if fault.kind == "duplicate" or (fault.kind == "lost" and fault.processed()):
            self._plan(now + fault.delay_s, request)
        if fault.kind != "lost" and fault.processed():
            return fault.disguise(self._carry_out(now, request))
        if fault.kind != "lost":
            self._came_for(now, request.chat_id)
        return fault.disguise(ServiceAnswer({}))

    # -- what no request asks for ------------------------------------------------------------------

    def is_down(self, now: float) -> bool:
        """Return whether the service refuses connections now because of a restart."""
        if self._begun:
            self._attend(now)
        return now < self._down_until

    def _attend(self, now: float) -> None:
        """Carry out the restarts, changes of the timeout and late arrivals that are due by now."""
        if now < self._attends_at:
            return
        if not self._begun:
            self.start_at(now)
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            at, _, what = heappop(agenda)
            if isinstance(what, Fault):
                (self._restart if what.kind == "restart" else self._change_timeout)(at, what)
            elif at >= self._down_until:
                self._carry_out(at, what)
        self._attends_at = -NEVER if now < self._down_until else agenda[0][0] if agenda else NEVER

    def _plan(self, at: float, what: Fault | ChatRequest) -> None:
        self._planned += 1
        heappush(self._agenda, (at, self._planned, what))
        self._attends_at = min(self._attends_at, at)

    def _restart(self, at: float, fault: Fault) -> None:
        """Lose every chat; nothing is answered until the service is up again."""
        self.restarted_at = at
        for chat in list(self._chats.values()):
            chat.advance(at)
            if not chat.ended:
                chat.end(at, "restarted")
            self._settle(chat)
            self._forget(chat)
        self._due.clear()
        up_at = NEVER if fault.until_s is None else self._shared.started + fault.until_s
        self._down_until = max(self._down_until, up_at)

    def _change_timeout(self, at: float, fault: Fault) -> None:
        assert fault.timeout_s is not None
        self._shared.timeout_s = fault.timeout_s
        for chat in list(self._chats.values()) if fault.open_chats else ():
            if not chat.ended:
                chat.change_timeout(at, fault.timeout_s)
            self._settle(chat)

    # -- long polling ------------------------------------------------------------------------------

    def hold_due(self, hold: HeldRequest) -> float:
        """Return when to `resume` a held request: at most its `until`; may be in the past."""
        chat = self._chats.get(hold.chat_id)
        if chat is None or chat.ended or chat.hold is not hold:
            return -NEVER
        return min(hold.until, chat.next_act(), self._attends_at)

    def resume(self, now: float, hold: HeldRequest) -> ServiceAnswer:
        """Return the answer to a held request, or an answer that is still held: then wait again."""
        self._attend(now)
        chat = self._chats.get(hold.chat_id)
        if chat is None:
            entry = self._entry_of(hold.chat_id)
            if entry is not None and entry.end_reason == "restarted":
                return ServiceAnswer(silence=NoAnswer.CLOSED)
            return ServiceAnswer(self._not_found())
        chat.advance(now)
        waits = chat.hold is hold and not chat.ended and now < hold.until
        if waits and chat.events < hold.position:
            self._settle(chat, hold)
            return ServiceAnswer(held=hold)
        if chat.hold is hold:
            chat.release(now)
        self._settle(chat)
        answer = ServiceAnswer(self._answer(now, chat, hold.position))
        return self._as_told(now, ChatRequest("GetMessages", hold.chat_id, hold.fields), answer)

    def abandon(self, now: float, hold: HeldRequest) -> None:
        """Note that the connection of a held request is gone: the silence counts from here."""
        chat = self._chats.get(hold.chat_id)
        if chat is not None and chat.hold is hold:
            chat.advance(now)
            chat.release(now)
            self._settle(chat)

    # -- time and books ----------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Book every end that is due, and forget chats that ended long ago. The cost grows with what is due only."""
        if self._begun:
            self._attend(now)
        heap, due = self._due, []
        while heap and heap[0][0] <= now:
            at, _, chat = heappop(heap)
            if at == chat.due:
                due.append(chat)
                chat.due = NEVER
        for chat in due:
            chat.advance(now)
            ended_at = chat.entry.ended_at
            if ended_at is not None and chat.settled and now - ended_at > self.config.keeps_ended_s:
                self._forget(chat)
                continue
            if ended_at is not None and not chat.settled:
                self.latest_expiry_s = max(self.latest_expiry_s, now - ended_at)
            self._settle(chat)

    @property
    def live_sessions(self) -> int:
        """Chats not known to have ended."""
        return self.limits.sessions

    def ledger_rows(self, now: float) -> Iterator[dict[str, Any]]:
        """Yield the row of every session, in order of starting, as of now."""
        self.sweep(now)
        for entry in list(self._ledger):
            yield entry.row()

    def _settle(self, chat: SimulatedChat, own: HeldRequest | None = None) -> None:
        """After any event in a chat: count its end, note when it is due next, wake the held request."""
        if not chat.ended:
            due = chat.next_due()
        else:
            if not chat.settled:
                chat.settled, chat.due = True, NEVER
                self.limits.closed(chat.user_key)
            due = (chat.entry.ended_at or 0.0) + self.config.keeps_ended_s
        if due < chat.due:
            chat.due = due
            heappush(self._due, (due, chat.entry.chat_id, chat))
        hold = chat.hold
        if hold is not None and hold is not own and hold.wake is not None:
            hold.wake()

    def _forget(self, chat: SimulatedChat) -> None:
        if chat.files is not None:
            chat.files.clear()
        del self._chats[chat.entry.chat_id]

    # -- one request -----------------------------------------------------------------------------

    def _open(self, now: float, request: ChatRequest) -> dict[str, Any]:
        if request.fault is not None and request.fault.kind == "status_2":
            return error(2, "Chat refused")
        config, limits, fields = self.config, self.limits, request.fields
        nickname = nickname_of(fields)
        if not nickname:
            return error(2, "Nickname or both names are needed")
        email = fields.get("email", "").strip().lower() if config.one_user_per_email else ""
        if limits.refusal(email):
            self.sweep(now)
            refusal = limits.refusal(email)
            if refusal:
                return error(2, refusal)
        number = len(self._ledger) + 1
        entry = LedgerEntry(_chat_id(number), now)
        chat = SimulatedChat(self._shared, entry, f"{config.seed}/{number}", nickname)
        try:
            bounded(config, "nickname", nickname)
            text = bounded(config, "text", fields.get("text", ""))
            attach(chat, fields)
        except OperationRefusedError as refused:
            return error(2, str(refused))
        chat.user_key = email or chat.user
        chat.user = limits.opened(chat.user_key, chat.user)
        self._ledger.append(entry)
        self._chats[entry.chat_id] = chat
        chat.contact(now, "RequestChat")
        open_conversation(chat, now)
        planned = None if self._faults is None else self._faults.draw_end(chat.draws)
        if planned is not None:
            plan_end(chat, now + planned[0], planned[1])
        if text:
            chat.said(now, text)
        self._settle(chat)
        answer = {**self._answer(now, chat, 1), "chatId": entry.chat_id}
        if config.opening_events != "told":
            answer["messages"] = []
            if config.opening_events == "later":
                answer["nextPosition"] = 1
        return answer

    def _carry_out(self, now: float, request: ChatRequest) -> ServiceAnswer:
        operation, fields = request.operation, request.fields
        if operation == "RequestChat":
            return ServiceAnswer(self._open(now, request))
        chat = self._chats.get(request.chat_id or "")
        if chat is None:
            self._came_for(now, request.chat_id)
            return ServiceAnswer(self._not_found())
        valid_until = chat.key_valid_until(fields.get("secure_key"))
        if valid_until is None or fields.get("user_id") != chat.user:
            if self.config.error_8210 and valid_until is None:
                chat.advance(now)
                if not chat.ended:
                    return ServiceAnswer(self._bad_key(now, chat, "wrong secureKey"))
            return ServiceAnswer(error(2, "Access denied"))
        if operation not in OPERATION_FIELDS:
            return ServiceAnswer(error(1, "Unknown operation"))
        if now >= chat.due:
            chat.advance(now)
        if chat.entry.ended_at is not None:
            self._settle(chat)
            return ServiceAnswer(self._after_the_end(now, chat, fields, now > valid_until))
        if now > valid_until:
            # By the status table the client must take a 2 as the end of the session, so the session ends.
            return ServiceAnswer(self._bad_key(now, chat, "stale secureKey"))
        if operation == "GetMessages" and request.fault is None and chat.hold is None and not fields.get("message"):
            position = position_of(fields)
            if not self._may_hold(chat, position):
                # It only moves the deadline, so there is nothing to settle.
                chat.contact(now, operation)
                return ServiceAnswer(self._answer(now, chat, position))
        answer = self._act(now, chat, request)
        self._settle(chat, answer.held)
        return answer

    def _bad_key(self, now: float, chat: SimulatedChat, detail: str) -> dict[str, Any]:
        chat.end(now, "unrecoverable", detail)
        self._settle(chat)
        return error(2, "Bad secure key", _BAD_KEY) if self.config.error_8210 else error(2, "Access denied")

    def _not_found(self) -> dict[str, Any]:
        return error(2, "Chat session not found", _NO_SUCH_USER if self.config.error_8201 else None)

    def _act(self, now: float, chat: SimulatedChat, request: ChatRequest) -> ServiceAnswer:
        """Handle a request for a chat that is alive."""
        operation, fault, position = request.operation, request.fault, position_of(request.fields)
        handled, refused, struck = None, None, fault.kind if fault is not None else ""
        if struck != "status_2" and (struck not in ENDS or operation == "Disconnect"):
            try:
                handled = act(chat, now, request)
            except OperationRefusedError as why:
                refused = why
        if operation not in self._no_contacts and (refused is None or self.config.failed_keeps_alive):
            chat.contact(now, operation)
        if refused is not None:
            return ServiceAnswer(error(1, str(refused)))
        if struck == "status_2":
            chat.end(now, "unrecoverable")
            return ServiceAnswer(error(2, "Session lost"))
        if struck in ENDS and operation != "Disconnect":
            chat.end(now, "early", RESTORATION if struck == "failed_restoration" else "")
        if isinstance(handled, ServiceAnswer):
            return handled
        if operation == "GetMessages" and fault is None and self._may_hold(chat, position):
            hold = HeldRequest(chat.entry.chat_id, position, now + self.config.long_poll_s, request.fields)
            before = chat.hold
            chat.keep_waiting(now, hold)
            if before is not None and before.wake is not None:
                before.wake()
            return ServiceAnswer(held=hold)
        return ServiceAnswer({**self._answer(now, chat, position), **(handled or {})})

    def _may_hold(self, chat: SimulatedChat, position: int) -> bool:
        return self.config.long_poll_s > 0 and position > 0 and chat.events < position and not chat.ended

    def _after_the_end(
        self, now: float, chat: SimulatedChat, fields: Mapping[str, str], stale_key: bool
    ) -> dict[str, Any]:
        self._came_for(now, chat.entry.chat_id)
        ended_at, config = chat.entry.ended_at, self.config
        if ended_at is None or now - ended_at > config.keeps_ended_s:
            return self._not_found()
        logged_out = config.error_8209 and chat.entry.end_reason == "expired"
        if chat.dropped and config.dropped_answer == "2":
            return error(2, "User was logged out", _LOGGED_OUT) if logged_out else self._not_found()
        if stale_key:
            return error(2, "Access denied")
        if chat.entry.end_reason == "unrecoverable":
            return error(2, "Session lost")
        answer = self._answer(now, chat, position_of(fields))
        if logged_out:
            answer["errors"] = error(2, "User was logged out", _LOGGED_OUT)["errors"]
        return answer

    def _came_for(self, now: float, chat_id: str | None) -> None:
        """Note a request for a chat; if the chat is over already, it is a late contact."""
        entry = self._entry_of(chat_id or "")
        if entry is None:
            return
        chat = self._chats.get(entry.chat_id)
        if chat is not None:
            chat.advance(now)
            self._settle(chat)
        if entry.ended_at is not None and entry.late_contact_at is None:
            entry.late_contact_at = now

    def _entry_of(self, chat_id: str) -> LedgerEntry | None:
        try:
            number = int(chat_id[:-4], 16)
        except ValueError:
            return None
        known = 0 < number <= len(self._ledger) and chat_id == _chat_id(number)
        return self._ledger[number - 1] if known else None

    def _answer(self, now: float, chat: SimulatedChat, position: int) -> dict[str, Any]:
        start, known = max(1, position - self.config.repeat_events), chat.events
        return {
            "statusCode": 0,
            "chatEnded": chat.entry.ended_at is not None,
            "messages": chat.events_from(start) if position >= 1 and start <= known else [],
            "nextPosition": known + 1,
            "alias": _ALIAS,
            "userId": chat.user,
            "secureKey": chat.give_key(now),
        }


def _chat_id(number: int) -> str:
    """Return the chatId of the chat with this number, from 1."""
    return f"{number:08X}CHAT"


# -- limits and service time -----------------------------------------------------------------------


class ChatLimits:
    """Counts live chats and flex users, and decides which chats are refused.

    A limit that has refused a chat keeps refusing until its count is below limits-restore-threshold of it. sessions:
    live chats. With `one_user_per_email` customers are told apart by e-mail address; else each chat is a flex user.
    """

    __slots__ = ("_config", "_refusing", "sessions", "users")

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self.sessions = 0
        self._refusing: set[str] = set()
        #: The `user_key` of live chats -> userId and number of chats.
        self.users: dict[str, tuple[str, int]] = {}

    def refusal(self, email: str) -> str:
        """Return why a chat is refused; empty if it is not."""
        config = self._config
        known = self.users.get(email)
        if self._over("limit-for-sessions", self.sessions, config.limit_for_sessions):
            return "limit-for-sessions reached"
        if known is None and self._over("limit-for-flex-users", len(self.users), config.limit_for_flex_users):
            return "limit-for-flex-users reached"
        if known is not None and config.sessions_per_flex_user and known[1] >= config.sessions_per_flex_user:
            return "this user has as many chats as allowed"
        return ""

    def opened(self, key: str, user: str) -> str:
        """Count a chat that was opened; return the userId of the flex user with this key: `user` if it is new."""
        self.sessions += 1
        user, count = self.users.get(key, (user, 0))
        self.users[key] = (user, count + 1)
        return user

    def closed(self, key: str) -> None:
        """Count a chat that is over."""
        self.sessions -= 1
        user, count = self.users.pop(key)
        if count > 1:
            self.users[key] = (user, count - 1)

    def _over(self, name: str, count: int, limit: int | None) -> bool:
        if limit is None:
            return False
        if count >= limit:
            self._refusing.add(name)
        elif count < self._config.limits_restore_threshold * limit:
            self._refusing.discard(name)
        return name in self._refusing


class ServiceWorkers:
    """The workers of one service, and the line before them, as in queueing theory.

    Every request waits for the first of `servers` workers that is free (first come, first served) and is then served
    for an exponential time. Its mean grows with the open chats by the Universal Scalability Law (N. J. Gunther, "A
    General Theory of Computational Scalability Based on Rational Functions", 2008):

        mean(N) = service_time (1 + contention (N - 1) + coherency N (N - 1))

    With both at 0 and independent requests at a rate r this is the M/M/c queue: its load is r service_time / servers,
    and above 1 the line grows without end. Sessions that refresh by a clock arrive more evenly, so their line is
    shorter.

    A request reaches the chat once it was served, not when it arrives: a refresh that waits too long in line comes too
    late, as at a real server. A request is served even if its client has hung up.
    """

    __slots__ = ("_config", "_draws", "_free")

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self._free = [-math.inf] * config.servers
        self._draws = SplitMix64(f"{config.seed}/service time")

    def take(self, now: float, sessions: int) -> float:
        """Take a request that arrives now; return the seconds until it was served. sessions: open chats."""
        mean = self.mean_s(sessions)
        if mean <= 0:
            return 0.0
        done = max(now, self._free[0]) - mean * math.log1p(-self._draws.random())
        heapreplace(self._free, done)
        return done - now

    def mean_s(self, sessions: int) -> float:
        """Return the mean service time of a request with this many open chats (seconds)."""
        config, n = self._config, max(sessions, 1)
        return config.service_time_s * (1 + config.contention * (n - 1) + config.coherency * n * (n - 1))
