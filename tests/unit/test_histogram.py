"""The histogram's answers, sample by sample, at the edges of its buckets."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.run.histogram import RELATIVE_ERROR, Histogram, nearest_rank

GROWTH = log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))


def filled(*values):
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def edge(key):
    """The greatest value of a bucket."""
    return exp(key * GROWTH)


def test_a_value_falls_into_the_bucket_that_ends_at_or_after_it():
    inside = [edge(key) * 0.9999 for key in (-300, -1, 0, 1, 250)]
    assert filled(*inside).buckets == dict.fromkeys((-300, -1, 0, 1, 250), 1)
    assert filled(edge(7) * 1.0001, edge(8) * 0.9999).buckets == {8: 2}


def test_below_a_microsecond_counts_as_nothing():
    made = filled(0.0, -1.0, 9.9e-7, 1e-6, 0.5)
    assert (made.zeros, made.count, sum(made.buckets.values())) == (3, 5, 2)
    assert (made.minimum, made.maximum, made.total_us) == (-1.0, 0.5, 500_001)


def test_extremes_are_exact_also_after_many():
    made = filled(*[0.001 * n for n in range(1, 2501)])
    assert (made.count, made.minimum, made.maximum) == (2500, 0.001, 2.5)
    made.add(0.0004)
    made.extend([3.0, 0.7])
    assert (made.count, made.minimum, made.maximum) == (2503, 0.0004, 3.0)
    other = filled(9.0)
    other.merge(made)
    assert (other.count, other.minimum, other.maximum) == (2504, 0.0004, 9.0)
    other.merge(Histogram())
    assert (other.count, other.minimum, other.maximum) == (2504, 0.0004, 9.0)


@pytest.mark.parametrize(
    ("rank", "value"),
    [(0, 0.0), (1, 0.0), (1.99, 0.0), (2, 1.0), (2.5, 1.0), (3, 2.0), (4, 2.0), (5, 4.0), (5.9, 4.0)],
)
def test_the_sample_of_a_rank(rank, value):
    assert filled(0.0, 0.0, 1.0, 2.0, 2.0, 4.0).value_at(rank) == pytest.approx(value, rel=RELATIVE_ERROR)


def test_a_sample_lies_within_the_extremes():
    low, high = edge(10) * 0.985, edge(10) * 0.9999
    made = filled(high, high, high)
    assert made.value_at(0) == made.value_at(2) == high
    assert filled(low, low).value_at(1) == pytest.approx(low, rel=RELATIVE_ERROR)
    middle = 2 * exp(10 * GROWTH) / (1 + exp(GROWTH))
    assert filled(low, high).value_at(0) == pytest.approx(middle)
    assert filled(1e-9, 2e-9).value_at(1) == 1e-9
    assert filled(-0.5).value_at(0) == 0.0


@pytest.mark.parametrize("rank", [-1, 3, 7])
def test_there_is_no_such_rank(rank):
    made = filled(1.0, 2.0, 3.0)
    for ask in (made.value_at, made.bracket):
        with pytest.raises(IndexError):
            ask(rank)
    for ask in (Histogram().value_at, Histogram().bracket):
        with pytest.raises(IndexError):
            ask(0)


@pytest.mark.parametrize(
    ("value", "above"),
    [
        (0.0, (4, 6)), (5e-7, (4, 6)), (0.5, (4, 4)), (0.9999, (3, 4)), (1.0001, (3, 3)), (1.5, (3, 3)), (2.0, (1, 3)),
        (3.0, (1, 1)), (4.0, (0, 1)), (4.0001, (0, 0)), (9.0, (0, 0)), (-1.0, (6, 6)),
    ],
)  # fmt: skip
def test_how_many_are_above(value, above):
    assert filled(0.0, 0.0, 1.0, 2.0, 2.0, 4.0).count_above(value) == above


def test_what_lies_outside_of_the_extremes_is_known_also_within_a_bucket():
    low, inside, high = (edge(5) * part for part in (0.985, 0.99, 0.995))
    made = filled(inside, inside)
    assert (made.count_above(low), made.count_above(inside), made.count_above(high)) == ((2, 2), (0, 2), (0, 0))
    assert Histogram().count_above(1.0) == (0, 0)


@pytest.mark.parametrize(
    ("rank", "low", "high"), [(0, 0.0, 1e-6), (1, 0.0, 1e-6), (2, 1.0, 1.0), (3, 2.0, 2.0), (5, 4.0, 4.0)]
)
def test_between_which_values_the_sample_of_a_rank_lies(rank, low, high):
    found = filled(0.0, 0.0, 1.0, 2.0, 2.0, 4.0).bracket(rank)
    if low < 1:
        assert found == (low, high)
    else:
        assert found[0] <= low <= high <= found[1] and found[1] / found[0] <= exp(GROWTH) * 1.0001


def test_a_bracket_lies_within_the_extremes():
    low, high = edge(5) * 0.985, edge(5) * 0.995
    assert filled(low, high).bracket(1) == (low, high)
    assert filled(-0.5, -0.25).bracket(0) == (-0.5, -0.25)
    assert filled(0.0, 1.0).bracket(1) == (pytest.approx(edge(-1)), 1.0)


def test_bins_are_the_buckets_in_order():
    assert list(filled(0.0, 2.0, 1.0, 1.0).bins()) == [
        (0.0, 1e-6, 1), (pytest.approx(edge(-1)), pytest.approx(1.0), 2),
        (pytest.approx(edge(34)), pytest.approx(edge(35)), 1),
    ]  # fmt: skip
    assert list(filled(2.0).bins()) == [(pytest.approx(edge(34)), pytest.approx(edge(35)), 1)]


def test_what_was_added_since_has_extremes_at_the_edges_of_its_buckets():
    before = filled(1.0, 4.0)
    now = filled(1.0, 4.0, 2.0, 2.0, 2.5)
    added = now.since(before)
    assert (added.count, added.zeros, added.total_us) == (3, 0, 6_500_000)
    assert added.minimum == pytest.approx(edge(34)) and added.maximum == pytest.approx(edge(46))
    assert edge(34) < 2.0 < edge(35) and edge(45) < 2.5 < edge(46)
    assert now.since(filled()).minimum == 1.0 and now.since(filled()).maximum == 4.0
    assert now.since(now).count == 0 and now.since(now).minimum is None and now.since(now).buckets == {}
    zeros = filled(1.0, 0.0).since(filled(1.0))
    assert (zeros.minimum, zeros.maximum, zeros.zeros) == (0.0, 0.0, 1)
    mixed = filled(1.0, 0.0, 1.0).since(filled(1.0))
    assert (mixed.minimum, mixed.maximum) == (0.0, 1.0)
    low = filled(4.0, 1.0).since(filled(4.0))
    assert (low.minimum, low.maximum) == (1.0, pytest.approx(edge(0)))


@given(st.integers(1, 2000), st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]))
def test_a_quantile_is_the_smallest_sample_that_its_share_does_not_exceed(count, q):
    rank = nearest_rank(q, count)
    assert 0 <= rank < count
    assert (rank + 1) / count >= q - 1e-9
    assert rank == 0 or rank / count < q
