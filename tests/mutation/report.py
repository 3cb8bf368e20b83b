"""What a measurement came to, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chatload.stats.rates import interval
from tests.mutation.draw import Mutant
from tests.mutation.reasons import Reason
from tests.mutation.server import Result


@dataclass(frozen=True)
class Outcome:
    """A mutant and what the tests said. number: in the order of drawing, from 1."""

    number: int
    mutant: Mutant
    result: Result
    reason: Reason | None

    @property
    def word(self) -> str:
        """noticed, timed out (which is noticed), equivalent, or NOT NOTICED."""
        if self.result.timed_out:
            return "timed out"
        if self.result.failed:
            return "noticed"
        return "equivalent" if self.reason is not None and self.reason.equivalent else "NOT NOTICED"


@dataclass(frozen=True)
class Measurement:
    """command: what repeats it. revision: of the tree. sites: places that could have been changed. left_out: test files
    that could not be used, with the reason."""

    command: str
    revision: str
    sites: int
    modules: int
    outcomes: Sequence[Outcome]
    left_out: Sequence[str]


def share(outcomes: Sequence[Outcome]) -> str:
    """The share noticed of those that change behaviour, with its interval."""
    words = Counter(outcome.word for outcome in outcomes)
    noticed, known = words["noticed"] + words["timed out"], len(outcomes) - words["equivalent"]
    if not known:
        return "no mutant changes behaviour"
    low, high = interval(noticed, known)
    return f"{noticed} of {known} noticed: {noticed / known:.1%} (95 % interval {low:.1%} to {high:.1%})"


def text(measurement: Measurement) -> str:
    """The whole report."""
    return "\n".join(_lines(measurement)) + "\n"


def _lines(measurement: Measurement) -> Iterator[str]:
    outcomes = measurement.outcomes
    words = Counter(outcome.word for outcome in outcomes)
    yield f"{measurement.command}   at {measurement.revision}"
    yield f"{len(outcomes)} mutants, drawn from {measurement.sites} places in {measurement.modules} modules"
    yield ", ".join(f"{words[word]} {word}" for word in ("noticed", "timed out", "equivalent", "NOT NOTICED"))
    yield f"Of those that change behaviour: {share(outcomes)}."
    yield "Noticed: a test failed, or the tests did not end in time. Equivalent: looked at by hand, nobody can see it."
    yield from (f"Left out: {each}." for each in measurement.left_out)
    yield ""
    yield from _by_module(outcomes)
    for title, chosen in (("Not noticed", ("NOT NOTICED",)), ("Equivalent", ("equivalent",))):
        yield from _section(title, [outcome for outcome in outcomes if outcome.word in chosen])
    yield from _section("Noticed", [outcome for outcome in outcomes if outcome.result.failed])


def _by_module(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"{'module':44} drawn noticed equivalent not noticed"
    for path in sorted({outcome.mutant.path for outcome in outcomes}):
        words = Counter(outcome.word for outcome in outcomes if outcome.mutant.path == path)
        noticed = words["noticed"] + words["timed out"]
        yield f"{path:44} {words.total():5} {noticed:7} {words['equivalent']:10} {words['NOT NOTICED']:11}"


def _section(title: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield from ("", f"== {title}: {len(outcomes)}")
    for outcome in outcomes:
        mutant, result = outcome.mutant, outcome.result
        seen = f"{outcome.word} by {result.failed}" if result.failed else f"{len(result.cpu_s)} test files pass"
        yield from ("", f"{outcome.number}. {mutant.path}:{mutant.line}  {mutant.operator}  ({seen})")
        yield from (f"  - {line}" for line in mutant.before.split("\n"))
        yield from (f"  + {line}" for line in mutant.after.split("\n"))
        if outcome.reason is not None:
            yield f"  reason: {outcome.reason.reason}"
        elif outcome.word == "NOT NOTICED":
            yield "  reason: not looked at yet"
