"""How many independent samples a series of dependent ones is worth.

The requests of one bad minute are slow together, so 100 000 of them say less about a share than 100 000 independent
ones. Given are the hits and the samples of consecutive windows of time. The variance of the number of hits is estimated
from the slow part of its variation: its NU longest cosine waves over the run (S. K. Lazarus, E. Lewis, J. H. Stock and
M. W. Watson, "HAR Inference: Recommendations for Practice", Journal of Business & Economic Statistics 36, 2018: the
equal-weighted cosine estimator). With e_i the hits of window i minus their expected number, at the time t_i (a part of
the run), it is the mean of NU squares:

    S_j = sqrt(2) * sum of e_i cos(pi j t_i),    variance = (S_1^2 + ... + S_NU^2) / NU

Dependence that lasts less than about the length of the run / NU is seen, however it looks, and no length of blocks has
to be chosen. The design effect is this variance by that of independent samples.

An estimate from NU squares is itself uncertain, the more so if the hits came in few incidents. Their number is about
that of the hits by the design effect. So the design effect is multiplied by the squared ratio of Student's quantile and
the normal one, with as many degrees of freedom as there are incidents, from 1 to NU. It is not multiplied if the
samples vary as little as independent ones.

Exact binomial bounds are then computed from the samples by the design effect, as E. L. Korn and B. I. Graubard do for
clustered surveys ("Confidence intervals for proportions with small expected number of positive counts estimated from
survey data", Survey Methodology 24, 1998).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

#: The number of cosine waves, and of the windows that they need at least.
NU, LEAST_WINDOWS = 10, 30
#: Student's quantile is compared with the normal one at this confidence or above: near 50 % both are 0.
_LEAST_CONFIDENCE = 0.9

_Array = NDArray[np.float64]


def design_effect(times: _Array, hits: _Array, samples: _Array, confidence: float) -> float | None:
    """Return how many dependent samples are worth one independent sample, at least 1.

    Args:
        times: the middle of each window, in any unit, in order of time.
        hits, samples: of each window.
        confidence: of the one-sided bounds that are computed with it, between 0 and 1.

    Returns:
        None if there are fewer than LEAST_WINDOWS windows: then it is not known. 1 if there are no hits, or nothing
        else, because such windows show no dependence.
    """
    if len(times) < LEAST_WINDOWS:
        return None
    count = float(samples.sum())
    share = float(hits.sum()) / count if count else 0.0
    if not 0 < share < 1:
        return 1.0
    # Each window is one step of the waves' time, from 0 to 1; its length does not matter for the variance of a sum.
    first, last = float(times[0]), float(times[-1])
    parts = (times - first) / (last - first)
    waves = np.cos(np.pi * np.outer(np.arange(1, NU + 1), parts))
    sums = np.sqrt(2) * (waves @ (hits - share * samples))
    effect = float(np.mean(sums**2)) / (count * share * (1 - share))
    if effect <= 1:
        return 1.0
    incidents = count * min(share, 1 - share) / effect
    confidence = max(confidence, _LEAST_CONFIDENCE)
    student = float(stdtrit(min(max(incidents, 1.0), NU), confidence))
    return effect * (student / float(ndtri(confidence))) ** 2
