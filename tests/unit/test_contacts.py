"""Bounds, proof and blame, on contacts placed by hand."""

from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.contacts import Attempt, ContactLog, LatenessShares, find_blame, stalled_since
from chatload.chat.effects import Exchange
from chatload.protocol.reply import Reply
from chatload.protocol.wire import Detail
from chatload.vocabulary import Blame, Outcome


def exchange(sent, received, outcome=Outcome.FINE, begun=None, answered=True, **more):
    begun = sent if begun is None else begun
    return Exchange(begun, sent, received, Reply(outcome), answered=answered, **more)


def test_gap_lies_between_the_bounds_of_the_design():
    contacts = ContactLog(10.0, 10.3)
    assert contacts.bounds(12.0, 12.5) == (pytest.approx(1.7), 2.5)
    assert contacts.add_sure(exchange(12.0, 12.5)) == 2.5
    assert contacts.widest == (pytest.approx(1.7), 2.5)
    assert contacts.add_sure(exchange(13.0, 13.1)) == pytest.approx(1.1)
    assert contacts.widest == (pytest.approx(1.7), 2.5)


@pytest.mark.parametrize(("sent", "late"), [(3.0, False), (3.1, False), (3.11, True)])
def test_late_is_proven_only_past_the_timeout(sent, late):
    contacts = ContactLog(1.0, 1.1)
    assert contacts.feasible(2.0, sent) is not late


def test_an_answered_failure_counts_as_a_contact_in_the_least_favourable_reading():
    contacts = ContactLog(0.0, 0.1)
    contacts.add_failed(exchange(1.5, 1.6, Outcome.UNSUCCESSFUL))
    assert contacts.feasible(2.0, 3.6)
    assert not contacts.feasible(2.0, 3.7)


def test_a_request_that_never_left_is_no_contact():
    contacts = ContactLog(0.0, 0.1)
    contacts.add_failed(exchange(None, 1.6, Outcome.CONNECTION, begun=1.5, answered=False))
    assert not contacts.feasible(2.0, 2.2)


def test_an_unanswered_request_may_be_acted_on_much_later():
    contacts = ContactLog(0.0, 0.1)
    contacts.add_failed(exchange(1.0, 2.0, Outcome.TIMEOUT, answered=False))
    assert contacts.feasible(2.0, 4.05)
    assert not contacts.feasible(2.0, 4.2)


def test_an_unanswered_request_still_counts_after_a_later_sure_contact():
    contacts = ContactLog(0.0, 0.1)
    contacts.add_failed(exchange(1.0, 2.0, Outcome.TIMEOUT, answered=False))
    contacts.add_sure(exchange(2.1, 2.2))
    assert contacts.feasible(2.0, 6.0)
    assert not contacts.feasible(2.0, 6.3)


def reachable(contacts, gap, sent, step=0.05):
    """Brute force: is there a placing of the attempts with no silence above gap?"""
    grids = []
    for attempt in contacts.attempts:
        places, at = [None], attempt.sent
        while at <= min(attempt.latest, sent) + 1e-9:
            places.append(at)
            at += step
        grids.append(places)
    for placing in product(*grids):
        instants = sorted([contacts.received, *(at for at in placing if at is not None), sent])
        if all(b - a <= gap + 1e-9 for a, b in pairwise(instants)):
            return True
    return False


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.booleans()), min_size=0, max_size=3),
    st.integers(1, 30),
)
def test_feasible_is_never_stricter_than_brute_force(raw, sent):
    """What brute force can place, `feasible` must admit: else a proof would be false."""
    attempts, at = [], 0
    for wait, width, lost in raw:
        at += wait
        latest = at + (40 if lost else width)
        attempts.append(Attempt(float(at), float(latest), lost))
        at += width
    contacts = ContactLog(0.0, 0.0, attempts=attempts)
    sent = float(max(sent, at))
    for gap in (3.0, 5.0, 8.0):
        if reachable(contacts, gap, sent, step=1.0):
            assert contacts.feasible(gap, sent)
    least, upper = contacts.bounds(sent, sent + 0.5)
    assert 0.0 <= least <= upper
    assert contacts.feasible(least + 1e-6, sent)


def book(contacts, due, ready, ex):
    contacts.add_departure(due, ready, ex)


def test_blame_plan_when_the_planned_silence_alone_is_too_long():
    contacts = ContactLog(0.0, 0.01)
    book(contacts, 2.2, 0.01, exchange(2.5, 2.51, begun=2.5))
    assert find_blame(contacts, 2.0, 2.5) is Blame.PLAN


def test_blame_generator_when_its_lateness_made_the_difference():
    contacts = ContactLog(0.0, 0.01)
    book(contacts, 1.5, 0.01, exchange(3.0, 3.01, begun=3.0))
    assert find_blame(contacts, 2.0, 3.0) is Blame.GENERATOR


def test_blame_server_when_an_answer_never_came():
    contacts = ContactLog(0.0, 0.01)
    waited = exchange(1.0, 6.0, Outcome.TIMEOUT, answered=False)
    book(contacts, 1.0, 0.01, waited)
    contacts.add_failed(waited)
    book(contacts, 6.1, 6.0, exchange(6.1, 6.2))
    assert find_blame(contacts, 2.0, 6.1) is Blame.SERVER


def test_blame_network_when_no_connection_could_be_made():
    contacts = ContactLog(0.0, 0.01)
    ready = 0.01
    for at in (1.0, 1.5, 2.0):
        refused = exchange(None, at + 0.01, Outcome.CONNECTION, begun=at, answered=False)
        book(contacts, at, ready, refused)
        contacts.add_failed(refused)
        ready = at + 0.01
    book(contacts, 2.5, ready, exchange(2.5, 2.51))
    assert find_blame(contacts, 2.0, 2.5) is Blame.NETWORK


def test_blame_retries_when_unsuccessful_requests_used_the_time_up():
    contacts = ContactLog(0.0, 0.01)
    failed = exchange(1.0, 1.01, Outcome.UNSUCCESSFUL)
    book(contacts, 1.0, 0.01, failed)
    contacts.add_failed(failed)
    book(contacts, 3.5, 1.01, exchange(3.5, 3.51))
    assert find_blame(contacts, 2.0, 3.5) is Blame.RETRIES


def test_a_stall_during_a_wait_for_an_answer_is_the_generators_not_the_servers():
    contacts = ContactLog(0.0, 0.01)
    waited = exchange(1.0, 6.0, Outcome.TIMEOUT, answered=False, stalled_s=4.9)
    book(contacts, 1.0, 0.01, waited)
    contacts.add_failed(waited)
    book(contacts, 6.1, 6.0, exchange(6.1, 6.2))
    assert find_blame(contacts, 2.0, 6.1) is Blame.GENERATOR
    assert contacts.shares.server == pytest.approx(0.2)


@pytest.mark.parametrize("answer", [Outcome.ENDED, Outcome.UNSUCCESSFUL])
def test_a_stall_while_connecting_is_the_generators_not_the_networks(answer):
    contacts = ContactLog(0.0, 0.01)
    connected = exchange(4.0, 4.01, answer, begun=1.0, connect_s=3.0, stalled_s=2.9)
    book(contacts, 1.0, 0.01, connected)
    if answer is Outcome.UNSUCCESSFUL:
        contacts.add_failed(connected)
        book(contacts, 4.1, 4.01, exchange(4.1, 4.11))
    assert find_blame(contacts, 2.0, 4.1) is Blame.GENERATOR
    assert contacts.shares.generator == pytest.approx(2.9)
    assert contacts.shares.network == pytest.approx(0.1)


def test_a_stall_longer_than_connecting_went_on_after_it():
    contacts = ContactLog(0.0, 0.01)
    waited = exchange(1.5, 6.0, Outcome.TIMEOUT, answered=False, begun=1.0, connect_s=0.5, stalled_s=4.9)
    book(contacts, 1.0, 0.01, waited)
    contacts.add_failed(waited)
    assert contacts.shares.generator == pytest.approx(4.9)
    assert contacts.shares.server == pytest.approx(0.1)
    assert contacts.shares.network == 0.0


#: Around this instant, where a wrong sign does not hide; all durations below are exact in binary.
T = 1024.0


@pytest.mark.parametrize(
    ("planned", "generator", "server", "retries", "network", "answering", "since_answer", "blamed"),
    [
        (2.0, 0, 0, 0, 0.5, 0.0, 2.5, Blame.PLAN),
        (1.875, 0, 0, 0, 0, 0.125, 1.9375, Blame.PLAN),
        # The plan allows for answers of a tenth of the timeout.
        (1.875, 0, 0, 0, 0, 1.0, 1.9375, Blame.PLAN),
        (1.75, 0, 0, 0, 0, 1.0, 1.9375, Blame.SERVER),
        # Late without the last answer's time: that is not counted.
        (1.875, 0, 0, 0, 0.1875, 0.125, 2.0625, Blame.NETWORK),
        (0.5, 0, 1.0, 0, 1.25, 0.75, 2.75, Blame.NETWORK),
        (0.5, 0, 1.0, 0, 1.25, 0.75, 2.0, Blame.SERVER),
        # The generator first, where it was enough.
        (1.0, 0.5, 0, 0, 1.0, 0.0, 2.5, Blame.GENERATOR),
        (1.0, 0.25, 0, 0.625, 0.5, 0.0, 2.5, Blame.RETRIES),
        (0.5, 0.75, 0.5, 0, 1.0, 0.0, 3.0, Blame.NETWORK),
        # Nobody's part alone: the largest.
        (0.0, 1.0, 1.0, 1.5, 1.25, 0.0, 5.0, Blame.RETRIES),
        (0.0, 2.0, 1.0, 1.5, 1.25, 0.0, 6.0, Blame.GENERATOR),
        # The server said that it was late, though by our bounds it was not.
        (1.0, 0, 0.5, 0, 0, 0.0, 1.5, Blame.SERVER),
        (1.0, 0, 0, 0, 0.5, 0.0, 2.0, Blame.NETWORK),
    ],
)
def test_blame_by_what_the_silence_went_into(
    planned, generator, server, retries, network, answering, since_answer, blamed
):
    contacts = ContactLog(T, T + answering, shares=LatenessShares(planned, generator, server, retries, network))
    assert find_blame(contacts, 2.0, T + answering + since_answer) is blamed


FAILED = {
    "timeout": (exchange(1.0, 3.0, Outcome.TIMEOUT, answered=False), "server", 2.0, 61.0, True),
    "timeout longer than a request may linger": (
        exchange(1.0, 71.0, Outcome.TIMEOUT, answered=False), "server", 70.0, 71.0, True),
    "timeout before it left": (
        exchange(None, 3.0, Outcome.TIMEOUT, begun=1.0, answered=False), "network", 2.0, None, True),
    "broken connection": (exchange(1.0, 3.0, Outcome.CONNECTION, answered=False), "network", 2.0, 61.0, True),
    "no connection": (exchange(None, 3.0, Outcome.CONNECTION, begun=1.0, answered=False), "network", 2.0, None, True),
    "unsuccessful": (exchange(1.0, 3.0, Outcome.UNSUCCESSFUL), "retries", 2.0, 3.0, False),
    "a gateway's error": (exchange(1.0, 3.0, Outcome.HTTP_ERROR, gateway=True), "retries", 2.0, 61.0, True),
    **{
        f"{detail.name} {outcome}": (
            replace(exchange(None, 3.0, outcome, begun=1.0, answered=False),
                    reply=Reply(outcome, detail=detail)), "generator", 2.0, None, True)
        for detail in (Detail.EXHAUSTED, Detail.NO_TURN) for outcome in (Outcome.CONNECTION, Outcome.TIMEOUT)
    },
}  # fmt: skip


@pytest.mark.parametrize(("ex", "share", "seconds", "latest", "lost"), FAILED.values(), ids=FAILED)
def test_a_failed_request_is_an_attempt_and_its_time_is_somebody_s(ex, share, seconds, latest, lost):
    moved = replace(ex, begun_at=T + ex.begun_at, sent_at=ex.sent_at and T + ex.sent_at, received_at=T + ex.received_at)
    contacts = ContactLog(T, T + 0.25)
    contacts.add_departure(T + 1.0, T + 0.25, moved)
    contacts.add_failed(moved, 5.0)
    assert {name: s for name, s in asdict(contacts.shares).items() if s} == {"planned": 0.75, share: seconds}
    expected = [Attempt(T + 1.0, T + latest, lost, moved.received_at, 5.0 if lost else 0.0)] if latest else []
    assert contacts.attempts == expected
    assert contacts.lost() == [attempt for attempt in expected if lost]
    assert contacts.broken is (share == "network")
    # The wait for the next one is of the same kind, until a contact is sure.
    ready = moved.received_at
    again = exchange(ready + 1.5, ready + 1.625)
    contacts.add_departure(ready + 1.0, ready, again)
    after = Counter({"planned": 0.75, "generator": 0.5})
    after[share] += seconds + 1.0
    assert {name: s for name, s in asdict(contacts.shares).items() if s} == after
    contacts.add_sure(again)
    assert not any(asdict(contacts.shares).values()) and not contacts.broken
    contacts.add_departure(ready + 2.0, ready + 1.625, exchange(ready + 2.0, ready + 2.125))
    assert contacts.shares == LatenessShares(planned=0.375)


@pytest.mark.parametrize(
    ("begun", "connect_s", "stalled_s", "lateness", "generator", "network"),
    [
        (2.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (1.5, 0.0, 0.0, 0.0, 0.0, 0.0),
        (2.5, 0.0, 0.0, 0.5, 0.5, 0.0),
        (2.0, 1.0, 0.25, 0.0, 0.25, 0.75),
        (2.0, 1.0, 3.0, 0.0, 1.0, 0.0),
        (2.5, 1.0, 0.25, 0.5, 0.75, 0.75),
        (2.0, 0.0, 3.0, 0.0, 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("ready", [0.25, 2.0])
def test_the_time_up_to_a_first_byte(begun, connect_s, stalled_s, lateness, generator, network, ready):
    contacts = ContactLog(T, T + 0.25)
    due = 2.0 if ready < 2.0 else 1.0  # ready later than due: it could not leave before
    left = exchange(T + begun + connect_s, T + 9, begun=T + begun, connect_s=connect_s, stalled_s=stalled_s)
    assert contacts.add_departure(T + due, T + ready, left) == lateness
    assert contacts.shares == LatenessShares(2.0 - ready, generator, 0.0, 0.0, network)


def test_a_connection_opened_since_the_last_contact_is_remembered():
    contacts = ContactLog(T, T + 0.25)
    for connected, broken in ((T - 1, False), (T, False), (T + 0.125, True)):
        contacts.add_departure(T + 2, T + 1, exchange(T + 2, T + 2.5, connected_at=connected))
        assert contacts.broken is broken


def test_a_request_sent_twice_may_be_seen_for_a_minute():
    contacts = ContactLog(T, T)
    contacts.add_lost(exchange(T + 1, T + 1.5), 2.0)
    contacts.add_lost(exchange(T + 2, T + 70), 2.0)
    assert contacts.attempts == [
        Attempt(T + 1, T + 61, True, T + 1.5, 2.0), Attempt(T + 2, T + 70, True, T + 70, 2.0)
    ]  # fmt: skip


def test_after_a_sure_contact_only_what_may_still_arrive_matters():
    kept = [
        Attempt(T, T + 60.5, True, T + 1), Attempt(T, T + 58, True, T + 1, 2.5), Attempt(T, T + 60, True, T + 1),
        Attempt(T, T + 58, True, T + 1, 2.0), Attempt(T, T + 90, False, T + 1),
    ]  # fmt: skip
    contacts = ContactLog(T, T, attempts=list(kept))
    contacts.add_sure(exchange(T + 60, T + 60.25, stalled_s=0.5))
    assert contacts.attempts == kept[:2]
    assert (contacts.sent, contacts.received, contacts.stalled_s, contacts.refreshed) == (T + 60, T + 60.25, 0.5, True)


def test_the_widest_gap_is_that_with_the_greatest_upper_bound():
    contacts = ContactLog(T, T + 0.5)
    for sent, received, widest in [(2.0, 2.5, (1.5, 2.5)), (4.0, 4.25, (1.5, 2.5)), (6.0, 7.0, (1.75, 3.0))]:
        contacts.add_sure(exchange(T + sent, T + received))
        assert contacts.widest == widest


def test_a_held_poll_ends_a_gap_when_it_comes_and_begins_the_next_when_it_is_released():
    contacts = ContactLog(T, T + 0.5)
    assert contacts.add_sure(exchange(T + 2.0, T + 5.0), T + 4.0) == 2.0
    assert (contacts.sent, contacts.received) == (T + 4.0, T + 5.0)
    assert contacts.widest == (1.5, 2.0)


@pytest.mark.parametrize(
    ("attempts", "gap", "sent", "feasible"),
    [
        # Each is used where it helps most, and one that helps no more is passed over.
        ([Attempt(1.0, 1.5, True), Attempt(1.0, 60.0, True)], 3.0, 7.5, True),
        ([Attempt(1.0, 1.5, True), Attempt(1.0, 60.0, True)], 3.0, 8.0, False),
        ([Attempt(1.0, 1.5, True), Attempt(2.5, 2.5, False), Attempt(1.0, 60.0, True)], 3.0, 8.5, True),
        ([Attempt(1.0, 1.5, True), Attempt(2.5, 2.5, False), Attempt(1.0, 60.0, True)], 3.0, 9.0, False),
        ([Attempt(1.0, 60.0, True), Attempt(1.0, 1.5, True)], 3.0, 7.5, True),
        # Held after it came, it is a contact all the while.
        ([Attempt(1.0, 1.5, True, 2.0, 2.0)], 3.0, 6.5, True),
        ([Attempt(1.0, 1.5, True, 2.0, 2.0)], 3.0, 7.0, False),
        ([Attempt(1.0, 60.0, True, 2.0, 2.0)], 3.0, 8.0, True),
        ([Attempt(1.0, 60.0, True, 2.0, 2.0)], 3.0, 8.5, False),
        # It left only after the silence was too long.
        ([Attempt(3.0, 60.0, True)], 3.0, 6.0, True),
        ([Attempt(3.5, 60.0, True)], 3.0, 5.0, False),
        ([Attempt(2.0, 4.0, False)], 3.0, 6.0, True),
        ([Attempt(2.0, 4.0, False)], 3.0, 6.5, False),
        ([Attempt(2.0, 2.5, False)], 3.0, 5.5, True),
        ([Attempt(2.0, 2.5, False)], 3.0, 6.0, False),
        ([Attempt(3.5, 4.0, False)], 3.0, 6.0, False),
    ],
)
def test_whether_no_silence_need_have_been_longer(attempts, gap, sent, feasible):
    moved = [replace(a, sent=T + a.sent, latest=T + a.latest, over=T + a.over) for a in attempts]
    contacts = ContactLog(T - 1, T, attempts=moved)
    assert contacts.feasible(gap, T + sent) is feasible
    lower, upper = contacts.bounds(T + sent, T + sent + 0.5)
    assert upper == sent + 1.5
    assert (lower <= gap + 1e-9) is feasible


def test_a_request_that_left_before_the_last_answer_was_in_closes_no_gap():
    assert ContactLog(T, T + 2).bounds(T + 1.0, T + 2.5) == (0.0, 2.5)
    assert ContactLog(T, T + 2, attempts=[Attempt(T, T + 60, True)]).bounds(T + 1.0, T + 2.5) == (0.0, 2.5)


@pytest.mark.parametrize(
    ("sent", "connect_s", "stalled_s", "since"),
    [(None, 0.0, 2.0, 2.0), (None, 1.0, 2.0, 2.0), (3.0, 1.0, 2.5, 1.5), (3.0, 1.0, 0.5, 0.0)],
)
def test_a_stall_that_was_not_booked_while_connecting(sent, connect_s, stalled_s, since):
    assert stalled_since(exchange(sent, 5.0, begun=1.0, connect_s=connect_s, stalled_s=stalled_s)) == since
