"""What a refresh goes through many thousand times a second gives what the plain way would."""

from __future__ import annotations

import gc
from collections import deque
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.effects import Exchange, Wait
from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.record import CONTACTS, Contact, RecentContacts
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.protocol.reply import Reply
from chatload.random_numbers import SplitMix64
from chatload.run.books import Books
from chatload.swarm.patches.garbage_collection import MAX_GARBAGE, GarbageCollection
from chatload.transport.connection import LocalPorts
from chatload.transport.http_messages import AnswerHeadCache, AnswerParser, CallFailed
from chatload.vocabulary import Outcome

INSTANTS = st.floats(0, 1e6)


# -- the last contacts -------------------------------------------------------------------------------


OPERATIONS, OUTCOMES = st.sampled_from(["GetMessages", "B"]), st.sampled_from(["0/false", "1/false"])


@given(st.lists(st.builds(Contact, OPERATIONS, INSTANTS, st.none() | INSTANTS, INSTANTS, OUTCOMES), max_size=40))
def test_the_last_contacts_are_the_last_in_order(contacts):
    recent, expected = RecentContacts(), deque(maxlen=CONTACTS)
    for contact in contacts:
        recent.add(*contact)
        expected.append(contact)
    assert recent.contacts() == list(expected)


# -- random numbers ----------------------------------------------------------------------------------


def test_draws_are_the_published_ones():
    # The first three 64-bit outputs of SplitMix64 for the seed 1234567, of Vigna's reference code.
    draws = SplitMix64(1234567)
    assert [draws.random() for _ in range(3)] == [
        (output >> 11) * 2.0**-53 for output in (6457827717110365317, 3203168211198807973, 9817491932198370423)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2**48, (7 << 48) + 5])
def test_draws_have_their_moments(seed):
    draws, n = SplitMix64(seed), 20_000
    exponential = [draws.expovariate(0.5) for _ in range(n)]
    normal = [draws.gauss(1.0, 2.0) for _ in range(n)]
    assert sum(exponential) / n == pytest.approx(2.0, abs=0.08)
    assert sum(normal) / n == pytest.approx(1.0, abs=0.08)
    assert (sum((x - 1.0) ** 2 for x in normal) / n) ** 0.5 == pytest.approx(2.0, abs=0.06)
    assert all(3.0 <= draws.uniform(3.0, 4.0) <= 4.0 for _ in range(1000))


def test_seeds_that_differ_beyond_64_bits_differ():
    assert len({SplitMix64(n << 48).random() for n in range(0, 2**20, 2**12)}) == 256


# -- answers -----------------------------------------------------------------------------------------

HEADS = st.sampled_from([
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nDate: Mon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nSet-Cookie: a=b\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\ncontent-length: %d\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nX: %d\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Encoding: gzip\r\n\r\n",
])  # fmt: skip
BODIES = st.sampled_from([b"", b"{}", b"ok", b"0\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"])


SURPLUS = st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"x"])


def _read(pieces, known):
    """What a connection makes of these reads, with and without what is known."""
    quick, answer = known.read(pieces[0]), AnswerParser()
    try:
        for piece in pieces:
            answer.feed(piece)
            if answer.done:
                parsed = answer.result()
                known.learn(piece, answer, parsed)
                return quick, parsed
    except CallFailed:
        pass
    return quick, None


@given(st.lists(st.tuples(HEADS, BODIES, SURPLUS, st.integers(0, 80), st.booleans()), max_size=12))
def test_a_known_head_says_what_parsing_it_says(answers):
    known = AnswerHeadCache()
    for head, body, surplus, cut, only_the_rest in answers:
        data = head % len(body) + body + surplus
        pieces = [data[cut:]] if only_the_rest else [data[:cut], data[cut:]]
        quick, parsed = _read([piece for piece in pieces if piece] or [b"x"], known)
        assert quick is None or quick == parsed


@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
])  # fmt: skip
def test_the_end_of_an_answer_is_no_answer_however_one_was_cut_before(data):
    for cut in range(1, len(data)):
        known = AnswerHeadCache()
        assert _read([data[:cut], data[cut:]], known)[1] is not None
        assert known.read(data[cut:]) is None


def test_a_plain_head_is_known_the_second_time():
    data, known = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", AnswerHeadCache()
    answer = AnswerParser()
    answer.feed(data)
    known.learn(data, answer, answer.result())
    again = known.read(data.replace(b"ok", b"no"))
    assert again is not None and (again[0].status, again[1], again[0].keep_alive) == (200, b"no", True)
    assert known.read(data + b"more") is None and known.read(data[:-1]) is None


# -- the engine --------------------------------------------------------------------------------------

FINE = Reply(Outcome.FINE, alias="1", next_position=3)
REPLIES = {
    "fine": FINE,
    "moved on": Reply(Outcome.FINE, alias="1", next_position=5),
    "new key": Reply(Outcome.FINE, secure_key="other", next_position=3),
    "failed": Reply(Outcome.UNSUCCESSFUL, detail="statusCode 1/false"),
    "server error": Reply(Outcome.HTTP_ERROR, detail="HTTP 500"),
}


def _held(names, replied):
    """A chat that is answered so; every request's fields, its record and the books."""
    books, sent, number = Books(), [], 0
    settings = SessionSettings(make_policy("fixed", 30.0, 5.0), 10.0, CustomerScript().with_chat_length(1e6))
    session = new_chat(settings, books, 1, 0.0)
    steps, now = session.steps(), 0.0
    effect = next(steps)
    opening = Reply(Outcome.FINE, "chat", "user", "key", "1", 2)
    while number <= len(names):
        if isinstance(effect, Wait):
            now = max(now, effect.until)
            effect = steps.send(None)
            continue
        reply = opening if number == 0 else replied(names[number - 1])
        number += 1
        sent.append((effect.operation, dict(effect.fields), effect.due))
        now += 0.01
        effect = steps.send(Exchange(now - 0.01, now - 0.01, now, reply))
    session.cut(now)
    return sent, session.record, books.to_dict()


@given(st.lists(st.sampled_from(sorted(REPLIES)), max_size=30))
def test_the_very_same_reply_and_an_equal_one_have_the_same_effect(names):
    assert _held(names, REPLIES.__getitem__) == _held(names, lambda name: copy(REPLIES[name]))


def _asked(replies, script):
    """The fields of each GetMessages of a chat whose requests are answered so, after RequestChat."""
    settings = SessionSettings(make_policy("fixed", 30.0, 5.0), 10.0, script)
    steps, now, asked = new_chat(settings, Books(), 1, 0.0).steps(), 0.0, []
    effect = next(steps)
    replies = [Reply(Outcome.FINE, "chat", "user", "key", "1", 2), *replies]
    while replies:
        if isinstance(effect, Wait):
            now = effect.until
            effect = steps.send(None)
            continue
        if effect.operation == "GetMessages":
            asked.append(effect.fields)
        effect = steps.send(Exchange(now, now, now + 0.01, replies.pop(0)))
    return asked


def test_a_position_that_was_passed_over_is_taken_when_it_was_asked_for():
    # StartTyping carries no position: the nextPosition of its answer lies behind events that are not read yet.
    typing = CustomerScript(
        chat_length=Distribution("fixed", 1e6), messages=Distribution("fixed", 1), think=Distribution("fixed", 1.0),
        typing=Distribution("fixed", 1e5), waits_for_agent=False,
    )  # fmt: skip
    for replies in ((FINE, FINE, FINE), (FINE, copy(FINE), copy(FINE))):
        asked = _asked([Reply(Outcome.FINE), *replies, FINE], typing)
        assert [fields["position"] for fields in asked] == ["2", "2", "3", "3"]


def test_the_fields_are_the_same_object_for_as_long_as_they_say_the_same():
    other = Reply(Outcome.FINE, secure_key="other")
    first, second, third, fourth = _asked([FINE, FINE, other, FINE], CustomerScript().with_chat_length(1e6))
    assert second == third and third is second and first == {**second, "position": "2"}
    assert fourth == {**third, "secure_key": "other"}


# -- the collector, ports ---------------------------------------------------------------------


def test_the_collector_is_off_while_chats_are_held_and_collects_what_is_left_behind():
    collector = GarbageCollection()
    collector.begin()
    try:
        assert not gc.isenabled()
        collector.check(10)
        for _ in range(MAX_GARBAGE + 1000):
            cycle = []
            cycle.append(cycle)
        collector.check(10)
        assert gc.get_count()[0] < MAX_GARBAGE / 2
    finally:
        collector.end()
    assert gc.isenabled() and gc.get_freeze_count() == 0


class Socket:
    """Has one window of ports left; refuses the option where the kernel does not know it."""

    def __init__(self, free, knows=True):
        self.free, self.knows, self.window = free, knows, None

    def setsockopt(self, level, name, value):
        if not self.knows:
            raise OSError(92, "Protocol not available")
        self.window = value

    def connect(self, address):
        if self.window != self.free:
            raise OSError(99, "Cannot assign requested address")


def test_every_window_of_ports_is_tried_and_then_all_of_them():
    ports = LocalPorts()
    seen = Socket(free=0)  # 0: the whole range
    ports.connect(seen, ("127.0.0.1", 1))
    assert seen.window == 0
    none = Socket(free="none")
    with pytest.raises(OSError, match="Cannot assign"):
        ports.connect(none, ("127.0.0.1", 1))


def test_a_kernel_without_windows_of_ports_is_asked_once():
    ports = LocalPorts()
    ports.connect(Socket(free=None, knows=False), ("127.0.0.1", 1))
    assert not ports._windows
