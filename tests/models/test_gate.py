"""The gate: what it lets pass, what it keeps, and how seldom noise gets through."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from models.gate import Decision, WalkForward, judge
from models.metrics import diebold_mariano

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


def test_scores_that_are_no_numbers_are_kept_back():
    baseline, challenger = losses(edge=0.03)
    kept = Decision(False, "its walk-forward scores are not all finite numbers", {"origins": 365})
    for broken in (np.nan, np.inf, -np.inf):
        challenger[100, 1] = broken
        assert judge(walk(challenger), walk(baseline), None) == kept


def test_sixty_origins_at_every_step_are_enough():
    baseline, challenger = losses(60, edge=0.5)
    assert judge(walk(challenger), walk(baseline), None).promote
    few = walk(challenger)
    few = replace(few, crps={**few.crps, 7: few.crps[7][:59]})
    assert judge(few, walk(baseline), None) == Decision(
        False, "59 walk-forward origins are too few to judge by, 60 are needed", {"origins": 59}
    )
    nothing = WalkForward({}, {}, {})
    assert judge(nothing, nothing, None).evidence == {"origins": 0}


def differing(chances, n=365, seed=0):
    """Losses of two models whose differences have exactly these one-sided p-values, step by step, of being worse.

    The test's standard error does not depend on the mean difference, so the mean can be chosen.
    """
    rng = np.random.default_rng(seed)
    common, noise = 1.0 + rng.random((n, 3)), 0.01 * rng.standard_normal((n, 3))
    for i, (step, chance) in enumerate(zip(STEPS, chances, strict=True)):
        test = diebold_mariano(noise[:, i], np.zeros(n), step=step)
        noise[:, i] += t.isf(chance, n - 1) * test.standard_error - test.mean_difference
    return common, common + noise


def test_the_level_for_being_worse_is_shared_among_all_steps_and_opponents():
    # 5 % among 3 steps are 1.67 %, among 3 steps and two opponents half of it.
    def problems(chance, *, incumbent):
        baseline, challenger = differing([0.5, chance, 0.5])
        other = walk(baseline) if incumbent else None
        return judge(walk(challenger), walk(baseline), other, renews=True).reason

    assert "step 3 is" in problems(0.0166, incumbent=False)
    assert "no step is worse" in problems(0.0167, incumbent=False)
    assert "step 3 is" in problems(0.0083, incumbent=True)
    assert "no step is worse" in problems(0.0084, incumbent=True)


def test_what_is_worse_is_told_by_step_and_opponent_and_nothing_else_is():
    baseline, challenger = differing([0.001, 0.5, 0.5])
    by = challenger[:, 0].mean() / baseline[:, 0].mean() - 1
    decision = judge(walk(challenger), walk(baseline), walk(baseline))
    worse = [f"step 1 is {by:.2%} worse than the {name} (p = 0.0010)" for name in ("baseline", "incumbent")]
    assert (decision.promote, decision.reason) == (False, "; ".join(worse))
    assert decision.evidence["skill_vs_baseline_step1"] == round(-by, 5)
    assert decision.evidence["p_vs_incumbent_step1"] == pytest.approx(0.002, abs=1e-5)


def test_a_challenger_needs_one_step_that_is_better_beyond_a_chance_in_two_thousand():
    def chosen(*better):
        baseline, challenger = differing([1 - chance for chance in better])
        return judge(walk(challenger), walk(baseline), None)

    assert chosen(0.5, 0.00049, 0.5).promote
    kept = chosen(0.4, 0.9, 0.00051)
    assert kept.reason == "no step is better than the baseline beyond chance (the best is step 7, p = 0.0005)"
    assert (kept.evidence["best_step"], kept.evidence["p_best_step"]) == (7, 0.00051)
    # Worse everywhere, but not beyond noise: the chance of the best step is above one half.
    assert chosen(0.8, 2 / 3, 0.9).evidence["p_best_step"] == 0.666667


def test_the_evidence_is_every_figure_the_verdict_rests_on():
    baseline, challenger = differing([0.9999, 0.6, 1 / 3])
    decision = judge(walk(challenger), walk(baseline), walk(baseline))
    gain = {step: 1 - challenger[:, i].mean() / baseline[:, i].mean() for i, step in enumerate(STEPS)}
    assert decision.promote
    assert decision.reason == (
        f"no step is worse beyond noise; CRPS against the baseline: step 1 {gain[1]:+.2%}, step 7 {gain[7]:+.2%}"
    )
    expected = {"origins": 365, "best_step": 1, "p_best_step": pytest.approx(0.0001, abs=1e-6)}
    for step, chance in zip(STEPS, (0.0002, 0.8, 2 / 3), strict=True):
        for name in ("baseline", "incumbent"):
            expected[f"skill_vs_{name}_step{step}"] = round(gain[step], 5)
            expected[f"p_vs_{name}_step{step}"] = pytest.approx(chance, abs=1e-5)
        expected[f"coverage80_step{step}"], expected[f"coverage95_step{step}"] = 0.8, round(347 / 365, 4)
    assert decision.evidence == expected
    # Rounded, for people.
    assert decision.evidence["p_vs_baseline_step7"] == 0.66667


@pytest.mark.parametrize(
    ("name", "step", "least", "most"),
    # .8 and .95, give or take .05 and three standard errors of 365 / step independent truths.
    [("80", 1, 251, 333), ("80", 3, 235, 349), ("80", 7, 214, 365), ("95", 1, 317, 365), ("95", 7, 296, 365)],
)
def test_bands_may_be_off_by_five_percent_and_three_standard_errors(name, step, least, most):
    baseline, challenger = differing([0.9999, 0.5, 0.5])

    def reason(hits):
        judged = walk(challenger)
        covered = {**getattr(judged, f"covered{name}"), step: np.arange(365) < hits}
        return judge(replace(judged, **{f"covered{name}": covered}), walk(baseline), None).reason

    assert "no step is worse" in reason(least)
    assert reason(least - 1) == f"the {name} % band of step {step} covered {(least - 1) / 365:.0%}"
    assert "no step is worse" in reason(most)
    if most < 365:
        assert reason(most + 1) == f"the {name} % band of step {step} covered {(most + 1) / 365:.0%}"


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
