"""When a run is hopeless: a test of a threshold that may be looked at any number of times.

Method: the one-sided mixture likelihood ratio. After k hits in n samples, with a prior uniform on (L, 1],

    M = [ integral from L to 1 of p^k (1-p)^(n-k) dp / (1-L) ] / [ L^k (1-L)^(n-k) ]

is a nonnegative supermartingale, starting at 1, for every true rate p <= L: for each q > L the factor of one
more sample has the mean p q/L + (1-p)(1-q)/(1-L), which is 1 at p = L and grows with p. So by Ville's
inequality (J. Ville, "Étude critique de la notion de collectif", 1939) M *ever* reaches 1/alpha with a
probability of at most alpha. The mixture is H. Robbins' ("Statistical methods related to the law of the
iterated logarithm", Annals of Mathematical Statistics 41, 1970); see S. R. Howard, A. Ramdas, J. McAuliffe
and J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021).

Sessions come in the order they *began*, those still alive counted as if they will meet the threshold: of the
sessions that have ended early in a run most are those dropped, and a share of them would accuse every run. M
grows with k, so that this only makes it smaller. As everywhere, sessions are taken to be independent.
"""

from __future__ import annotations

import math

from scipy.special import betaincc, betaln

from chatload.run.histogram import Reading
from chatload.thresholds.grammar import Threshold
from chatload.thresholds.judgement import COMPARE, extreme, percent, question
from chatload.thresholds.metrics import OF_ALL, Facts

#: Of the runs that meet a threshold at most this share is given up, however often one looks.
ALPHA = 0.05


def log_evidence(k: int, n: int, limit: float) -> float:
    """The natural logarithm of M: the evidence of k hits in n samples that a rate is above 0 < limit < 1."""
    if not 0 <= k <= n or not 0 < limit < 1:
        raise ValueError(f"{k} of {n} against {limit}")
    above = float(betaincc(k + 1, n - k + 1, limit))
    if above <= 0:
        # It underflows only where hits are so few that all speaks for the threshold.
        return -math.inf
    mixture = float(betaln(k + 1, n - k + 1)) + math.log(above) - math.log1p(-limit)
    return mixture - k * math.log(limit) - (n - k) * math.log1p(-limit)


def hopeless(threshold: Threshold, facts: Facts, alpha: float = ALPHA) -> str | None:
    """Why a threshold (of `parse_abort`) can no longer be believed to hold; None while it may.

    A rate or percentile that holds is given up with a probability of at most alpha in the whole run. Only
    what is proven counts against it. A count or an extreme is lost once it is exceeded.
    """
    metric = threshold.metric
    if metric.subject == "margin" and facts.timeout_s is None:
        return None
    if metric.kind == "count" or (metric.kind == "duration" and metric.q is None):
        return _exceeded(threshold, facts)
    against, n, limit = _against(threshold, facts)
    if not 0 < limit < 1 or log_evidence(against, n, limit) < -math.log(alpha):
        return None
    noun = {"session": "sessions begun", "refresh": "refreshes"}.get(metric.noun, "requests")
    return (
        f"{threshold} is lost: {against} of {n} {noun} speak against it; where it holds, so many ever do "
        f"in at most {percent(alpha)} of runs"
    )


def _exceeded(threshold: Threshold, facts: Facts) -> str | None:
    """Counts only grow, maxima only rise, minima only fall: what is exceeded stays so."""
    metric = threshold.metric
    reading = extreme(metric, facts) if metric.kind == "duration" else Reading(metric.share(facts).counted)
    # A count below what it must equal may still get there. What is only a bound is beyond it, so exceeded too.
    op = "<=" if threshold.op == "==" else threshold.op
    if reading is None or COMPARE[op](value := reading.seconds, threshold.limit):
        return None
    seen = f"{value:g}" if metric.kind == "count" else f"{value:.4g} s"
    return f"{threshold} is lost: {metric.name} is {seen}"


def _against(threshold: Threshold, facts: Facts) -> tuple[int, int, float]:
    """Samples that speak against a threshold, of how many, and the share of them it allows."""
    share, limit, wants_low = question(threshold, facts)
    n = share.n
    if threshold.metric.of_sessions:
        fates = facts.books.fates
        # Sessions that have not ended count as if they will meet the threshold; of what is a share of the accepted,
        # those that were never accepted are none of it.
        apart = 0 if threshold.metric.subject in OF_ALL else fates.never_accepted.most
        n = max(n, facts.books.started - apart)
    return (share.least, n, limit) if wants_low else (max(share.n - share.most, 0), n, 1 - limit)
