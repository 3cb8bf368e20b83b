"""What counts as a response time, request by request."""

from __future__ import annotations

import pytest

from chatload.chat.effects import Exchange, Wait
from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript
from chatload.chat.settings import SessionSettings
from chatload.protocol.reply import Reply
from chatload.protocol.wire import Detail
from chatload.run.books import Books
from chatload.vocabulary import Outcome

FINE = Reply(Outcome.FINE, alias="1", next_position=3)
LOST = Reply(Outcome.TIMEOUT, detail=Detail.EXHAUSTED)


def held(answers, interval_s=5.0):
    """The response times of a chat whose polls are answered so: lateness, latency (None: no answer, for 12 s)."""
    books = Books()
    settings = SessionSettings(make_policy("fixed", 30.0, interval_s), 12.0, CustomerScript().with_chat_length(1e6))
    chat = new_chat(settings, books, 1, 0.0)
    steps, now = chat.steps(), 0.0
    effect = next(steps)
    while isinstance(effect, Wait):
        effect = steps.send(None)
    effect = steps.send(Exchange(0.0, 0.0, 0.0, Reply(Outcome.FINE, "chat", "user", "key", "1", 2)))
    for late_s, took_s in answers:
        while isinstance(effect, Wait):
            now = max(now, effect.until)
            effect = steps.send(None)
        sent = max(now, effect.due) + late_s
        now = sent + (12.0 if took_s is None else took_s)
        answered = took_s is not None
        effect = steps.send(Exchange(sent, sent, now, FINE if answered else LOST, answered=answered))
    while isinstance(effect, Wait):
        effect = steps.send(None)
    return books.response_time["GetMessages"], chat, books


def millis(histogram):
    return histogram.total_us // 1000


@pytest.mark.parametrize(
    ("answers", "count", "total_ms"),
    [
        ([(0.0, 0.2)], 1, 200),
        ([(0.1, 0.2)], 1, 300),  # the generator's own lateness counts, because the customer waits for it too
        ([(0.0, 5.0)], 1, 5000),  # the next one is due just as the answer comes, and is not skipped
        ([(0.0, 12.0)], 3, 12_000 + 7000 + 2000),  # two were due meanwhile
        ([(0.0, 12.0), (0.0, 0.2)], 4, 21_200),  # the next one is sent in time
        ([(0.1, 5.1)], 2, 5200 + 200),
    ],
)
def test_polls_that_were_due_meanwhile_count_until_the_answer(answers, count, total_ms):
    samples, _, _ = held(answers)
    assert (samples.count, samples.censored.count, millis(samples)) == (count, 0, total_ms)


def test_without_an_answer_all_of_them_waited_for_longer():
    samples, _, books = held([(0.0, None)])
    assert (samples.observed.count, samples.censored.count, millis(samples)) == (0, 3, 21_000)
    assert books.latency["GetMessages"].censored.count == 1


def test_a_poll_that_is_cut_off_has_waited_since_its_instant():
    _, chat, books = held([(0.0, 0.2)])
    chat.cut(7.0)  # the second poll was sent at 5 s
    samples = books.response_time["GetMessages"]
    assert (samples.count, samples.censored.count, samples.censored.maximum) == (2, 1, 2.0)
    assert books.latency["GetMessages"].censored.maximum == 0.0


def test_other_requests_count_from_their_own_instant():
    books = Books()
    books.request_ended("SendMessage", Exchange(2.0, 2.1, 2.5, Reply(Outcome.FINE)), due=1.0)
    books.request_ended("SendMessage", Exchange(2.0, 2.1, 2.5, Reply(Outcome.FINE)))
    assert millis(books.response_time["SendMessage"]) == 1500 + 500
    assert millis(books.latency["SendMessage"]) == 800
