"""One chat whose every request is answered by hand: what was sent when, and what was kept of it."""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace

import pytest

from chatload.chat.effects import Exchange, Send, Wait
from chatload.chat.engine import ChatEngine
from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.record import SessionRecord
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.protocol.reply import Event, Reply
from chatload.run.books import Books
from chatload.vocabulary import Outcome

FINE, ENDED, LOST, TIMEOUT = Outcome.FINE, Outcome.ENDED, Outcome.UNRECOVERABLE, Outcome.TIMEOUT
UNSUCCESSFUL, CONNECTION = Outcome.UNSUCCESSFUL, Outcome.CONNECTION
#: Chats begin here: a wrong sign hides near 0.
T = 1000.0
QUIET = CustomerScript(chat_length=Distribution("fixed", 10.0), messages=Distribution("fixed", 0))


@dataclass(frozen=True)
class Answer:
    """What becomes of one request. took: from its first byte to its answer, or to its failure; late: it leaves so long
    after it was due; connect: time spent connecting; the others as in Exchange. Seconds."""

    reply: Reply = field(default_factory=lambda: Reply(FINE))
    took: float = 0.01
    late: float = 0.0
    connect: float = 0.0
    stalled: float = 0.0
    left: bool = True
    gateway: bool = False
    stopping: bool = False
    resent: bool = False
    new_connection: bool = False

    def exchange(self, now: float) -> Exchange:
        begun = now + self.late
        sent = begun + self.connect
        answered = self.reply.outcome not in (Outcome.TIMEOUT, Outcome.CONNECTION)
        return Exchange(
            begun, sent if self.left else None, sent + self.took, self.reply, self.connect, self.stalled, answered,
            self.gateway, self.stopping, self.resent, sent if self.new_connection else float("-inf"),
        )  # fmt: skip


OK = Answer()


def says(outcome, *events, **more):
    """An answer with this outcome."""
    given = {f.name: more.pop(f.name) for f in fields(Answer) if f.name in more}
    return Answer(Reply(outcome, events=events, **more), **given)


def opened(*events, **more):
    given = {"chat_id": "c1", "user_id": "u1", "secure_key": "k1", "alias": "a1", "next_position": 2}
    return says(FINE, *events, **{**given, **more})


def event(position, kind, who, number="", ms=None, **more):
    return Event(position, kind, who, who, ms, number, **more)


@dataclass
class Placed:
    """What one chat did. asked: when (seconds after T), operation, and the fields beside the keys."""

    record: SessionRecord
    books: Books
    session: ChatEngine
    asked: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    exchanges: list[tuple[str, Exchange]] = field(default_factory=list)
    without_id: int = 0
    cut: str = ""

    @property
    def kept(self) -> dict[str, object]:
        """What the record says beside its defaults; instants as seconds after T, rounded to microseconds."""
        usual, kept = SessionRecord(), {}
        for name, value in asdict(self.record).items():
            if value == getattr(usual, name) or name in ("accepted_at", "alive_s"):
                continue  # an accepted session has both: `check_books` compares them
            if name in ("started_at", "ended_at", "goodbye_at"):
                value -= T
            kept[name] = round(value, 6) if isinstance(value, float) else value
        return kept

    @property
    def operations(self) -> list[tuple[float, str]]:
        return [(at, operation) for at, operation, _ in self.asked]


def hold(*answers, stop_at=float("inf"), settings=None, script=QUIET, timeout=6.0, widget=False, cut_at=None, **more):
    """Hold one chat; after the last answer each request is answered 0/false."""
    given = {"request_timeout_s": 1.0, "script": script, **more}
    settings = settings or SessionSettings(make_policy("fixed", timeout, allow_late=True), **given)
    if widget:
        settings = replace(settings, persona="widget")
    books, now, left = Books(), T, list(answers)
    session = new_chat(settings, books, 1, now)
    placed = Placed(session.record, books, session)
    steps = session.steps()
    try:
        effect = next(steps)
        while True:
            if isinstance(effect, Wait):
                if cut_at is not None and effect.until - T >= cut_at:
                    steps.close()
                    session.cut(T + cut_at)
                    break
                now = max(now, min(effect.until, T + stop_at))
                effect = steps.send(now if now - T >= stop_at else None)
                continue
            assert isinstance(effect, Send)
            keys = {"chat_id", "user_id", "secure_key", "alias"}
            beside = {name: value for name, value in effect.fields.items() if name not in keys}
            placed.sends.append(effect)
            placed.states.append(*(+books.states).elements())
            placed.asked.append((round(now - T, 6), effect.operation, beside))
            exchange = (left.pop(0) if left else OK).exchange(now)
            if cut_at is not None and exchange.received_at - T > cut_at:
                steps.close()
                session.cut(T + cut_at)
                placed.cut = effect.operation
                break
            now = exchange.received_at
            placed.exchanges.append((effect.operation, exchange))
            placed.without_id += (
                effect.operation == "RequestChat" and exchange.reply.outcome is FINE and (not exchange.reply.chat_id)
            )
            effect = steps.send(exchange)
    except StopIteration:
        pass
    check_books(placed)
    return placed


def check_books(placed):
    """Compare what the record and the books say with what was sent and answered, counted anew."""
    record, books, exchanges = placed.record, placed.books, placed.exchanges
    assert books.balanced()
    assert not +books.states and not -books.states
    cut = [placed.cut] if placed.cut else []
    operations = [operation for operation, _ in exchanges] + cut
    left = [e for _, e in exchanges if e.sent_at is not None]
    assert (books.started, books.verdicts) == (1, {record.verdict: 1})
    assert books.sent == Counter(operations)
    outcomes = Counter((operation, e.reply.outcome.value) for operation, e in exchanges)
    outcomes.update((operation, "connection") for operation in cut)
    assert {(o, name): n for o, by in books.outcomes.items() for name, n in by.items()} == outcomes
    assert record.requests == len(operations)
    assert record.polls == operations.count("GetMessages")
    assert record.contacts == len(left) + sum(e.resent for e in left) + len(cut)
    assert record.failures == sum(e.reply.outcome not in (FINE, ENDED) for _, e in exchanges) + placed.without_id
    assert books.resent == sum(e.resent for _, e in exchanges)
    for operation in set(operations):
        known = [e.received_at - e.sent_at for o, e in exchanges if o == operation and e.answered and e.sent_at]
        waited = [e.received_at - (e.sent_at or e.begun_at) for o, e in exchanges if o == operation and not e.answered]
        waited += [0.0] * cut.count(operation)
        latency = books.latency[operation]
        assert _micro(latency.observed) == (len(known), sum(round(s * 1e6) for s in known))
        assert _micro(latency.censored) == (len(waited), sum(round(s * 1e6) for s in waited))
    if not record.chat_id:
        assert (record.accepted_at, record.alive_s, books.exposure_s) == (None, None, 0.0)
        return
    assert record.accepted_at == next(e.received_at for _, e in exchanges if e.reply.chat_id)
    assert 0.0 <= record.alive_s <= record.ended_at - record.accepted_at
    assert books.exposure_s == pytest.approx(record.alive_s)
    # What is asked after the end is not the chat's any more.
    ends = [e.reply.ended or (not e.reply.told and bool(e.reply.events)) for _, e in exchanges]
    alive = len(ends) if placed.session.settings.persona == "widget" or True not in ends else ends.index(True) + 1
    late, ready = [], T
    for send, (operation, exchange) in list(zip(placed.sends, exchanges, strict=False))[:alive]:
        if operation != "RequestChat":
            late.append((operation, max(0.0, exchange.begun_at - max(send.due, ready))))
        ready = exchange.received_at
    polls = [late for operation, late in late if operation == "GetMessages"]
    assert record.lateness_max_s == pytest.approx(max((late for _, late in late), default=0.0), abs=1e-9)
    assert _micro(books.lateness) == (len(polls), sum(round(s * 1e6) for s in polls))


def _micro(histogram):
    return histogram.count, histogram.total_us
