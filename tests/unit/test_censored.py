"""Durations of which some are known only to be longer than a bound; and what became of sessions, counted."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.protocol.reply import Reply
from chatload.protocol.wire import Detail
from chatload.run.books import Books, Fates
from chatload.run.histogram import CensoredHistogram, Histogram, Reading, nearest_rank
from chatload.run.schema import BooksCell
from chatload.vocabulary import Outcome

SAMPLES = st.lists(st.tuples(st.floats(1e-4, 1e3), st.booleans(), st.floats(0.0, 1e3)), min_size=1, max_size=60)


def made(known: list[float], bounds: list[float] | None = None) -> CensoredHistogram:
    samples = CensoredHistogram()
    for value in known:
        samples.add(value)
    for bound in bounds or []:
        samples.add_longer_than(bound)
    return samples


def histogram(values: list[float]) -> Histogram:
    filled = Histogram()
    filled.extend(values)
    return filled


def test_a_percentile_among_the_unanswered_is_a_lower_bound() -> None:
    # 97 answered in 6 ms, 3 not within 5 s: the 99th of 100 is one of the three
    samples = made([0.006] * 97, [5.0, 5.001, 5.002])
    assert samples.count == 100
    assert samples.quantile(0.5) == Reading(pytest.approx(0.006, rel=0.011))
    assert samples.quantile(0.99) == (pytest.approx(5.0, abs=0.002), True)
    assert samples.maximum == (5.002, True)
    assert samples.figure(0.99) == pytest.approx(5.0, abs=0.002)
    assert made([0.006]).maximum == (0.006, False)
    assert (made([]).quantile(0.5), made([]).maximum, made([]).figure(0.5)) == (None,) * 3


def test_what_was_refused_at_once_is_never_fast() -> None:
    # 60 connections refused within 1 ms, 40 answered in 20 ms
    samples = made([0.02] * 40, [0.001] * 60)
    # ranked behind all that are known: from rank 40 on they are the refused, of which only the bound is sure
    assert samples.quantile(0.3) == Reading(pytest.approx(0.02, rel=0.011))
    assert samples.quantile(0.5) == (0.001, True)
    # as if each were its bound, ranks 60 to 99 are those that were answered
    assert samples.quantile(0.99) == (pytest.approx(0.0198, rel=0.02), True)
    assert samples.figure(0.5) == 0.02
    assert samples.maximum == (0.02, True)


def test_a_wait_counts_as_above_what_it_reaches_and_possibly_above_all_else() -> None:
    samples = made([0.1] * 90, [5.0] * 10)
    assert samples.count_above(0.05) == (100, 100)
    assert samples.count_above(0.3) == (10, 10)
    # no answer came within 5 s, so each took longer than that
    assert samples.count_above(5.0) == (10, 10)
    assert samples.count_above(5.5) == (0, 10)
    assert made([0.1] * 90, [0.001] * 10).count_above(0.3) == (0, 10)
    assert made([], [0.0]).count_above(0.0) == (1, 1)


@given(SAMPLES, st.floats(1e-4, 1e3))
def test_whatever_the_censored_ones_were_the_counts_and_brackets_hold(
    drawn: list[tuple[float, bool, float]], limit: float
) -> None:
    known = [value for value, censored, _ in drawn if not censored]
    bounds = [value for value, censored, _ in drawn if censored]
    truth = sorted(value + (1e-9 + more if censored else 0.0) for value, censored, more in drawn)
    samples = made(known, bounds)
    surely, at_most = samples.count_above(limit)
    assert surely <= sum(value >= limit for value in truth) and sum(value > limit for value in truth) <= at_most
    for rank, value in enumerate(truth):
        least, most = samples.bracket(rank)
        assert least * (1 - 1e-9) <= value <= most * (1 + 1e-9)
        assert math.isinf(most) == (rank >= len(known))
    for q in (0.0, 0.5, 0.9, 1.0):
        reading = samples.quantile(q)
        assert reading is not None
        if reading.over:
            assert reading.seconds * (1 - 1e-9) <= truth[nearest_rank(q, len(truth))]


@given(SAMPLES, SAMPLES)
def test_parts_add_up_and_a_difference_is_the_later_part(
    first: list[tuple[float, bool, float]], second: list[tuple[float, bool, float]]
) -> None:
    def part(drawn: list[tuple[float, bool, float]]) -> CensoredHistogram:
        return made([v for v, censored, _ in drawn if not censored], [v for v, censored, _ in drawn if censored])

    both = part(first)
    both.merge(part(second))
    assert both.count == len(first) + len(second)
    later = both.since(part(first))
    assert later.count == len(second) and later.total_us == part(second).total_us
    assert later.censored.buckets == part(second).censored.buckets


# -- the difference of two histograms ------------------------------------------------------------


@given(
    st.lists(st.floats(0.0, 1e3), max_size=50),
    st.lists(st.floats(0.0, 1e3), min_size=1, max_size=50),
    st.floats(0, 1e3),
)
def test_no_sample_lies_outside_the_extremes_of_a_difference(
    before: list[float], after: list[float], limit: float
) -> None:
    found = histogram(before + after).since(histogram(before))
    assert found.minimum is not None and found.maximum is not None
    assert found.minimum * (1 - 1e-9) <= min(after) + 1e-6 and max(after) <= found.maximum * (1 + 1e-9) + 1e-6
    surely, at_most = found.count_above(limit)
    assert surely <= sum(v > limit for v in after) and sum(v >= limit and v >= 1e-6 for v in after) <= at_most


def test_a_difference_is_not_taken_for_shorter_than_it_may_be() -> None:
    # 0.30103 s is in the bucket whose middle is 0.3007 s: a limit there divides it, and decides nothing
    found = histogram([10.0] + [0.30103] * 1000).since(histogram([10.0]))
    middle = found.quantile(0.5)
    assert middle is not None and found.maximum is not None and found.maximum >= 0.30103
    for limit in (0.3007, middle, middle * 1.0001):
        surely, at_most = found.count_above(limit)
        assert surely in (0, 1000) and at_most == 1000, limit
    # the greatest of all bounds that of the difference
    assert histogram([0.1, 0.2, 0.30103]).since(histogram([0.1])).maximum == 0.30103
    assert histogram([0.2, 0.3]).since(histogram([0.3])).minimum == 0.2


@pytest.mark.parametrize("zeros", [1, 1000])
def test_a_difference_of_nothing_but_zeros_is_zero(zeros: int) -> None:
    found = histogram([0.99, *[0.0] * zeros]).since(histogram([0.99]))
    assert (found.count, found.zeros, found.minimum, found.maximum) == (zeros, zeros, 0.0, 0.0)
    assert found.quantile(0.99) == 0.0 and found.count_above(0.001) == (0, 0)


def test_a_difference_with_zeros_has_them_below_the_rest() -> None:
    found = histogram([5.0, 0.0, 0.0, 0.2]).since(histogram([5.0]))
    assert (found.zeros, found.minimum) == (2, 0.0)
    assert found.maximum is not None and 0.2 <= found.maximum <= 0.2 * 1.0203
    # nothing below the least is counted as possibly below it
    assert found.count_above(0.1) == (1, 1) and histogram([0.2, 0.3]).count_above(0.1) == (2, 2)
    assert histogram([0.2, 0.3]).since(histogram([0.3])).count_above(0.19) == (1, 1)


def test_a_limit_below_the_least_is_below_all_though_it_shares_their_bucket() -> None:
    # 1.005 and 1.006 s share a bucket; the least is known exactly, so nothing is undecided
    assert histogram([1.006, 1.006, 2.0]).count_above(1.005) == (3, 3)
    assert histogram([1.004, 1.006]).count_above(1.005) == (0, 2)


def test_a_difference_of_nothing_has_no_extremes() -> None:
    same = histogram([0.2])
    found = same.since(histogram([0.2]))
    assert (found.count, found.minimum, found.maximum) == (0, None, None)


# -- what goes into the books --------------------------------------------------------------------


def exchange(outcome: Outcome, sent: float | None, received: float, answered: bool, detail: str = "") -> Exchange:
    return Exchange(1.0, sent, received, Reply(outcome, detail=detail), answered=answered)


def test_every_request_that_is_over_has_a_latency() -> None:
    books = Books()
    books.request_ended("GetMessages", exchange(Outcome.FINE, 1.0, 1.2, True))
    books.request_ended("GetMessages", exchange(Outcome.HTTP_ERROR, 1.0, 1.3, True))
    books.request_ended("GetMessages", exchange(Outcome.TIMEOUT, 1.5, 6.5, False))
    books.request_ended("GetMessages", exchange(Outcome.CONNECTION, 1.5, 1.6, False))
    books.request_ended("GetMessages", exchange(Outcome.CONNECTION, None, 1.25, False, Detail.REFUSED))
    books.request_cut("GetMessages")
    books.refresh_answered(0.4, 0.0, 3.0, 0.4)
    latency = books.latency["GetMessages"]
    assert latency.count == books.outcomes["GetMessages"].total() == 7
    assert latency.observed.count == 3 and latency.observed.total_us == 900_000
    # waited: 5 s for the answer, 0.1 s until it was lost, 0.25 s to be refused, and not known of the one cut
    assert latency.censored.count == 4 and latency.censored.total_us == 5_350_000
    assert latency.maximum == (5.0, True)


def travelled(books: Books) -> Books:
    """The books after a way through a message, a merge, and a run file."""
    total = Books()
    total.merge(Books.from_dict(books.to_dict()))
    return TypeAdapter(BooksCell).validate_python(json.dumps(total.to_dict()))


def filled() -> Books:
    books = Books()
    books.request_ended("GetMessages", exchange(Outcome.FINE, 1.0, 1.2, True))
    books.request_ended("GetMessages", exchange(Outcome.TIMEOUT, 1.0, 6.0, False))
    books.request_ended("RequestChat", exchange(Outcome.TIMEOUT, 1.0, 6.0, False))
    books.session_ended(SessionRecord(verdict="gave_up"))
    books.session_ended(SessionRecord("c", "dropped_late", gap_lower_s=44.0, gap_upper_s=60.0), 45.0)
    books.gap.add(3.0)
    return books


def test_it_all_travels_merges_and_is_taken_apart_again() -> None:
    once, twice = filled(), filled()
    twice.merge(filled())
    for books in (travelled(once), twice.since(once)):
        assert books.latency["GetMessages"].censored.count == books.latency["RequestChat"].censored.count == 1
        assert books.latency["GetMessages"].observed.count == books.gap.observed.count == books.gap.censored.count == 1
        assert books.unserved == {"gave_up": 1}
    assert travelled(once).to_dict() == once.to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"latency": {"GetMessages": {"censored": Histogram().to_dict()}}},
        {"latency": {"GetMessages": {"observed": {**histogram([5.0]).to_dict(), "count": 7}}}},
        {"gap": {"observed": Histogram().to_dict(), "censored": {**histogram([5.0]).to_dict(), "zeros": 3}}},
        {"gap": {"censored": Histogram().to_dict()}},
        {"gap": 3},
        {"unserved": {"gave_up": "many"}},
        {"unserved": {"gave_up": -1}},
    ],
)
def test_books_that_do_not_add_up_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TypeAdapter(BooksCell).validate_python(json.dumps(filled().to_dict() | change))


@pytest.mark.parametrize(
    ("record", "known", "bounds"),
    [
        # proven late: longer than the timeout, whatever the bound of the silence says
        (SessionRecord("c", "dropped_late", gap_lower_s=14.0, gap_upper_s=40.0), [], [15.0]),
        (SessionRecord("c", "dropped_late", gap_lower_s=38.0, gap_upper_s=43.0), [], [38.0]),
        # perhaps late: at least its lower bound
        (SessionRecord("c", "dropped_unproven", gap_lower_s=12.0, gap_upper_s=43.0), [], [12.0]),
        # every reading of it is in time
        (SessionRecord("c", "dropped_unproven", gap_lower_s=2.0, gap_upper_s=3.0), [3.0], []),
        (SessionRecord("c", "dropped_early", gap_lower_s=2.0, gap_upper_s=3.0), [3.0], []),
        # given up: its bounds are those of an earlier gap
        (SessionRecord("c", "gave_up", gap_lower_s=2.0, gap_upper_s=3.0), [], [0.0]),
        (SessionRecord("", "gave_up"), [], []),
        (SessionRecord("c", "completed", gap_lower_s=2.0, gap_upper_s=3.0), [], []),
        (SessionRecord("c", "cut_off", gap_lower_s=2.0, gap_upper_s=3.0), [], []),
        (SessionRecord("c", "ended_by_agent", gap_lower_s=2.0, gap_upper_s=3.0), [], []),
    ],
)
def test_the_silence_in_which_a_chat_was_dropped_is_a_gap(
    record: SessionRecord, known: list[float], bounds: list[float]
) -> None:
    books = Books()
    books.session_ended(record, 15.0)
    assert books.gap.observed.to_dict() == histogram(known).to_dict()
    assert books.gap.censored.to_dict() == histogram(bounds).to_dict()


# -- what became of sessions ---------------------------------------------------------------------


def test_accepted_unserved_dropped_and_known() -> None:
    verdicts = Counter(
        completed=50, dropped_late=3, dropped_early=2, dropped_unproven=4, refused=7, gave_up=20, cut_off=10, failed=1
    )
    fates = Fates(verdicts, Counter(refused=7, gave_up=15, cut_off=2))
    assert fates.ended == 97
    assert fates.accepted == 97 - 7 - 15 - 2
    # those cut off while their RequestChat was under way might have been accepted
    assert fates.never_accepted == (22, 24)
    # surely late and early; perhaps unproven, and the five that gave up with a chat id
    assert fates.dropped == (5, 5 + 4 + 5)
    # of the eight accepted that were cut off, three said a confirmed goodbye
    assert fates.known(3) == 73 - 8 + 3


def test_the_refused_are_never_accepted_though_nobody_counted_them_apart() -> None:
    assert Fates(Counter(refused=5, completed=2), Counter()).accepted == 2


@pytest.mark.parametrize(
    ("record", "unserved"),
    [
        (SessionRecord("", "refused"), {"refused": 1}),
        (SessionRecord("", "gave_up"), {"gave_up": 1}),
        (SessionRecord("", "cut_off"), {"cut_off": 1}),
        (SessionRecord("c", "gave_up"), {}),
        (SessionRecord("c", "cut_off"), {}),
        (SessionRecord("c", "completed"), {}),
    ],
)
def test_the_unserved_are_those_without_a_chat_id(record: SessionRecord, unserved: dict[str, int]) -> None:
    books = Books()
    books.session_ended(record)
    assert books.unserved == unserved
