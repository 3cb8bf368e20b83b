"""The benchmark's figures: medians, ratios and their refusal, the noise rule, what a ledger shows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import ledger
from bench.figures import Figure, figure, percentiles, ratio
from bench.ledger import Ledger
from bench.noise import FOREIGN, STEAL, WAITED, Noise

QUIET = Noise(0.0, 0.0, 0.0, 0.0)


def rows(*values, quiet=True):
    return [{"value": value, "noise": {"quiet": quiet}} for value in values]


def value(row):
    return row["value"]


@pytest.mark.parametrize(
    "repetitions, expected",
    [
        (rows(3.0, 1.0, 2.0), Figure(2.0, 1.0, 3.0, 3, True)),
        (rows(5.0), Figure(5.0, 5.0, 5.0, 1, True)),
        (rows(1.0, 3.0) + rows(50.0, quiet=False), Figure(2.0, 1.0, 3.0, 2, True)),
        (rows(1.0) + rows(9.0, quiet=False), Figure(5.0, 1.0, 9.0, 2, False)),
        (rows(7.0, quiet=False), Figure(7.0, 7.0, 7.0, 1, False)),
        (rows(None, 4.0), Figure(4.0, 4.0, 4.0, 1, True)),
        (rows(None), None),
        ([], None),
    ],
)
def test_the_median_rests_on_quiet_repetitions_where_most_are(repetitions, expected):
    assert figure(repetitions, value) == expected


def test_a_repetition_that_says_nothing_of_noise_is_not_quiet():
    assert figure([{"value": 1.0}], value) == Figure(1.0, 1.0, 1.0, 1, False)


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=9))
def test_the_median_lies_in_its_spread(values):
    found = figure(rows(*values), value)
    assert found.low <= found.median <= found.high
    assert (found.low, found.high, found.n) == (min(values), max(values), len(values))


@pytest.mark.parametrize(
    "above, below, expected, why",
    [
        (Figure(8.0, 7.0, 9.0, 3, True), Figure(2.0, 1.0, 3.0, 3, True), 4.0, ""),
        (Figure(8.0, 7.0, 9.0, 3, False), Figure(2.0, 1.0, 3.0, 3, True), None, "too noisy"),
        (Figure(8.0, 7.0, 9.0, 3, True), Figure(2.0, 1.0, 3.0, 3, False), None, "too noisy"),
        (None, Figure(2.0, 1.0, 3.0, 3, True), None, "not measured"),
        (Figure(8.0, 7.0, 9.0, 3, True), None, None, "not measured"),
        (Figure(8.0, 7.0, 9.0, 3, True), Figure(0.0, 0.0, 0.0, 3, True), None, "nothing to divide by"),
    ],
)
def test_a_ratio_is_formed_of_quiet_figures_only(above, below, expected, why):
    assert ratio(above, below) == (expected, why)


@pytest.mark.parametrize(
    "noise, words",
    [
        (QUIET, []),
        (Noise(WAITED, WAITED, FOREIGN, STEAL), []),
        (Noise(WAITED + 0.001, 0.0, 0.0, 0.0), ["the generator waited"]),
        (Noise(None, 0.0, 0.0, 0.0), []),
        (Noise(None, WAITED + 0.001, 0.0, 0.0), ["the server waited"]),
        (Noise(0.0, 0.0, FOREIGN + 0.001, 0.0), ["other processes used"]),
        (Noise(0.0, 0.0, 0.0, STEAL + 0.001), ["the hypervisor took"]),
        (Noise(1.0, 1.0, 1.0, 1.0), ["the generator", "the server", "other processes", "the hypervisor"]),
    ],
)
def test_the_noise_rule(noise, words):
    assert len(noise.reasons) == len(words)
    assert all(reason.startswith(word) for reason, word in zip(noise.reasons, words, strict=True))
    assert noise.to_dict()["quiet"] is (not words)


def test_percentiles_are_values_that_were_seen():
    assert percentiles([]) is None
    assert percentiles([0.25]) == {"p50": 0.25, "p99": 0.25, "p99_9": 0.25, "max": 0.25}
    found = percentiles([float(n) for n in range(1, 1001)])
    assert found == {"p50": 500.0, "p99": 990.0, "p99_9": 999.0, "max": 1000.0}


def chat(*refreshes, opened=0.0, goodbye=None, end_reason="disconnected"):
    contacts = [[opened, "RequestChat"], *([at, "GetMessages"] for at in refreshes)]
    if goodbye is not None:
        contacts.append([goodbye, "Disconnect"])
    return {"started_at": opened, "end_reason": end_reason, "contacts": contacts}


def test_gaps_are_between_refreshes_of_one_chat():
    read = ledger.read([chat(0.1, 5.1, 10.6, goodbye=11.0), chat(2.0, 7.0, opened=1.9, end_reason=None)])
    assert read.opened.tolist() == [0.0, 1.9]
    assert read.refreshes.tolist() == [0.1, 2.0, 5.1, 7.0, 10.6]
    assert read.gaps.ravel() == pytest.approx([5.1, 5.0, 10.6, 5.5, 7.0, 5.0])
    assert (read.goodbye, read.ends) == (11.0, Counter(disconnected=1, open=1))


def test_a_late_refresh_is_an_error_of_both_gaps_beside_it():
    read = ledger.read([chat(0.0, 5.0, 10.3, 15.0)])
    assert ledger.gap_errors(read, 5.0) == pytest.approx([0.0, 0.3, 0.3])


def test_only_gaps_that_lie_within_a_stretch_count():
    read = ledger.read([chat(0.0, 5.0, 11.0, 16.0)])
    assert ledger.gap_errors(read, 5.0, start=5.0, end=11.0) == pytest.approx([1.0])
    assert ledger.gap_errors(read, 5.0, start=5.1).tolist() == pytest.approx([0.0])
    assert ledger.within(read, 5.0, 11.5) == 2


def test_chats_without_a_refresh_have_no_gaps():
    read = ledger.read([chat(), chat(1.0)])
    assert len(read.gaps) == 0
    assert percentiles(ledger.gap_errors(read, 5.0)) is None
    assert ledger.read([]).gaps.shape == (0, 2)


def opened(*instants, goodbye=None):
    return Ledger(np.array(instants), np.empty(0), np.empty((0, 2)), goodbye, Counter())


@pytest.mark.parametrize(
    "book, expected",
    [
        (opened(0.0, 1.0, 2.0), (7.0, 17.0, 3, True)),
        # The goodbyes came before it was over: shorter, and not whole where it is much shorter.
        (opened(0.0, 1.0, 2.0, goodbye=16.0), (7.0, 16.0, 3, True)),
        (opened(0.0, 1.0, 2.0, goodbye=10.0), (7.0, 10.0, 3, False)),
        (opened(0.0, 1.0, 2.0, goodbye=6.0), None),
        # A ramp that takes for ever is waited for no longer than so.
        (opened(0.0, 1.0, 60.0), (2.0 + ledger.RAMP_GRACE_S + 5.0, 2.0 + ledger.RAMP_GRACE_S + 15.0, 2, False)),
        (opened(0.0, 1.0), (6.0, 16.0, 2, False)),
        (opened(), None),
    ],
)
def test_the_window_is_where_all_chats_are_open(book, expected):
    found = ledger.window(book, 3, ramp_s=2.0, steady_s=10.0, settle_s=5.0)
    assert found == expected
