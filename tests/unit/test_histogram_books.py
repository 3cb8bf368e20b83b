"""Histograms keep their stated error and merge; books balance or say that they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.protocol.reply import Reply
from chatload.run.books import Books
from chatload.run.histogram import RELATIVE_ERROR, CensoredHistogram, Histogram
from chatload.vocabulary import Outcome

DURATIONS = st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=300)


def filled(values):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(DURATIONS, st.floats(0, 1))
def test_a_quantile_is_within_the_stated_error(values, q):
    rank = q * (len(values) - 1)
    low, high = sorted(values)[int(rank)], sorted(values)[min(int(rank) + 1, len(values) - 1)]
    found = filled(values).quantile(q)
    assert low * (1 - RELATIVE_ERROR) * 0.999 <= found <= high * (1 + RELATIVE_ERROR) * 1.001


@given(DURATIONS, DURATIONS)
def test_merging_is_the_same_as_counting_in_one(ones, others):
    merged = filled(ones)
    merged.merge(filled(others))
    assert merged.to_dict() == filled(ones + others).to_dict()
    assert Histogram.from_dict(merged.to_dict()).to_dict() == merged.to_dict()


@given(DURATIONS, DURATIONS)
def test_the_sum_is_kept_to_the_microsecond_and_since_takes_it_away(ones, others):
    before = filled(ones)
    total = filled(ones + others)
    assert total.total_us == sum(round(value * 1e6) for value in ones + others)
    assert total.since(before).total_us == filled(others).total_us


def test_an_empty_histogram_has_no_quantile():
    assert Histogram().quantile(0.5) is None


def test_zero_is_zero():
    assert filled([0.0, 0.0, 1.0]).quantile(0.5) == 0.0


def exchange(outcome=Outcome.FINE):
    return Exchange(1.0, 1.0, 1.5, Reply(outcome))


def kept():
    books = Books()
    books.started += 1
    books.sent["GetMessages"] += 2
    books.request_ended("GetMessages", exchange())
    books.request_ended("GetMessages", exchange(Outcome.UNSUCCESSFUL))
    books.session_ended(SessionRecord(verdict="dropped_late", blame="plan"))
    return books


def test_books_balance():
    assert kept().balanced()


@pytest.mark.parametrize("loss", ["a session", "a request", "an operation's requests swapped"])
def test_a_loss_shows(loss):
    books = kept()
    if loss == "a session":
        books.started += 1
    elif loss == "a request":
        books.sent["GetMessages"] += 1
    else:
        books.sent["SendMessage"] += 1
        books.sent["GetMessages"] -= 1
    assert not books.balanced()


def test_a_request_cut_off_in_flight_has_an_outcome():
    books = kept()
    books.sent["GetMessages"] += 1
    assert not books.balanced()
    books.request_cut("GetMessages")
    assert books.balanced()
    assert books.outcomes["GetMessages"]["connection"] == 1


def test_books_travel_and_merge():
    total = Books()
    total.merge(Books.from_dict(kept().to_dict()))
    total.merge(kept())
    assert total.balanced()
    assert (total.started, total.blames["plan"], total.latency["GetMessages"].count) == (2, 2, 4)


REFRESHES = st.lists(st.tuples(*[st.floats(0.0, 100.0)] * 4), max_size=30)
LOOKS = st.sampled_from(
    ["", "sent", "outcomes", "latency", "response_time", "lateness", "gap", "copy", "to_dict", "merge", "since"]
)


def _refreshed(books, numbers):
    """One usual refresh, kept back."""
    books.request_begun("GetMessages")
    books.refresh_answered(*numbers)


def _counted(books, numbers):
    """The same, counted at once."""
    latency, lateness, gap, response_time = numbers
    books.request_begun("GetMessages")
    exchange = Exchange(-latency, -latency, 0.0, Reply(Outcome.FINE))  # so that differences are exact
    books.request_ended("GetMessages", exchange, due=-response_time)
    books.lateness.add(lateness)
    books.gap.add(gap)


def _as_plain(part):
    if isinstance(part, CensoredHistogram | Histogram):
        return part.to_dict()
    return {name: _as_plain(each) for name, each in part.items()} if isinstance(part, dict) else part


@given(st.lists(st.tuples(REFRESHES, LOOKS), max_size=8))
def test_what_is_kept_back_is_in_whatever_is_looked_at(parts):
    kept, plain, before = Books(), Books(), Books()
    for refreshes, look in parts:
        for numbers in refreshes:
            _refreshed(kept, numbers)
            _counted(plain, numbers)
        if look == "copy":
            assert kept.copy().to_dict() == plain.to_dict()
        elif look == "to_dict":
            assert kept.to_dict() == plain.to_dict()
        elif look == "merge":
            both = Books()
            both.merge(kept)
            both.merge(before)
            assert both.gap.count == plain.gap.count
        elif look == "since":
            assert kept.since(before).sent == plain.sent and kept.since(before).gap.count == plain.gap.count
        elif look:
            assert _as_plain(getattr(kept, look)) == plain.to_dict()[look]
    assert kept.balanced() and kept.to_dict() == plain.to_dict()


def test_so_much_is_kept_back_and_no_more():
    books = Books()
    for _ in range(5000):
        _refreshed(books, (0.001, 0.0, 5.0, 0.001))
    assert len(books.lateness._fresh) < 1000
    assert books.sent == {"GetMessages": 5000} and books.lateness.count == books.gap.count == 5000
