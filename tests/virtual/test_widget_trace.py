"""The persona `widget`, request for request, against the rules of the vendor's browser client."""

from dataclasses import replace
from random import Random

import pytest

from chatload.chat.effects import Exchange, Wait
from chatload.chat.personas import POLL_EXCEPTION_LIMIT, REQUEST_TIMEOUT_S, USER_DATA, new_chat
from chatload.chat.policy import WIDGET_INTERVAL_S, make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.protocol.reply import Event, Reply
from chatload.run.books import Books
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel
from chatload.vocabulary import Outcome
from tests.virtual.truth import check_run

FINE, ENDED, NOT_NOW, LOST = Outcome.FINE, Outcome.ENDED, Outcome.UNSUCCESSFUL, Outcome.UNRECOVERABLE
QUIET = CustomerScript(chat_length=Distribution("fixed", 20.0), messages=Distribution("fixed", 0))
TALKS = CustomerScript(
    chat_length=Distribution("fixed", 30.0), messages=Distribution("fixed", 1), think=Distribution("fixed", 1.0),
    typing=Distribution("fixed", 7.0), waits_for_agent=False, message_bytes=Distribution("fixed", 70),
)  # fmt: skip
CALL_S = 0.01


class Service:
    """Answers by rule: answer(now, operation, fields) -> Reply or (Reply, seconds it takes); keeps what was asked."""

    def __init__(self, answer, script=QUIET, timeout=45.0):
        self.books, self.now, self.answer, self.asked, self.sends = Books(), 0.0, answer, [], []
        settings = SessionSettings(
            make_policy("fixed", timeout, WIDGET_INTERVAL_S), REQUEST_TIMEOUT_S, script, persona="widget"
        )
        self.session = new_chat(settings, self.books, 1, 0.0)

    def run(self):
        steps = self.session.steps()
        result = None
        while True:
            try:
                effect = steps.send(result) if result is not None else next(steps)
            except StopIteration:
                assert self.books.balanced()
                return self.session.record
            result = self.wake(effect) if isinstance(effect, Wait) else self.exchange(effect)

    def wake(self, wait):
        self.now = max(self.now, wait.until)
        return None

    def exchange(self, send):
        sent = self.now
        self.asked.append((round(sent, 3), send.operation, dict(send.fields)))
        self.sends.append(send)
        said = self.answer(sent, send.operation, send.fields)
        reply, took = said if isinstance(said, tuple) else (said, CALL_S)
        if took >= send.timeout_s:
            reply, took = Reply(Outcome.TIMEOUT), send.timeout_s
        self.now = sent + took
        answered = reply.outcome not in (Outcome.TIMEOUT, Outcome.CONNECTION)
        return Exchange(sent, sent, self.now, reply, answered=answered)

    def at(self, operation):
        return [at for at, name, _ in self.asked if name == operation]

    def fields(self, operation):
        return [fields for _, name, fields in self.asked if name == operation]


def opened(**more):
    return Reply(FINE, "chat-1", "u1", "k1", "7", 2, **more)


def usually(other=None):
    """Accepts the chat, ends it on Disconnect, and else answers 0/false unless `other` has an answer."""

    def answer(now, operation, fields):
        said = other(now, operation, fields) if other else None
        if said is not None:
            return said
        if operation == "RequestChat":
            return opened()
        return Reply(ENDED) if operation == "Disconnect" else Reply(FINE)

    return answer


def test_it_polls_at_once_and_then_every_3_seconds_on_a_fixed_clock():
    service = Service(usually(lambda now, op, _: (Reply(FINE), 0.9) if op == "GetMessages" else None))
    record = service.run()
    assert service.at("GetMessages") == [CALL_S + 3.0 * i for i in range(7)]
    assert record.verdict == "completed"


def test_ticks_are_skipped_while_a_poll_is_unanswered():
    slow = (Reply(FINE), 2.999)
    answer = usually(lambda now, op, _: slow if op == "GetMessages" and 3 < now < 4 else None)
    service = Service(answer)
    service.session.settings = SessionSettings(
        make_policy("fixed", 45.0, 1.0), REQUEST_TIMEOUT_S, QUIET, persona="widget"
    )
    service.run()
    polls = service.at("GetMessages")
    # Polling every second here: the ticks at 4 and 5 fall into the slow poll, and are not made up for.
    assert polls[:6] == [CALL_S, 1.01, 2.01, 3.01, 6.01, 7.01]


def test_a_poll_is_given_up_after_3_seconds_and_the_next_tick_polls_again():
    service = Service(usually(lambda now, op, _: (Reply(FINE), 60.0) if op == "GetMessages" else None))
    record = service.run()
    assert {send.timeout_s for send in service.sends} == {REQUEST_TIMEOUT_S}
    assert service.at("GetMessages") == pytest.approx([CALL_S + 3.0 * i for i in range(7)])
    assert service.books.outcomes["GetMessages"]["timeout"] == 7
    assert record.verdict != "gave_up"


def test_the_cursor_is_one_past_the_highest_index_seen_and_not_next_position():
    def events(now, operation, fields):
        if operation == "GetMessages" and now < 1:
            return Reply(FINE, events=(event(1), event(2)), next_position=99)
        if operation == "GetMessages" and now < 4:
            return Reply(FINE, events=(event(2), event(4)), next_position=1)
        return None

    service = Service(usually(events))
    service.run()
    assert [fields["position"] for fields in service.fields("GetMessages")][:4] == ["1", "3", "5", "5"]


def event(index, kind="Message", who="Agent"):
    return Event(index, kind, who, "Ann", 0)


def test_keys_are_read_anew_from_every_success_and_from_nothing_else():
    def rotating(now, operation, fields):
        if operation != "GetMessages":
            return None
        number = round((now - CALL_S) / 3)
        outcome = NOT_NOW if number == 1 else FINE
        return Reply(outcome, user_id=f"u{number + 2}", secure_key=f"k{number + 2}")

    service = Service(usually(rotating))
    service.run()
    assert [fields["secure_key"] for fields in service.fields("GetMessages")][:4] == ["k1", "k2", "k2", "k4"]
    (goodbye,) = service.fields("Disconnect")
    assert goodbye["user_id"] == "u8"


def test_it_ends_with_one_disconnect_and_asks_nothing_after():
    service = Service(usually())
    record = service.run()
    assert service.asked[-1][1] == "Disconnect" and service.asked[-1][0] == pytest.approx(20.01)
    assert set(service.fields("Disconnect")[0]) == {"chat_id", "user_id", "secure_key", "alias"}
    assert record.verdict == "completed"
    unconfirmed = Service(usually(lambda now, op, _: Reply(FINE) if op == "Disconnect" else None))
    assert unconfirmed.run().verdict == "gave_up"
    assert unconfirmed.at("Disconnect") == [pytest.approx(20.01)] and unconfirmed.asked[-1][1] == "Disconnect"


def test_chat_ended_ends_it_without_a_disconnect():
    ended = Reply(ENDED, events=(event(2, "ParticipantLeft"),))
    service = Service(usually(lambda now, op, _: ended if op == "GetMessages" and now > 5 else None))
    record = service.run()
    assert [name for _, name, _ in service.asked][-1] == "GetMessages" and not service.at("Disconnect")
    assert record.verdict == "ended_by_agent"


def test_status_1_is_counted_and_polling_goes_on_without_a_retry_between_ticks():
    service = Service(usually(lambda now, op, _: Reply(NOT_NOW) if op == "GetMessages" else None))
    service.run()
    assert service.at("GetMessages") == pytest.approx([CALL_S + 3.0 * i for i in range(7)])
    assert service.books.offline == 1
    limit = 3 * POLL_EXCEPTION_LIMIT
    few = Service(usually(lambda now, op, _: Reply(NOT_NOW) if op == "GetMessages" and now < limit else None))
    few.run()
    assert few.books.offline == 0


def test_it_does_not_end_on_status_2_and_its_verdict_is_that_of_the_first():
    service = Service(usually(lambda now, op, _: Reply(LOST) if op != "RequestChat" and now > 5 else None))
    record = service.run()
    assert service.at("GetMessages")[-1] > 17 and service.asked[-1][1] == "Disconnect"
    assert record.verdict == "failed"
    assert record.gap_upper_s == pytest.approx(3.0 + CALL_S)
    assert (record.ended_at, record.requests) == (pytest.approx(6.02), len(service.asked))


def test_a_status_2_that_is_taken_back_is_forgotten():
    service = Service(usually(lambda now, op, _: Reply(LOST) if op == "GetMessages" and 5 < now < 7 else None))
    assert service.run().verdict == "completed"


def test_the_first_words_are_the_widgets():
    script = CustomerScript(nickname="nick", first_name="A", last_name="B", email="a@b.c", subject="s")
    service = Service(usually(), script)
    service.run()
    (fields,) = service.fields("RequestChat")
    names = {"nickname": "nick", "first_name": "A", "last_name": "B", "email": "a@b.c", "subject": "s", "text": ""}
    assert fields == {**names, **USER_DATA}


def test_drafts_ride_on_every_refresh_while_the_customer_types():
    service = Service(usually(), TALKS)
    service.run()
    typing_at, sent_at = service.at("StartTyping")[0], service.at("SendMessage")[0]
    text = service.fields("SendMessage")[0]["message"]
    assert service.fields("StartTyping")[0]["message"] == text[:1]
    assert not service.at("StopTyping")
    drafts = {at: fields.get("message") for at, name, fields in service.asked if name == "GetMessages"}
    riding = {at: draft for at, draft in drafts.items() if draft is not None}
    assert set(riding) == {at for at in drafts if typing_at < at < sent_at} and len(riding) >= 2
    lengths = [len(draft) for draft in riding.values()]
    assert all(text.startswith(draft) for draft in riding.values()) and lengths == sorted(set(lengths))
    assert sent_at == pytest.approx(typing_at + CALL_S + 7.0)


def test_typing_stops_after_two_seconds_of_silence():
    hesitant = replace(TALKS, hesitation=Distribution("fixed", 3.0))
    service = Service(usually(), hesitant)
    service.run()
    typing = service.at("StartTyping")[0] + CALL_S + 7.0
    assert service.at("StopTyping") == [pytest.approx(typing + 2.0)]
    assert service.at("SendMessage") == [pytest.approx(typing + 3.0)]


@pytest.mark.parametrize(
    "faults", [(), (Fault("status_2", chance=0.05),), (Fault("outage", from_s=20.0, until_s=36.0),)]
)
def test_its_verdicts_stand_beside_the_ledger(faults):
    script = CustomerScript(
        chat_length=Distribution("uniform", 5.0, 60.0), hesitation=Distribution("uniform", 0.0, 4.0)
    )
    policy = make_policy("fixed", 12.0, WIDGET_INTERVAL_S)
    settings = SessionSettings(policy, REQUEST_TIMEOUT_S, script, persona="widget")
    service = ChatService(
        SimulatorConfig(flex_disconnect_timeout_s=12.0, agent_leaves_chance=0.3), FaultPlan(faults, 3)
    )
    network = NetworkModel(0.02, 0.8, loss=0.001)
    run = VirtualSwarm(settings, service, users=50, chats=400, seed=Random(4).getrandbits(16), network=network).run()
    check_run(run)
