"""One step of a capacity search: when it has settled, what ends it, and whose fault that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from chatload.analysis.capacity_step import Look, Rules, Step, StepRecord
from chatload.analysis.threshold_grammar import Threshold, parse
from chatload.session.books import Books
from chatload.session.histogram import Histogram

RULES = Rules(start=10, interval_s=1.0, timeout_s=4.0, hold_s=2.0, bound_s=15.0)
NO_REFUSALS = (parse("refused.count == 0"),)


class Chats:
    """The books of a run with ten chats, a look a second, and one step that looks at them."""

    def __init__(self, thresholds: Sequence[Threshold] = NO_REFUSALS, rules: Rules = RULES) -> None:
        self.now, self.cpu_s, self.open = 0.0, 0.0, 10
        self.books = Books()
        self.books.states["held"] = self.open
        self.step = Step(rules, thresholds, 10, "double", self._look())

    def _look(self) -> Look:
        return Look(self.now, self.books.copy(), {"local": self.cpu_s})

    def second(self, latency_s: float | None = 0.01, lateness_s: float = 0.0, cpu_s: float = 0.1) -> StepRecord | None:
        """A second goes by in which every chat is refreshed, or none at all."""
        self.now += 1.0
        self.cpu_s += cpu_s
        if latency_s is not None:
            self.books.latency.setdefault("GetMessages", Histogram()).extend([latency_s] * self.open)
            self.books.lateness.extend([lateness_s] * self.open)
            self.books.outcomes.setdefault("GetMessages", Counter())["0/false"] += self.open
        return self.step.look(self._look())

    def over(self, latencies: Sequence[float | None] = (), **figures: float) -> StepRecord:
        """The record, after seconds of these latencies and then of 10 ms."""
        for latency_s in [*latencies, *[0.01] * 60]:
            record = self.second(latency_s, **figures)
            if record is not None:
                return record
        raise AssertionError("the step does not end")


@pytest.mark.parametrize(
    ("latencies", "settled_after"),
    [
        ([0.100, 0.100], 2),
        ([0.100, 0.115], 2),  # within a fifth
        ([0.115, 0.100], 2),
        ([0.100, 0.130, 0.130], 3),
        ([0.004, 0.008], 2),  # within 5 ms, though it doubled
        ([0.010, 0.016, 0.016], 3),
        ([None, 0.050, 0.050], 3),  # nothing was answered in the first second
        ([0.050, None, 0.050, 0.050], 4),
        ([None, None, 0.050, 0.050], 4),
    ],
)
def test_a_load_has_settled_when_two_seconds_on_end_are_alike(
    latencies: list[float | None], settled_after: int
) -> None:
    chats = Chats()
    chats.second()  # the load is reached
    record = chats.over(latencies)
    assert (record.reached, record.settled, record.calm) == (1.0, 1.0 + settled_after, True)
    assert record.outcome == "held"


def test_what_does_not_settle_is_judged_after_the_longest_time_allowed() -> None:
    chats = Chats()
    chats.second()
    record = chats.over([0.1, 0.2] * 8)
    assert (record.settled, record.calm, record.outcome) == (16.0, False, "held")
