"""Bounds of the timeout and of the sweep, on silences made up with a server whose timeout is known."""

from __future__ import annotations

import math
import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.chat.effects import Exchange
from chatload.features.probe.bounds import ObservedSilence, SilenceWatch, TimeSpan, bounds, longest_survived, sweep
from chatload.protocol.reply import Reply
from chatload.vocabulary import Outcome

NO_END = None
#: CHATLOAD_EVERY_WAY=1 draws twenty times as many.
EXAMPLES = 4000 if os.environ.get("CHATLOAD_EVERY_WAY") else 200


def silence(chat, since, survived_to, ended_by=NO_END, blur=0.0):
    """A contact at `since`, known to `blur`."""
    asked = survived_to if ended_by is None else ended_by
    return ObservedSilence(chat, TimeSpan(since - blur, since + blur), survived_to, ended_by, TimeSpan(asked, asked))


def lived(chat, since, for_s):
    return silence(chat, since, since + for_s)


def dropped(chat, since, for_s):
    return silence(chat, since, since, since + for_s)


# -- made by hand ------------------------------------------------------------------------------------


def test_without_a_drop_nothing_bounds_the_timeout_from_above():
    found = bounds([lived(1, 0.0, 40.0), lived(2, 0.0, 50.0)])
    assert (found.lower_s, found.upper_s, found.drops) == (0.0, math.inf, ())


def test_who_outlives_a_chat_that_ended_bounds_the_timeout_from_below():
    # Chat 3 ended by 10.2 after a contact at 0: the look that ended it was between T and 10.2. Chat 1 lived on
    # from before that until 9.9, chat 2, later, until after it.
    first = [lived(1, -0.1, 10.0), lived(2, 0.3, 10.0), dropped(3, 0.0, 10.2), dropped(4, 0.1, 10.1)]
    found = bounds(first)
    # 9.6: chat 2's silence covers the time from 0.3 + T on, chat 1's the time up to 9.9.
    assert found.lower_s == pytest.approx(9.6, abs=1e-3) and found.upper_s == pytest.approx(10.2, abs=1e-3)


def test_each_bound_rests_on_two_chats():
    drops = [dropped(1, 0.0, 10.3), dropped(2, 0.1, 10.2), dropped(3, 0.2, 10.1)]
    assert bounds(drops).upper_s == pytest.approx(10.2, abs=1e-3)
    assert bounds(drops[:1]).upper_s == pytest.approx(10.3, abs=1e-3)


def test_a_chat_that_ended_though_one_silent_for_longer_lived_on_is_odd():
    early = dropped(9, 0.5, 3.0)
    genuine = [dropped(1, 0.0, 10.2), dropped(2, 0.1, 10.1)]
    found = bounds([*genuine, lived(3, 0.2, 9.9), early])
    assert found.odd == (early,) and found.upper_s > 10 and not found.contradicts


def test_drops_that_leave_no_timeout_contradict():
    # 1 and 2 were dropped within 5 s of one another's; 3 and 4 show two looks before 12 that 5 and 6 lived through.
    ends = [dropped(1, 0.0, 5.0), dropped(2, 0.0, 5.1)]
    stamped = [silence(n, 20.0, 31.9, 32.0) for n in (3, 4)]
    found = bounds([*ends, *stamped, lived(5, 21.0, 12.5), lived(6, 21.5, 12.0)])
    assert found.contradicts and found.lower_s <= 5.1 and found.upper_s >= 10.4


def test_a_sweep_is_as_coarse_as_the_distance_of_two_ends_and_of_the_silences_between():
    # Looks at 12 and 14: contacts at 0.5 and 1.9 both end at 12 or 14 by their stamps.
    contacts = [(0.1, 12), (0.2, 12), (2.1, 14), (2.2, 14)]
    ends = [silence(n, since, at - 0.001, at + 0.001) for n, (since, at) in enumerate(contacts)]
    found = sweep(ends, bounds(ends))
    assert found.upper_s == pytest.approx(2.002, abs=1e-3)
    assert found.lower_s == pytest.approx(0.0, abs=0.2)


# -- made by a server ----------------------------------------------------------------------------------


class Server:
    """Drops at the first multiple of `every` (from `phase`) at which a chat has been silent for T."""

    def __init__(self, timeout, every, phase):
        self.timeout, self.every, self.phase = timeout, every, phase

    def end(self, contact):
        due = contact + self.timeout
        if not self.every:
            return due
        return self.phase + math.ceil((due - self.phase) / self.every) * self.every


@st.composite
def evidence(draw, glitches=0):
    """A server, and silences seen through a network; some with the server's own timestamps."""
    timeout = draw(st.sampled_from([1.0, 4.0, 45.0]))
    every = timeout * draw(st.sampled_from([0.0, 0.0, 0.03, 0.3, 1.0, 3.0]))
    server = Server(timeout, every, draw(st.floats(0, 1)) * every)
    blur = timeout * draw(st.sampled_from([0.0, 0.001, 0.1]))
    stamps = draw(st.booleans())
    spread = timeout * draw(st.sampled_from([0.05, 0.5, 3.0]))
    near = draw(st.sampled_from([0.02, 0.3, 1.5]))
    random = Random(draw(st.integers(0, 2**20)))
    found = []
    for chat in range(draw(st.integers(2, 60))):
        contact = random.uniform(0, spread)
        since = TimeSpan(contact - random.uniform(0, blur), contact + random.uniform(0, blur))
        asked = max(contact, contact + timeout * (1 + random.uniform(-near, near)) + random.random() * every)
        sent, received = asked - random.uniform(0, blur), asked + random.uniform(0, blur)
        end = server.end(contact)
        if chat < glitches:
            end = random.uniform(contact, min(asked, end))
        if asked <= end:
            found.append(ObservedSilence(chat, since, sent, None, TimeSpan(sent, received)))
        elif stamps and end + blur < sent:
            early, late = end - random.uniform(0, blur), end + random.uniform(0, blur)
            found.append(ObservedSilence(chat, since, max(early, since.earliest), late, TimeSpan(sent, received)))
        else:
            found.append(ObservedSilence(chat, since, since.earliest, received, TimeSpan(sent, received)))
    random.shuffle(found)
    return server, found


@settings(max_examples=EXAMPLES, deadline=None)
@given(evidence())
def test_the_true_timeout_and_sweep_are_within_their_bounds(made):
    server, found = made
    timeout = bounds(found)
    assert not timeout.contradicts and not timeout.odd
    assert timeout.lower_s <= server.timeout <= timeout.upper_s
    apart = sweep(found, timeout)
    assert apart.lower_s <= server.every + 1e-6
    assert apart.upper_s is None or not server.every or apart.upper_s >= server.every - 1e-6
    assert longest_survived(found) <= server.timeout + server.every + 1e-6


@settings(max_examples=EXAMPLES, deadline=None)
@given(evidence(glitches=1))
def test_one_chat_that_ended_for_a_reason_of_its_own_does_not_make_them_false(made):
    server, found = made
    timeout = bounds(found)
    if len(timeout.drops) > 1:
        assert timeout.lower_s <= server.timeout <= timeout.upper_s


def test_a_fine_server_that_stamps_is_known_to_the_blur():
    server, random = Server(45.0, 0.0, 0.0), Random(3)
    found = []
    for chat in range(30):
        contact = chat * 0.03
        end = server.end(contact)
        since = TimeSpan(contact - 0.001, contact + 0.001)
        found.append(ObservedSilence(chat, since, end - 0.002, end + 0.002, TimeSpan(60.0 + random.random(), 62.0)))
    timeout = bounds(found)
    assert timeout.lower_s <= 45.0 <= timeout.upper_s and timeout.upper_s - timeout.lower_s < 0.05


# -- from requests to silences -------------------------------------------------------------------------


def exchange(sent, received, outcome=Outcome.FINE, answered=True):
    return Exchange(sent, sent, received, Reply(outcome), answered=answered)


def test_an_unsuccessful_request_may_have_been_a_contact_and_counts_for_neither_side():
    watch = SilenceWatch(1, exchange(0.0, 0.1))
    watch.unclear(exchange(5.0, 5.1, Outcome.UNSUCCESSFUL))
    over = watch.alive(exchange(9.0, 9.1))
    assert over.survived_s == pytest.approx(4.9)  # up to the one that may have been a contact
    watch.unclear(exchange(12.0, 12.1, Outcome.UNSUCCESSFUL))
    ended = watch.ended(exchange(20.0, 20.1), None)
    assert ended.dropped_s == pytest.approx(11.1) and ended.survived_s < 0  # and from the one before it


def test_a_request_without_an_answer_may_be_a_contact_for_a_minute():
    watch = SilenceWatch(1, exchange(0.0, 0.1))
    watch.unclear(exchange(1.0, 2.0, Outcome.TIMEOUT, answered=False))
    watch.alive(exchange(3.0, 3.1))
    assert watch.alive(exchange(40.0, 40.1)).survived_s < 0
    assert watch.alive(exchange(80.0, 80.1)).survived_s == pytest.approx(19.0)
    assert watch.alive(exchange(100.0, 100.1)).survived_s == pytest.approx(19.9)


@pytest.mark.parametrize(
    "left, believed", [(TimeSpan(7.0, 7.1), True), (TimeSpan(9.95, 10.05), False), (TimeSpan(-2.0, -1.0), False)]
)
def test_a_timestamp_is_believed_of_an_instant_before_anything_that_may_have_made_it(left, believed):
    watch = SilenceWatch(1, exchange(0.0, 0.1))
    ended = watch.ended(exchange(10.0, 10.1), left)
    assert ended.ended_by == (7.1 if believed else 10.1)
    assert ended.survived_to == (7.0 if believed else 0.0)
