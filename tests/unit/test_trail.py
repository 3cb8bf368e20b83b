"""Bounds, proof and blame, on contacts placed by hand."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.effects import Exchange
from chatload.chat.trail import Attempt, Trail, blame
from chatload.protocol.reply import Reply
from chatload.vocabulary import Blame, Outcome


def exchange(sent, received, outcome=Outcome.FINE, begun=None, answered=True, **more):
    begun = sent if begun is None else begun
    return Exchange(begun, sent, received, Reply(outcome, False), answered=answered, **more)


def test_gap_lies_between_the_bounds_of_the_design():
    trail = Trail(10.0, 10.3)
    assert trail.bounds(12.0, 12.5) == (pytest.approx(1.7), 2.5)
    assert trail.sure(exchange(12.0, 12.5)) == 2.5
    assert trail.widest == (pytest.approx(1.7), 2.5)
    assert trail.sure(exchange(13.0, 13.1)) == pytest.approx(1.1)
    assert trail.widest == (pytest.approx(1.7), 2.5)


@pytest.mark.parametrize(("sent", "late"), [(3.0, False), (3.1, False), (3.11, True)])
def test_late_is_proven_only_past_the_timeout(sent, late):
    trail = Trail(1.0, 1.1)
    assert trail.feasible(2.0, sent) is not late


def test_an_answered_failure_counts_as_a_contact_in_the_least_favourable_reading():
    trail = Trail(0.0, 0.1)
    trail.failed(exchange(1.5, 1.6, Outcome.UNSUCCESSFUL))
    assert trail.feasible(2.0, 3.6)
    assert not trail.feasible(2.0, 3.7)


def test_a_request_that_never_left_is_no_contact():
    trail = Trail(0.0, 0.1)
    trail.failed(exchange(None, 1.6, Outcome.CONNECTION, begun=1.5, answered=False))
    assert not trail.feasible(2.0, 2.2)


def test_an_unanswered_request_may_be_acted_on_much_later():
    trail = Trail(0.0, 0.1)
    trail.failed(exchange(1.0, 2.0, Outcome.TIMEOUT, answered=False))
    assert trail.feasible(2.0, 4.05)
    assert not trail.feasible(2.0, 4.2)


def test_an_unanswered_request_still_counts_after_a_later_sure_contact():
    trail = Trail(0.0, 0.1)
    trail.failed(exchange(1.0, 2.0, Outcome.TIMEOUT, answered=False))
    trail.sure(exchange(2.1, 2.2))
    assert trail.feasible(2.0, 6.0)
    assert not trail.feasible(2.0, 6.3)


def reachable(trail, gap, sent, step=0.05):
    """Brute force: is there a placing of the attempts with no silence above gap?"""
    grids = []
    for attempt in trail.attempts:
        places, at = [None], attempt.sent
        while at <= min(attempt.latest, sent) + 1e-9:
            places.append(at)
            at += step
        grids.append(places)
    for placing in product(*grids):
        contacts = sorted([trail.received, *(at for at in placing if at is not None), sent])
        if all(b - a <= gap + 1e-9 for a, b in pairwise(contacts)):
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
    trail = Trail(0.0, 0.0, attempts=attempts)
    sent = float(max(sent, at))
    for gap in (3.0, 5.0, 8.0):
        if reachable(trail, gap, sent, step=1.0):
            assert trail.feasible(gap, sent)
    least, upper = trail.bounds(sent, sent + 0.5)
    assert 0.0 <= least <= upper
    assert trail.feasible(least + 1e-6, sent)


def book(trail, due, ready, ex):
    trail.leaving(due, ready, ex)


def test_blame_plan_when_the_planned_silence_alone_is_too_long():
    trail = Trail(0.0, 0.01)
    book(trail, 2.2, 0.01, exchange(2.5, 2.51, begun=2.5))
    assert blame(trail, 2.0, 2.5) is Blame.PLAN


def test_blame_generator_when_its_lateness_made_the_difference():
    trail = Trail(0.0, 0.01)
    book(trail, 1.5, 0.01, exchange(3.0, 3.01, begun=3.0))
    assert blame(trail, 2.0, 3.0) is Blame.GENERATOR


def test_blame_server_when_an_answer_never_came():
    trail = Trail(0.0, 0.01)
    waited = exchange(1.0, 6.0, Outcome.TIMEOUT, answered=False)
    book(trail, 1.0, 0.01, waited)
    trail.failed(waited)
    book(trail, 6.1, 6.0, exchange(6.1, 6.2))
    assert blame(trail, 2.0, 6.1) is Blame.SERVER


def test_blame_network_when_no_connection_could_be_made():
    trail = Trail(0.0, 0.01)
    ready = 0.01
    for at in (1.0, 1.5, 2.0):
        refused = exchange(None, at + 0.01, Outcome.CONNECTION, begun=at, answered=False)
        book(trail, at, ready, refused)
        trail.failed(refused)
        ready = at + 0.01
    book(trail, 2.5, ready, exchange(2.5, 2.51))
    assert blame(trail, 2.0, 2.5) is Blame.NETWORK


def test_blame_retries_when_unsuccessful_requests_used_the_time_up():
    trail = Trail(0.0, 0.01)
    failed = exchange(1.0, 1.01, Outcome.UNSUCCESSFUL)
    book(trail, 1.0, 0.01, failed)
    trail.failed(failed)
    book(trail, 3.5, 1.01, exchange(3.5, 3.51))
    assert blame(trail, 2.0, 3.5) is Blame.RETRIES


def test_a_stall_during_a_wait_for_an_answer_is_the_generators_not_the_servers():
    trail = Trail(0.0, 0.01)
    waited = exchange(1.0, 6.0, Outcome.TIMEOUT, answered=False, stalled_s=4.9)
    book(trail, 1.0, 0.01, waited)
    trail.failed(waited)
    book(trail, 6.1, 6.0, exchange(6.1, 6.2))
    assert blame(trail, 2.0, 6.1) is Blame.GENERATOR
    assert trail.shares.server == pytest.approx(0.2)


@pytest.mark.parametrize("answer", [Outcome.ENDED, Outcome.UNSUCCESSFUL])
def test_a_stall_while_connecting_is_the_generators_not_the_networks(answer):
    trail = Trail(0.0, 0.01)
    connected = exchange(4.0, 4.01, answer, begun=1.0, connect_s=3.0, stalled_s=2.9)
    book(trail, 1.0, 0.01, connected)
    if answer is Outcome.UNSUCCESSFUL:
        trail.failed(connected)
        book(trail, 4.1, 4.01, exchange(4.1, 4.11))
    assert blame(trail, 2.0, 4.1) is Blame.GENERATOR
    assert trail.shares.generator == pytest.approx(2.9)
    assert trail.shares.network == pytest.approx(0.1)


def test_a_stall_longer_than_connecting_went_on_after_it():
    trail = Trail(0.0, 0.01)
    waited = exchange(1.5, 6.0, Outcome.TIMEOUT, answered=False, begun=1.0, connect_s=0.5, stalled_s=4.9)
    book(trail, 1.0, 0.01, waited)
    trail.failed(waited)
    assert trail.shares.generator == pytest.approx(4.9)
    assert trail.shares.server == pytest.approx(0.1)
    assert trail.shares.network == 0.0
