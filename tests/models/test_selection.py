"""The gate: what it lets pass, what it keeps, and how seldom noise gets through."""

import numpy as np
import pytest

from models.selection import MIN_ORIGINS, WalkForward, judge

STEPS = (1, 3, 7)


def walk(crps, *, covered80=0.8, covered95=0.95, seed=0):
    """A walk-forward with these losses, (n, 3), and bands that cover as told."""
    rng = np.random.default_rng(seed)
    n = len(crps)

    def hits(share):
        # Exactly the share, in random order: coverage itself is not what most tests are about.
        return {step: rng.permutation(np.arange(n) < round(share * n)) for step in STEPS}

    return WalkForward({step: crps[:, i] for i, step in enumerate(STEPS)}, hits(covered80), hits(covered95))


def losses(n=365, *, seed=0, edge=0.0, noise=0.04, persistence=True):
    """Losses of two models on the same days: they rise and fall together, and differ by noise and an edge."""
    rng = np.random.default_rng(seed)
    common = rng.gamma(1.5, 0.01, (n, 3))
    difference = rng.standard_normal((n + 6, 3))
    if persistence:
        # Steps overlap: the difference at step h is a moving sum.
        difference = np.stack([np.convolve(difference[:, i], np.ones(h) / h**0.5)[:n] for i, h in enumerate(STEPS)], 1)
    else:
        difference = difference[:n]
    return common, common * (1 - edge) + noise * 0.015 * difference


def test_a_better_challenger_passes_with_its_evidence():
    baseline, challenger = losses(edge=0.03)
    decision = judge(walk(challenger), walk(baseline), None)
    assert decision.promote
    assert decision.evidence["origins"] == 365
    assert decision.evidence["skill_vs_baseline_step1"] > 0.02
    assert "no step is worse" in decision.reason
    assert decision.evidence["p_best_step"] < 0.001


def test_a_worse_one_is_kept_and_told_where():
    baseline, challenger = losses(edge=-0.05)
    decision = judge(walk(challenger), walk(baseline), None)
    assert not decision.promote
    assert "worse than the baseline" in decision.reason


def test_one_that_beats_the_baseline_but_not_the_incumbent_is_kept():
    baseline, challenger = losses(edge=0.03)
    incumbent = baseline * 0.9
    decision = judge(walk(challenger), walk(baseline), walk(incumbent))
    assert not decision.promote
    assert "worse than the incumbent" in decision.reason


@pytest.mark.parametrize("share", [{"covered80": 0.65}, {"covered80": 0.95}, {"covered95": 0.8}])
def test_bands_that_cover_something_else_are_kept_back(share):
    baseline, challenger = losses(edge=0.03)
    decision = judge(walk(challenger, **share), walk(baseline), None)
    assert not decision.promote
    assert "band of step" in decision.reason


def test_scores_that_are_no_numbers_and_short_walks_are_kept_back():
    baseline, challenger = losses(edge=0.03)
    challenger[100, 1] = np.nan
    assert "not all finite" in judge(walk(challenger), walk(baseline), None).reason
    baseline, challenger = losses(MIN_ORIGINS - 1, edge=0.5)
    assert "too few" in judge(walk(challenger), walk(baseline), None).reason


def test_one_that_is_as_good_as_what_serves_does_not_take_over_and_a_renewal_does():
    baseline, challenger = losses(seed=3)
    decision = judge(walk(challenger), walk(baseline), None)
    assert not decision.promote
    assert "better than the baseline beyond chance" in decision.reason
    assert judge(walk(challenger), walk(baseline), None, renews=True).promote
    incumbent = baseline * 0.95
    assert "better than the incumbent" in judge(walk(incumbent), walk(baseline), walk(incumbent)).reason


def test_pure_noise_takes_over_in_no_more_than_one_year_of_twenty():
    """Gates on every fifth day of 150 simulated years, on the last 365 days each."""
    years = 0
    for seed in range(150):
        baseline, challenger = losses(730, seed=seed)
        years += any(
            judge(walk(challenger[day - 365 : day]), walk(baseline[day - 365 : day]), None).promote
            for day in range(365, 730, 5)
        )
    assert years / 150 <= 0.05


def test_a_renewal_is_seldom_called_worse_by_noise_and_a_real_loss_is_seldom_missed():
    """The gate's level is 5 % for all its tests together, and 400 simulated years bear it out."""
    same = (losses(seed=seed) for seed in range(400))
    kept = np.array([not judge(walk(c), walk(b), None, renews=True).promote for b, c in same])
    assert kept.mean() < 0.10
    worse = (losses(seed=seed, edge=-0.04) for seed in range(100))
    missed = np.array([judge(walk(c), walk(b), None, renews=True).promote for b, c in worse])
    assert missed.mean() < 0.05
