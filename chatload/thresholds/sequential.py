"""When a run is hopeless: a test of a threshold that may be repeated any number of times during the run.

Method: the one-sided mixture likelihood ratio. After k hits in n samples, with a prior uniform on (L, 1],

    M = [ integral from L to 1 of p^k (1-p)^(n-k) dp / (1-L) ] / [ L^k (1-L)^(n-k) ]

is a nonnegative supermartingale, starting at 1, for every true rate p <= L: for each q > L the factor of one
more sample has the mean p q/L + (1-p)(1-q)/(1-L), which is 1 at p = L and grows with p. So by Ville's
inequality (J. Ville, "Étude critique de la notion de collectif", 1939) M *ever* reaches 1/alpha with a
probability of at most alpha. The mixture is H. Robbins' ("Statistical methods related to the law of the
iterated logarithm", Annals of Mathematical Statistics 41, 1970); see S. R. Howard, A. Ramdas, J. McAuliffe
and J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021).

Sessions are counted in the order in which they *began*, and those still alive count as if they will meet the threshold.
If only ended sessions were counted, every run would look bad early on, because dropped sessions end first. M grows with
k, so this choice only makes it smaller. Sessions are assumed to be independent.
"""

from __future__ import annotations

import math

from scipy.special import betaincc, betaln

from chatload.run.histogram import Reading
from chatload.thresholds.grammar import Threshold
from chatload.thresholds.judgement import COMPARE, extreme, percent, question
from chatload.thresholds.metrics import OF_ALL, Facts

#: At most this share of the runs that meet a threshold is aborted, however often it is tested.
ALPHA = 0.05


def log_evidence(k: int, n: int, limit: float) -> float:
    """Return the natural logarithm of M: the evidence of k hits in n samples that a rate is above 0 < limit < 1."""
    if not 0 <= k <= n or not 0 < limit < 1:
        raise ValueError(f"{k} of {n} against {limit}")
    above = float(betaincc(k + 1, n - k + 1, limit))
    if above <= 0:
        # It underflows only if there are so few hits that the evidence is for the threshold.
        return -math.inf
    mixture = float(betaln(k + 1, n - k + 1)) + math.log(above) - math.log1p(-limit)
    return mixture - k * math.log(limit) - (n - k) * math.log1p(-limit)


def hopeless(threshold: Threshold, facts: Facts, alpha: float = ALPHA) -> str | None:
    """Return why a threshold (of `parse_abort`) is lost; None while it may still hold.

    If a rate or percentile holds, it is called lost with a probability of at most alpha in the whole run. Only proven
    samples count against it. A count or an extreme is lost once it is exceeded.
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
        f"{threshold} is lost: {against} of {n} {noun} speak against it; if it holds, this many do so "
        f"in at most {percent(alpha)} of runs"
    )


def _exceeded(threshold: Threshold, facts: Facts) -> str | None:
    """Return why a count or an extreme is lost. Counts and maxima only rise, minima only fall: this is final."""
    metric = threshold.metric
    reading = extreme(metric, facts) if metric.kind == "duration" else Reading(metric.share(facts).counted)
    # A count that is still below the value for == may reach it. If only a bound is known and it exceeds the limit, the
    # true value does too.
    op = "<=" if threshold.op == "==" else threshold.op
    if reading is None or COMPARE[op](value := reading.seconds, threshold.limit):
        return None
    seen = f"{value:g}" if metric.kind == "count" else f"{value:.4g} s"
    return f"{threshold} is lost: {metric.name} is {seen}"


def _against(threshold: Threshold, facts: Facts) -> tuple[int, int, float]:
    """Return the number of samples against a threshold, the number of all samples, and the share that it allows."""
    share, limit, wants_low = question(threshold, facts)
    n = share.n
    if threshold.metric.of_sessions:
        fates = facts.books.fates
        # Sessions that have not ended count as if they will meet the threshold. Sessions that were never accepted are
        # left out of shares of the accepted ones.
        apart = 0 if threshold.metric.subject in OF_ALL else fates.never_accepted.most
        n = max(n, facts.books.started - apart)
    return (share.least, n, limit) if wants_low else (max(share.n - share.most, 0), n, 1 - limit)
