"""Rates per session, per chat-hour and by age are seldom judged wrongly in runs of few chat lengths.

The limits are exceeded by a correct method with a probability below 1e-4: binomial, with 5 % of 200 trials.
"""

import pytest

from simulations.exposure import CHAT_S, CONSTANT, LIMIT, RISING, RUNS, Tally, drop_rate, hazards, measure, table

TRIALS = 200
#: The 0.9999 quantile of Binomial(200, 0.05).
MOST_WRONG = 23


@pytest.fixture(scope="module")
def measured() -> dict[float, dict[str, Tally]]:
    return {lengths: measure(lengths, TRIALS, 1, CONSTANT) for lengths in (1.0, 4.0)}


@pytest.mark.parametrize("lengths", [1.0, 4.0])
@pytest.mark.parametrize("metric", ["dropped.rate", "dropped.per_chat_hour", "dropped.by_age(8m)"])
def test_claims_at_the_limit_are_seldom_wrong(
    measured: dict[float, dict[str, Tally]], lengths: float, metric: str
) -> None:
    results = measured[lengths][metric].results
    assert results[1, "pass"] <= MOST_WRONG
    assert results[1, "fail"] <= MOST_WRONG


def test_the_rate_per_session_is_too_low_and_that_per_chat_hour_is_not(
    measured: dict[float, dict[str, Tally]],
) -> None:
    for lengths, expected in ((1.0, 0.5), (4.0, 0.875)):
        session, hourly = measured[lengths]["dropped.rate"], measured[lengths]["dropped.per_chat_hour"]
        assert session.reported / session.valued == pytest.approx(expected, abs=0.05)
        assert hourly.reported / hourly.valued == pytest.approx(1.0, abs=0.08)
    # No chat was seen whole, so nothing can pass.
    assert measured[1.0]["dropped.rate"].results[0.5, "pass"] == 0


@pytest.mark.parametrize("lengths", [0.5, 4.0])
def test_a_rate_per_session_is_seldom_wrong_if_lengths_vary(lengths: float) -> None:
    results = measure(lengths, TRIALS, 1, CONSTANT, varied=True)["dropped.rate"].results
    assert results[1, "pass"] <= MOST_WRONG
    assert results[1, "fail"] <= MOST_WRONG
    assert (results[0.5, "pass"] > 0) == (lengths > 1)


def test_the_rate_of_drops_at_the_limit() -> None:
    # By hand: constant hazards h and m of drop and end give h / (h + m).
    hourly = hazards(1, CONSTANT)[0]
    assert drop_rate(CONSTANT, varied=True) == pytest.approx(hourly / (hourly + 1 / CHAT_S))
    assert drop_rate(RISING, varied=False) == LIMIT


def test_a_hazard_of_twice_the_limit_is_found(measured: dict[float, dict[str, Tally]]) -> None:
    assert measured[4.0]["dropped.per_chat_hour"].results[2, "fail"] > TRIALS * 0.9
    assert measured[4.0]["dropped.by_age(8m)"].results[2, "fail"] > TRIALS * 0.8


def test_only_the_rate_by_age_allows_for_a_rising_hazard() -> None:
    assert measure(4.0, TRIALS, 1, RISING, multiples=(1,))["dropped.by_age(8m)"].results[1, "pass"] <= MOST_WRONG
    assert measure(1.0, TRIALS, 1, RISING, multiples=(1,))["dropped.per_chat_hour"].results[1, "pass"] > MOST_WRONG


def test_the_table_has_a_row_for_each_run_and_metric() -> None:
    made = table(2, 1)
    assert len(made.rows) == 2 * len(RUNS) * (3 + 1)
    assert all(len(row) == len(made.header) for row in made.rows)
