"""What the steps of a capacity search say together: an interval, a curve, and a bound on drops."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chatload.features.capacity.step import DropExposure, StepRecord
from chatload.stats import rates
from chatload.stats.response import ResponseCurve

#: Points of the curve, and how far below and above the interval it goes.
_POINTS, _BELOW, _ABOVE = 25, 0.7, 1.3


@dataclass(frozen=True)
class Certificate:
    """The capacity of a server.

    lower, upper: sessions. The capacity lies between them with `confidence` (each end has half of the rest): the load
    at which half of the steps that nothing disturbed are held; equal for a limit that refuses chats. curve: sessions,
    and the chance that a step is held. lapses: the share of steps that are not held however low the load, as estimated.
    drops, chat_hours: of the steps between lower and upper, since one timeout after the load was reached.
    drops_per_chat_hour_upper: their exact upper bound (Garwood), one-sided; None without such chat-hours.
    requests_per_s: successful requests while `lower` was confirmed.
    """

    lower: int
    upper: int
    confidence: float
    curve: tuple[tuple[int, float], ...]
    lapses: float
    drops: int
    drops_proven: int
    chat_hours: float
    drops_per_chat_hour_upper: float | None
    requests_per_s: float | None


def certify_limit(steps: Sequence[StepRecord], confirmed: StepRecord, confidence: float) -> Certificate:
    """Return the certificate of a limit: the confirmed load, which was held, and one more, which was refused.

    confidence: one-sided, of the bound on drops.
    """
    curve = []
    for load in (confirmed.load, confirmed.load + 1):
        tried = [step.is_held for step in steps if step.load == load and step.is_trial]
        curve.append((load, round(sum(tried) / len(tried), 4)))
    return _certificate(steps, confirmed, confirmed.load, curve, 0.0, confidence)


def certify_knee(
    steps: Sequence[StepRecord], confirmed: StepRecord, curve: ResponseCurve, confidence: float
) -> Certificate:
    """Return the certificate of a knee.

    curve: of all steps. confidence: one-sided, of each end and of the bound on drops.
    """
    low, high = curve.interval(2 * confidence - 1)
    # The confirmed load is the lower end of the interval before its own step, which may have moved the end up.
    upper = math.ceil(high)
    loads = sorted({round(load) for load in np.geomspace(_BELOW * low, _ABOVE * high, _POINTS).tolist()} - {0})
    chances = [round(chance, 4) for chance in curve.chances(loads)]
    points = list(zip(loads, chances, strict=True))
    return _certificate(steps, confirmed, upper, points, round(curve.lapse, 4), confidence)


def _certificate(
    steps: Sequence[StepRecord], confirmed: StepRecord, upper: int, curve: list[tuple[int, float]], lapses: float,
    confidence: float,
) -> Certificate:  # fmt: skip
    lower = confirmed.load
    proven = sum(
        (step.proven for step in steps if step.outcome != "spoilt" and lower <= step.load <= upper), DropExposure()
    )
    bound, rate = proven.bounds(confidence)[1], confirmed.requests_per_s
    return Certificate(
        lower=lower,
        upper=upper,
        confidence=round(2 * confidence - 1, 9),
        curve=tuple(curve),
        lapses=lapses,
        drops=proven.drops,
        drops_proven=proven.surely,
        chat_hours=round(proven.chat_hours, 4),
        drops_per_chat_hour_upper=round(bound, 4) if math.isfinite(bound) else None,
        requests_per_s=None if rate is None else round(rate, 3),
    )


def hold_to_show(limit: float, load: int, timeout_s: float, confidence: float) -> float:
    """Return how long a load must be held (seconds) to show that fewer drops come than a limit, if none comes.

    Args:
        limit: drops per chat-hour, above 0.
        load: sessions, at least 1.
        timeout_s: a drop shows only after this time, so it does not count.
        confidence: one-sided.
    """
    return timeout_s + 3600 * rates.per_unit_upper(0, 1.0, confidence) / (limit * load)


def drops_depend_on_load(steps: Sequence[StepRecord], knee: int, confidence: float) -> bool:
    """Return whether drops explain a knee, where they are what broke above it; True where something else did.

    If chats are dropped at the same rate per chat-hour at every load, a search for "no drop" ends at the load at which
    the first one happens to come, and finds a knee that the server does not have. So the rate above `knee` (sessions)
    must be proven higher than the rate at or below it. Given their sum, the drops above are binomial, with the share of
    the chat-hours above if the rates are equal (J. Przyborowski and H. Wilenski, "Homogeneity of results in testing
    samples from Poisson series", Biometrika 31 (1940)).
    """
    failed = [step for step in steps if step.outcome == "not held" and step.load > knee]
    causes = [step.trouble.metric for step in failed if step.trouble is not None]
    by_drops = [metric for metric in causes if metric.startswith(("dropped", "blame"))]
    if 2 * len(by_drops) <= len(causes):
        return True
    tried = [step for step in steps if step.is_trial]
    above = sum((step.exposure for step in tried if step.load > knee), DropExposure())
    below = sum((step.exposure for step in tried if step.load <= knee), DropExposure())
    hours, drops = above.chat_hours + below.chat_hours, above.drops + below.drops
    return hours > 0 and rates.lower(above.drops, drops, confidence) > above.chat_hours / hours
