"""The discrete-event driver: the real engine against the simulator's model, in virtual time.

No real time passes and nothing is sent: the clock is a heap of scheduled calls. The same seed gives exactly the same
run. Public as a testing tool: `VirtualSwarm(settings, service, users=10, chats=100).run()`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any

from chatload.chat.customer import ChatHooks
from chatload.chat.effects import Exchange, Result, Send, Wait
from chatload.chat.engine import ChatEngine
from chatload.chat.personas import new_chat
from chatload.chat.record import SessionRecord
from chatload.chat.settings import PAUSE_AFTER_REFUSAL_S, SessionSettings
from chatload.protocol.names import ResponseNames
from chatload.protocol.operations import repeatable
from chatload.protocol.reply import GATEWAY_STATUSES, parse_payload, read, read_file
from chatload.protocol.wire import Detail, WireResult
from chatload.run.books import Books
from chatload.simulator.model.answers import HeldRequest, NoAnswer, ServiceAnswer
from chatload.simulator.model.faults import Fault
from chatload.simulator.model.service import ChatService
from chatload.virtual.network import NetworkModel, Stalls

_NAMES = ResponseNames()
#: The number of a request whose answer is ignored.
_UNHEARD = 0


@dataclass
class VirtualRun:
    """The result of a virtual run. ended_at: the virtual instant at which it was over (seconds)."""

    records: list[SessionRecord]
    books: Books
    service: ChatService
    ended_at: float

    @cached_property
    def ledger(self) -> list[dict[str, Any]]:
        """The server's ledger rows, built at the first access: they need more memory than the run itself."""
        after = self.ended_at + self.service.config.flex_disconnect_timeout_s + 1.0
        return list(self.service.ledger_rows(after))


class VirtualSwarm:
    """Holds `chats` chats in virtual time.

    Closed workload: `users` customers, each of whom holds one chat after the other. Open workload: chats that begin at
    the instants of `arrivals`, whether or not earlier ones have ended.
    """

    def __init__(
        self,
        settings: SessionSettings,
        service: ChatService,
        *,
        users: int = 0,
        chats: int,
        arrivals: Iterable[float] | None = None,
        seed: int = 0,
        network: NetworkModel = NetworkModel(),
        stalls: Stalls = Stalls(),
        spread_s: float = 1.0,
        stop_at: float | None = None,
        starts_at: float = 0.0,
        on_ended: Callable[[ChatEngine], None] | None = None,
        hooks: ChatHooks | None = None,
    ) -> None:
        """Prepare a run.

        settings: what they know about the server is not taken over. seed: of the customers and the network.
        spread_s: the users' first chats start spread over this time (seconds).
        stop_at: when the run is stopped and every chat says goodbye (seconds after the start); None: never.
        starts_at: the instant of the virtual clock at which the run starts; arrivals and stalls count from it.
        on_ended: is called with each chat that has ended; the run keeps no records then.
        hooks: `next_message` and `on_event` of every chat.
        """
        self.settings = settings.for_a_run()
        self.service, self.network = service, network
        self.stalls = stalls.shifted(starts_at)
        self.random = Random(seed)
        self.books = Books()
        self.records: list[SessionRecord] = []
        self.on_ended = on_ended or (lambda chat: self.records.append(chat.record))
        self.now = self._starts_at = starts_at
        self.stop_at = inf if stop_at is None else starts_at + stop_at
        self._seed, self._chats, self._begun = seed, chats, 0
        self._hooks = hooks
        self._heap: list[tuple[float, int, Callable[..., None], Sequence[Any]]] = []
        self._scheduled = 0
        self._arrivals = None if arrivals is None else iter(arrivals)
        service.start_at(starts_at)
        for number in range(min(users, chats)):
            self.at(starts_at + spread_s * number / users, self.next_chat)
        self._next_arrival()

    def at(self, instant: float, call: Callable[..., None], *arguments: Any) -> None:
        """Schedule a call at a virtual instant; calls at the same instant keep their order."""
        self._scheduled += 1
        heappush(self._heap, (instant, self._scheduled, call, arguments))

    def next_chat(self) -> None:
        """Begin the next chat of a user, if there are chats left to hold."""
        if self._wants_more():
            self._begun += 1
            number, visitor = self._seed + self._begun, None
            if self._hooks is not None:
                visitor = self.settings.script.customer(number)
            _Driven(self, new_chat(self.settings, self.books, number, self.now, visitor, self._hooks))

    def ended(self, chat: ChatEngine) -> None:
        """Note that a chat has ended; in a closed workload, begin another one."""
        self.on_ended(chat)
        if self._arrivals is None:
            self.at(self.now + (0.0 if chat.record.chat_id else PAUSE_AFTER_REFUSAL_S), self.next_chat)

    def _next_arrival(self) -> None:
        due = inf if self._arrivals is None else self._starts_at + next(self._arrivals, inf)
        if due < self.stop_at:
            self.at(self.stalls.awake(due), self._arrive, due)

    def _arrive(self, due: float) -> None:
        if self._wants_more():
            self.books.arrived(self.now - due)
            self.next_chat()
            self._next_arrival()

    def _wants_more(self) -> bool:
        return self._begun < self._chats and self.now < self.stop_at

    def run(self) -> VirtualRun:
        """Run until every chat has ended."""
        heap = self._heap
        while heap:
            self.now, _, call, arguments = heappop(heap)
            call(*arguments)
        return VirtualRun(self.records, self.books, self.service, self.now)


class _Driven:
    """One open session."""

    __slots__ = (
        "connected_at", "held", "held_number", "resent", "send", "sent", "session", "steps", "swarm", "there_s",
        "waiting",
    )  # fmt: skip

    def __init__(self, swarm: VirtualSwarm, session: ChatEngine) -> None:
        self.swarm, self.session = swarm, session
        self.steps = session.steps()
        self.waiting = 0
        self.sent = self.there_s = 0.0
        self.send: Send | None = None
        self.held: HeldRequest | None = None
        self.held_number = _UNHEARD
        self.resent = False
        self.connected_at = swarm.now
        self._advance(None)

    def _advance(self, result: Result) -> None:
        swarm = self.swarm
        try:
            effect = self.steps.send(result)
        except StopIteration:
            swarm.ended(self.session)
            return
        if type(effect) is Wait:
            until = effect.until
            if swarm.now < swarm.stop_at < until:
                until = swarm.stop_at
            swarm.at(swarm.stalls.awake(max(swarm.now, until)), self._wake)
        elif type(effect) is Send:
            self._transmit(effect)

    def _wake(self) -> None:
        self._advance(self.swarm.now if self.swarm.now >= self.swarm.stop_at else None)

    def _transmit(self, send: Send) -> None:
        swarm = self.swarm
        network, random, now = swarm.network, swarm.random, swarm.now
        self.send, self.sent, self.resent = send, now, False
        self.waiting += 1
        if not swarm.service.is_down(now) and swarm.service.restarted_at > self.connected_at:
            self.connected_at = now
        if network.refuses(random, now, send.operation):
            failed = WireResult(None, 0.0, failure="connection", detail=Detail.REFUSED)
            swarm.at(now + network.request_latency(random, now, send.operation), self._receive, self.waiting, failed)
            return
        swarm.at(now + send.timeout_s, self._give_up, self.waiting)
        if repeatable(send.operation, send.fields) and network.suffers("stale", random):
            self.resent = True
            if random.random() < 0.5:
                self._arrive_unheard(send, now + network.latency(random))
            now += 2 * network.latency(random)
        if network.suffers("duplicated", random):
            self._arrive_unheard(send, now + network.latency(random))
        if network.suffers("late", random):
            self._arrive_unheard(send, self.sent + send.timeout_s)
        elif not network.suffers("loss", random):
            self.there_s = network.request_latency(random, now, send.operation)
            swarm.at(now + self.there_s, self._arrive, self.waiting, send)

    def _arrive_unheard(self, send: Send, since: float) -> None:
        """Let a request arrive at most one timeout after `since`; its answer is ignored."""
        arrives = since + self.swarm.random.random() * self.session.settings.timeout_s
        self.swarm.at(arrives, self._arrive, _UNHEARD, send)

    def _arrive(self, number: int, send: Send) -> None:
        swarm = self.swarm
        fault = swarm.service.draw(swarm.now, send.operation)
        delay_s = 0.0 if swarm.service.is_down(swarm.now) else swarm.service.serve(swarm.now)
        if fault is not None and fault.kind == "stall":
            delay_s += fault.delay_s
        if delay_s:
            swarm.at(swarm.now + delay_s, self._process, number, send, fault)
        else:
            self._process(number, send, fault)

    def _process(self, number: int, send: Send, fault: Fault | None) -> None:
        swarm = self.swarm
        fields = send.fields
        if not swarm.service.is_down(swarm.now) and swarm.service.restarted_at > self.connected_at:
            # The connection broke while the request was under way.
            self._send_back(number, ServiceAnswer(silence=NoAnswer.CLOSED))
            return
        answer = swarm.service.process(swarm.now, send.operation, fields.get("chat_id"), fields, fault, send.content)
        self._send_back(number, answer)

    def _send_back(self, number: int, answer: ServiceAnswer) -> None:
        """Send an answer of the service back, which may get lost; resume a held request when it is due or woken.

        A held request without a `wake` is over: it is answered, or given up.
        """
        swarm, hold = self.swarm, answer.held
        if hold is not None:
            self.held, self.held_number = hold, number
            hold.wake = lambda: swarm.at(swarm.now, self._resume, number, hold)
            swarm.at(max(swarm.now, swarm.service.hold_due(hold)), self._resume, number, hold)
        elif answer.silence is not NoAnswer.LOST and not swarm.network.suffers("loss", swarm.random):
            back = swarm.now + answer.delay_s + swarm.network.answer_latency(swarm.random, self.there_s)
            swarm.at(back, self._receive, number, answer)

    def _resume(self, number: int, hold: HeldRequest) -> None:
        if hold.wake is not None:
            hold.wake = None
            self._send_back(number, self.swarm.service.resume(self.swarm.now, hold))

    def _abandon(self, hold: HeldRequest) -> None:
        """The client has closed the connection."""
        if hold.wake is not None:
            hold.wake = None
            self.swarm.service.abandon(self.swarm.now, hold)

    def _give_up(self, number: int) -> None:
        if number == self.waiting and self.send is not None:
            self._receive(number, WireResult(self.sent, 0.0, failure="timeout", detail=Detail.WAITING))
            hold, swarm = self.held, self.swarm
            if hold is not None and self.held_number == number and not swarm.network.suffers("loss", swarm.random):
                swarm.at(swarm.now + swarm.network.latency(swarm.random), self._abandon, hold)

    def _receive(self, number: int, what: ServiceAnswer | WireResult) -> None:
        if number != self.waiting or self.send is None:
            return
        send, swarm = self.send, self.swarm
        self.send = None
        at = swarm.stalls.awake(swarm.now)
        exchange = read_answer(what, send, self.sent, at)
        exchange.stalled_s = swarm.stalls.within(self.sent, at)
        exchange.stopping = at >= swarm.stop_at
        exchange.connected_at = self.connected_at
        if self.resent:
            # The first sending may have arrived.
            exchange.resent, exchange.sent_at = True, self.sent
        swarm.at(at, self._advance, exchange)


def read_answer(what: ServiceAnswer | WireResult, send: Send, sent: float, at: float) -> Exchange:
    """Return the result of a request that left at `sent`, and was answered or failed at `at`."""
    if isinstance(what, ServiceAnswer) and what.silence is not None:
        refused = what.silence is NoAnswer.REFUSED
        detail = Detail.REFUSED if refused else Detail.CLOSED
        # Without a connection no byte left.
        what = WireResult(None if refused else sent, 0.0, failure="connection", detail=detail)
    if isinstance(what, WireResult):
        return Exchange(sent, what.sent_at, at, read(_NAMES, what), answered=False)
    if what.payload is not None and what.http_status == 200:
        return Exchange(sent, sent, at, parse_payload(_NAMES, what.payload))
    reader = read_file if send.operation == "FileDownload" else read
    reply = reader(_NAMES, WireResult(0.0, 0.0, http_status=what.http_status, body=what.raw or b""))
    return Exchange(sent, sent, at, reply, gateway=what.http_status in GATEWAY_STATUSES)
