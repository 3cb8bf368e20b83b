"""How long a capacity search takes for a wanted width of its interval, and which width a given time is enough for."""

import math

from chatload.features.capacity.step import StepRules
from chatload.stats.response import trials_needed

#: Steps that find the neighbourhood of the knee after the doubling, on a server without noise.
_LOCATING = 15
#: How many times the trials are needed that would do if all were at the knee and nothing else had to be estimated. Both
#: figures are fitted to simulated searches at a spread of 0, 5 and 9 %.
_UNKNOWNS = 2.0
#: Standard deviation of the knees of single steps, as a share, for a steady and for a variable server.
STEADY, VARIABLE = 0.03, 0.08


def search_s(rules: StepRules, spread: float) -> float:
    """Return about how long a search takes (seconds) until its interval is as narrow as `rules.resolution`.

    spread: standard deviation of the knees of single steps, as a share. It is assumed that the search doubles up to the
    ceiling.
    """
    trials = _UNKNOWNS * trials_needed(rules.resolution, spread, rules.interval_confidence)
    return _overhead_s(rules) + trials * _step_s(rules)


def width_within(rules: StepRules, run_time_s: float, spread: float) -> float | None:
    """Return the width of the interval, as a share, that a search of `run_time_s` reaches; None if it is too short."""
    trials = (run_time_s - _overhead_s(rules)) / _step_s(rules)
    # The number of trials goes with the inverse square of the width.
    least = _UNKNOWNS * trials_needed(1.0, spread, rules.interval_confidence)
    return math.sqrt(least / trials) if trials >= 1 else None


def _step_s(rules: StepRules) -> float:
    return rules.hold_s + rules.between_holds_s


def _overhead_s(rules: StepRules) -> float:
    doubling = math.ceil(math.log2(max(rules.ceiling / rules.start, 1))) + 1
    return (doubling + _LOCATING) * _step_s(rules) + rules.confirming_s + rules.between_holds_s


def forecast(rules: StepRules) -> str:
    """Return one sentence for the user who starts a search."""
    steady, variable = (_minutes(search_s(rules, spread)) for spread in (STEADY, VARIABLE))
    sentence = (
        f"The search takes up to about {steady} on a steady server and {variable} on a variable one, whose capacity "
        f"varies by {100 * STEADY:g} % or {100 * VARIABLE:g} % from step to step, until the interval is "
        f"{100 * rules.resolution:g} % wide. Shorter: a wider --resolution, a shorter --step-hold or --confirm-hold, a "
        "lower --max-sessions, or a limit (-t)."
    )
    if rules.run_time_s is None:
        return sentence
    widths = [width_within(rules, rules.run_time_s, spread) for spread in (STEADY, VARIABLE)]
    if None in widths:
        return f"{sentence} --run-time {_minutes(rules.run_time_s)} is probably too short for an answer."
    narrow, wide = (f"{100 * max(width or 0.0, rules.resolution):.2g} %" for width in widths)
    return f"{sentence} Within --run-time {_minutes(rules.run_time_s)} it becomes about {narrow} or {wide} wide."


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
