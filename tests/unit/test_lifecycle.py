"""The life cycle, step by step, answered by hand."""

from dataclasses import replace

import pytest

from chatload.chat.effects import Exchange, Send, Wait
from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.protocol.reply import Event, Reply
from chatload.run.books import Books
from chatload.vocabulary import Outcome

QUIET = CustomerScript(chat_length=Distribution("fixed", 10.0), messages=Distribution("fixed", 0))
FINE, ENDED = Outcome.FINE, Outcome.ENDED


class Server:
    """Answers effects from a list of replies; keeps what was asked. Each call takes 10 ms."""

    def __init__(self, replies, script=QUIET, timeout=6.0, stop_at=float("inf")):
        self.books, self.now, self.asked, self.stop_at = Books(), 0.0, [], stop_at
        self.session = new_chat(SessionSettings(make_policy("fixed", timeout), 1.0, script), self.books, 1, 0.0)
        self.replies = list(replies)

    def run(self):
        steps = self.session.steps()
        try:
            effect = next(steps)
            while True:
                effect = steps.send(self.answer(effect))
        except StopIteration:
            assert self.books.balanced()
            return self.session.record

    def answer(self, effect):
        if isinstance(effect, Wait):
            self.now = max(self.now, min(effect.until, self.stop_at))
            return self.now if self.now >= self.stop_at else None
        assert isinstance(effect, Send)
        self.asked.append((round(self.now, 2), effect.operation, dict(effect.fields)))
        reply = self.replies.pop(0) if self.replies else Reply(FINE)
        sent, self.now = self.now, self.now + 0.01
        lost = reply.outcome in (Outcome.TIMEOUT, Outcome.CONNECTION)
        return Exchange(sent, sent, self.now, reply, answered=not lost)


def opened(**more):
    return Reply(FINE, "chat-1", "u", "k1", "7", 2, **more)


def test_polls_at_once_then_on_the_clock_and_disconnects_at_the_end():
    server = Server([opened(), *[Reply(FINE)] * 5, Reply(ENDED)])
    record = server.run()
    assert record.verdict == "completed"
    assert [operation for _, operation, _ in server.asked] == ["RequestChat", *["GetMessages"] * 5, "Disconnect"]
    assert [at for at, _, _ in server.asked] == [0.0, 0.01, 2.01, 4.01, 6.01, 8.01, 10.01]
    assert (record.requests, record.contacts) == (7, 7)


def test_newest_keys_and_position_are_used():
    server = Server([opened(), Reply(FINE, secure_key="k2", next_position=9), Reply(FINE)])
    server.run()
    assert server.asked[1][2]["secure_key"] == "k1"
    assert server.asked[1][2]["position"] == "2"
    assert server.asked[2][2]["secure_key"] == "k2"
    assert server.asked[2][2]["position"] == "9"
    assert server.asked[2][2]["chat_id"] == "chat-1"


@pytest.mark.parametrize("outcome", [Outcome.UNSUCCESSFUL, Outcome.VIOLATION, Outcome.HTTP_ERROR, Outcome.TIMEOUT])
def test_a_failed_refresh_is_retried_before_the_deadline(outcome):
    server = Server([opened(), Reply(FINE), *[Reply(outcome)] * 3, Reply(FINE)])
    server.run()
    times = [at for at, operation, _ in server.asked if operation == "GetMessages"]
    assert times[1] == 2.01
    assert times[1] < times[2] < times[3] < times[4] < 6.0
    assert times[5] == 4.01


def test_the_first_request_is_never_sent_twice_where_it_may_have_been_taken():
    server = Server([Reply(Outcome.TIMEOUT)])
    record = server.run()
    assert record.verdict == "gave_up"
    assert record.chat_id == ""
    assert len(server.asked) == 1


def test_an_unsuccessful_first_request_is_retried_then_refused():
    server = Server([Reply(Outcome.UNSUCCESSFUL)] * 10)
    assert server.run().verdict == "refused"
    assert len(server.asked) == 4


def test_an_agent_who_leaves_ends_the_chat():
    left = Event(3, "ParticipantLeft", "Agent", "A", 1)
    joined = Event(2, "ParticipantJoined", "Agent", "A", 0)
    server = Server([opened(), Reply(FINE, events=(joined,)), Reply(ENDED, events=(left,))])
    assert server.run().verdict == "ended_by_agent"
    assert len(server.asked) == 3


@pytest.mark.parametrize(("removes", "verdict"), [(False, "dropped_unproven"), (True, "ended_by_agent")])
def test_both_leaving_at_once_is_the_agents_end_only_where_the_server_is_known_to_do_so(removes, verdict):
    joined = Event(2, "ParticipantJoined", "Agent", "A", 0)
    both = Event(3, "ParticipantLeft", "Agent", "A", 1000), Event(4, "ParticipantLeft", "Client", "me", 1010)
    server = Server([opened(), Reply(FINE, events=(joined,)), Reply(ENDED, events=both)])
    settings = replace(server.session.settings, agent_end_removes_customer=removes)
    server.books = Books()
    server.session = new_chat(settings, server.books, 1, 0.0)
    assert server.run().verdict == verdict


def test_an_end_without_a_transcript_is_asked_about():
    """An answer to StartTyping says that the chat has ended, and not how."""
    script = CustomerScript(
        chat_length=Distribution("fixed", 10.0), waits_for_agent=False, think=Distribution("fixed", 1.0)
    )
    left = Event(3, "ParticipantLeft", "Agent", "A", 1)
    server = Server([opened(), Reply(FINE), Reply(ENDED), Reply(ENDED, events=(left,))], script)
    assert server.run().verdict == "ended_by_agent"
    assert [operation for _, operation, _ in server.asked][2:] == ["StartTyping", "GetMessages"]


def test_unrecoverable_in_time_is_failed():
    record = Server([opened(), Reply(Outcome.UNRECOVERABLE)]).run()
    assert (record.verdict, record.learned_by) == ("failed", "2")


def test_a_stopped_run_says_goodbye_at_once():
    server = Server([opened(), Reply(FINE), Reply(ENDED)], stop_at=1.0)
    record = server.run()
    assert (record.verdict, record.goodbye_confirmed) == ("cut_off", True)
    assert server.asked[-1][:2] == (1.0, "Disconnect")


def test_disconnect_that_does_not_end_the_chat_is_not_completed():
    record = Server([opened()]).run()
    assert record.verdict == "gave_up"
    assert record.why == "Disconnect was never confirmed"


@pytest.mark.parametrize(("stop_at", "verdict"), [(float("inf"), "dropped_unproven"), (0.02, "cut_off")])
def test_a_goodbye_without_a_transcript_after_a_lost_answer_shows_no_end_of_ours(stop_at, verdict):
    script = replace(QUIET, chat_length=Distribution("fixed", 0.02))
    server = Server([opened(), Reply(Outcome.TIMEOUT), Reply(ENDED)], script, stop_at=stop_at)
    record = server.run()
    assert [operation for _, operation, _ in server.asked] == ["RequestChat", "GetMessages", "Disconnect"]
    assert record.verdict == verdict
    assert record.goodbye_confirmed is (verdict == "cut_off")


@pytest.mark.parametrize("in_flight", [False, True])
def test_cut_is_booked_once(in_flight):
    server = Server([opened()])
    steps = server.session.steps()
    effect = next(steps)
    effect = steps.send(server.answer(effect))
    while isinstance(effect, Send) is not in_flight:
        effect = steps.send(server.answer(effect))
    steps.close()
    server.session.cut(5.0)
    server.session.cut(6.0)
    record = server.session.record
    assert (record.verdict, record.goodbye_confirmed, record.ended_at) == ("cut_off", False, 5.0)
    assert server.books.balanced()
    assert server.books.verdicts == {"cut_off": 1}


def test_an_answer_to_what_asked_for_no_events_skips_none():
    script = CustomerScript(
        chat_length=Distribution("fixed", 10.0), messages=Distribution("fixed", 1), think=Distribution("fixed", 1.0),
        waits_for_agent=False,
    )  # fmt: skip
    left = Event(4, "ParticipantLeft", "Agent", "Ann", 0)
    server = Server(
        [opened(), Reply(FINE, next_position=3), Reply(ENDED, next_position=9),
         Reply(ENDED, events=(left,), next_position=9)],
        script,
    )  # fmt: skip
    record = server.run()
    asked = [(operation, fields.get("position")) for _, operation, fields in server.asked]
    assert asked[2:] == [("StartTyping", None), ("GetMessages", "3")]
    assert (record.verdict, record.learned_by) == ("ended_by_agent", "0/true")


def held_polls(hold_s, timeout_s=4.0):
    """The record and the books of a quiet chat whose server holds every poll to the end."""
    server = Server([opened()], timeout=timeout_s)
    server.books = Books()
    settings = SessionSettings(make_policy("fixed", timeout_s, 1.0), 1.0, QUIET, long_poll_s=hold_s)
    server.session = new_chat(settings, server.books, 1, 0.0)
    answer = server.answer

    def held(effect):
        polls = isinstance(effect, Send) and effect.operation == "GetMessages"
        before, result = server.now, answer(effect)
        if polls:
            assert effect.timeout_s == 1.0 + hold_s
            server.now = result.received_at = before + hold_s + 0.02
        elif isinstance(effect, Send) and effect.operation == "Disconnect":
            result.reply = Reply(ENDED)
        return result

    server.answer = held
    return server.run(), server.books


def test_under_long_polling_a_gap_ends_when_the_poll_leaves():
    record, books = held_polls(2.0)
    assert record.verdict == "completed"
    assert books.gap.maximum == (pytest.approx(3.05, abs=0.05), False)
    assert record.gap_upper_s < 4.0


def test_an_answer_as_late_as_a_hold_may_have_been_slow_and_proves_no_contact():
    record, _ = held_polls(6.0)
    assert record.verdict == "dropped_unproven"
    assert record.gap_upper_s > 6.0
