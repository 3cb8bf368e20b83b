"""How many independent samples dependent ones are worth: by hand, and for processes whose answer is known."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest
from scipy.stats import norm, t

from chatload.stats.effective_size import LEAST_WINDOWS, NU, design_effect


def student(degrees=NU, confidence=0.95):
    """What the uncertainty of the estimate costs."""
    return (t.ppf(confidence, degrees) / norm.ppf(confidence)) ** 2


def effect(hits, samples, confidence=0.95):
    return design_effect(np.arange(len(hits), dtype=float), np.array(hits, float), np.array(samples, float), confidence)


def test_by_hand_all_hits_in_the_first_of_forty_windows():
    # 100 hits of 40 * 100 samples: p = 0.025, and the expected hits of a window are 2.5. At the ends of the run the
    # cosines are 1 or -1, so S_j = sqrt(2) (100 - 2.5 * sum of cos(pi j i / 39)), whose sum over i is 0 (j odd) or 1.
    sums = [sqrt(2) * (100 - 2.5 * (1 if j % 2 == 0 else 0)) for j in range(1, NU + 1)]
    variance = sum(s**2 for s in sums) / NU
    effect_of = variance / (4000 * 0.025 * 0.975)
    # About half an incident, and so one degree of freedom.
    found = effect([100] + [0] * 39, [100] * 40)
    assert found == pytest.approx(student(1) * effect_of)
    # 4000 samples are worth fewer than 20 independent ones.
    assert effect_of > 4000 / 20


def test_samples_that_vary_less_than_independent_ones_are_worth_no_more():
    assert effect([1] * 100, [100] * 100) == 1


def test_no_hits_and_nothing_else_show_no_dependence():
    assert effect([0] * 50, [10] * 50) == effect([10] * 50, [10] * 50) == 1


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_the_uncertainty_of_the_estimate_is_students(confidence):
    # 620 hits by their design effect of 47 are about 13 incidents.
    hits = ([30] * 4 + [1] * 4) * 5
    ratio = effect(hits, [100] * 40, confidence) / effect(hits, [100] * 40, 0.95)
    assert ratio == pytest.approx(student(NU, confidence) / student(NU))


def test_too_few_windows_are_no_ground():
    assert effect([1] * (LEAST_WINDOWS - 1), [10] * (LEAST_WINDOWS - 1)) is None
    assert effect([1] * LEAST_WINDOWS, [10] * LEAST_WINDOWS) is not None


@pytest.mark.parametrize("tau_s", [0, 1, 20, 60])
def test_it_finds_the_design_effect_of_a_known_process(tau_s):
    # The share of each second follows an AR(1) process: its long-run variance by that of one second is
    # (1 + r) / (1 - r) with r the correlation of neighbours.
    random, seconds, each = np.random.default_rng(1), 20_000, 100
    stays = exp(-1 / tau_s) if tau_s else 0.0
    level = random.standard_normal((seconds, 40))
    for i in range(1, seconds):
        level[i] = stays * level[i - 1] + sqrt(1 - stays**2) * level[i]
    hits = random.binomial(each, np.clip(0.3 + 0.03 * level, 0, 1))
    found = [effect(run, [each] * seconds) for run in hits.T]
    found = [one / student() if one > 1 else one for one in found]
    within = 0.3 * 0.7 / each
    true = (within + 0.03**2 * (1 + stays) / (1 - stays)) / within
    assert np.mean(found) == pytest.approx(true, rel=0.2)


def test_windows_of_ten_seconds_count_as_the_seconds_in_them():
    random = np.random.default_rng(2)
    hits = np.repeat(random.binomial(100, 0.05, 360), 10).astype(float)  # the same for ten seconds
    fine = design_effect(np.arange(3600) + 0.5, hits, np.full(3600, 100.0), 0.95)
    coarse = design_effect(np.arange(360) * 10 + 5.0, 10 * hits[::10], np.full(360, 1000.0), 0.95)
    assert fine == pytest.approx(coarse, rel=0.02)
