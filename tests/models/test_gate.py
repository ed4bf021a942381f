"""The gate and the watch: which challengers pass, which champions are demoted, and how rarely noise decides."""

from dataclasses import replace

import numpy as np
import pytest

from models.evidence import dispersion, distances, episode_value, likelihood_ratios
from models.forecasts import QUANTILE_LEVELS
from models.gate import (
    ALPHA,
    EPISODE_SHARE,
    RECENT,
    Decision,
    Verdict,
    WalkForward,
    better,
    gains_over,
    judge,
    relapse,
    watch,
)
from models.metrics import crps, pit

STEPS = (1, 3, 7)
SHAPE = np.array([-2.33, -1.96, -1.645, -1.28, -1.036, -0.842, -0.674, -0.524, -0.385, -0.253, -0.126, 0.0])
SHAPE = np.concatenate([SHAPE, -SHAPE[-2::-1]])
assert len(SHAPE) == len(QUANTILE_LEVELS)


def market(n=365, *, seed=0):
    """Log returns from each origin over each of STEPS, (n, 3), which overlap, and the volatility of each day."""
    rng = np.random.default_rng(seed)
    volatility = 0.02 * np.exp(0.5 * np.sin(np.arange(n + 7) / 25))
    returns = volatility * rng.standard_t(5, n + 7) / (5 / 3) ** 0.5
    closes = np.stack([[returns[day : day + step].sum() for day in range(n)] for step in STEPS], axis=1)
    return closes, volatility[:n]


def walk(closes, sigma, *, covered80=0.8, covered95=0.95, first=20_000):
    """A walk-forward of normal forecasts with these volatilities, and bands that cover the given shares."""
    n = len(closes)
    rng = np.random.default_rng(0)

    def hits(share):
        # Exactly the share, in random order, because most tests are not about coverage.
        return {step: rng.permutation(np.arange(n) < round(share * n)) for step in STEPS}

    quantiles = {step: sigma[:, None] * step**0.5 * SHAPE for step in STEPS}
    slots = np.arange(first, first + n)
    return WalkForward(
        crps={step: crps(closes[:, i], quantiles[step]) for i, step in enumerate(STEPS)},
        covered80=hits(covered80),
        covered95=hits(covered95),
        pit={step: pit(closes[:, i], quantiles[step]) for i, step in enumerate(STEPS)},
        quantiles=quantiles,
        slots=dict.fromkeys(STEPS, slots),
        quarters=dict.fromkeys(STEPS, slots // 91),
    )


def constant(n):
    """The volatility of a forecaster that ignores the market."""
    return np.full(n, 0.0213)


def test_a_better_challenger_passes_with_its_evidence():
    closes, volatility = market(1095)
    decision = judge(walk(closes, volatility), walk(closes, constant(1095)), None)
    assert decision.promote, decision.reason
    assert decision.evidence["origins"] == 1095
    assert decision.evidence["skill_vs_baseline_step1"] > 0.01
    assert decision.evidence["e_better"] >= 1 / ALPHA
    assert decision.evidence["best_step"] == 1
    skills = [decision.evidence[f"skill_vs_baseline_step{step}"] for step in STEPS]
    assert decision.reason == (
        f"better beyond chance (e = {decision.evidence['e_better']:.4g}); "
        f"CRPS against the baseline: step 1 {skills[0]:+.2%}, step 7 {skills[-1]:+.2%}"
    )
    assert decision.evidence["e_better_step1"] > decision.evidence["e_better"] > 1
    assert set(decision.evidence) == {
        "origins", "e_better", "best_step", "e_worse_than_baseline",
        *(f"{name}_step{s}" for name in ("skill_vs_baseline", "e_better", "coverage80", "coverage95") for s in STEPS),
    }  # fmt: skip


def test_a_worse_challenger_is_rejected_and_the_reason_names_the_opponent():
    closes, volatility = market(1095)
    challenger, baseline = walk(closes, constant(1095)), walk(closes, volatility)
    decision = judge(challenger, baseline, None)
    assert decision.promote is False
    worst = max(STEPS, key=lambda step: better({step: gains_over(challenger, baseline)[step][1]})[step])
    e, loss = (decision.evidence[name] for name in ("e_worse_than_baseline", f"skill_vs_baseline_step{worst}"))
    assert loss < 0
    assert decision.reason == f"it is worse than the baseline beyond chance (e = {e:.4g}; step {worst} by {-loss:.2%})"
    two = judge(walk(closes, constant(1095), covered95=0.8), baseline, None)
    assert two.reason.split("; ")[0].startswith("the 95 % band of step 1 covered")
    assert two.reason.endswith(f"; {decision.reason}")
    both = judge(walk(closes, constant(1095)), walk(closes, volatility), walk(closes, volatility))
    assert "worse than the incumbent" in both.reason


def test_a_challenger_that_beats_only_the_baseline_is_rejected():
    closes, volatility = market(1095)
    good = walk(closes, volatility)
    decision = judge(good, walk(closes, constant(1095)), good)
    assert decision.reason == "it is not better than the incumbent beyond chance (e = 1, 20 are needed)"


def test_a_challenger_as_good_as_the_champion_is_rejected_unless_it_renews_it():
    closes, volatility = market()
    noisy = volatility * np.exp(np.random.default_rng(1).normal(0, 0.05, 365))
    assert not judge(walk(closes, noisy), walk(closes, volatility), None).promote
    renewed = judge(walk(closes, noisy), walk(closes, volatility), None, renews=True)
    assert renewed.promote
    assert renewed.reason.startswith("it renews the champion; CRPS against the baseline: step 1 ")


def test_a_renewal_that_is_worse_beyond_chance_is_rejected():
    closes, volatility = market(1095)
    assert not judge(walk(closes, 3 * volatility), walk(closes, volatility), None, renews=True).promote


def test_a_challenger_with_a_worse_mean_is_rejected_even_if_it_is_better_on_most_days():
    """Bets are small on days with absurd bands, but the plain mean, which people read, counts too."""
    closes, volatility = market(1095)
    absurd = volatility.copy()
    absurd[125::250] *= 200
    decision = judge(walk(closes, absurd), walk(closes, constant(1095)), None)
    assert not decision.promote
    best, e = decision.evidence["best_step"], decision.evidence["e_better"]
    skill = decision.evidence[f"skill_vs_baseline_step{best}"]
    assert skill < 0
    assert decision.reason == f"its mean CRPS at step {best} is {-skill:.2%} worse than the baseline's (e = {e:.4g})"


@pytest.mark.parametrize("share", [{"covered80": 0.65}, {"covered80": 0.95}, {"covered95": 0.8}])
def test_a_challenger_with_wrong_coverage_is_rejected(share):
    closes, volatility = market(1095)
    decision = judge(walk(closes, volatility, **share), walk(closes, constant(1095)), None)
    assert not decision.promote
    assert "band of step" in decision.reason


def test_scores_that_are_not_finite_are_rejected_and_demoted():
    closes, volatility = market()
    challenger, baseline = walk(closes, volatility), walk(closes, constant(365))
    expected = Decision(False, "its walk-forward scores are not all finite numbers", {"origins": 365})
    for broken in (np.nan, np.inf, -np.inf):
        challenger.crps[3][100] = broken
        assert judge(challenger, baseline, None) == expected
        assert watch(challenger, baseline) == Verdict(True, "its scores are not all finite numbers", {})


def test_sixty_origins_at_every_step_are_enough_to_judge_a_renewal():
    closes, volatility = market(60)
    good = walk(closes, volatility)
    assert judge(good, good, None, renews=True).promote
    few = replace(good, crps={**good.crps, 7: good.crps[7][:59]})
    assert judge(few, good, None) == Decision(
        False, "59 walk-forward origins are too few to judge by, 60 are needed", {"origins": 59}
    )
    nothing = WalkForward({}, {}, {}, {}, {}, {}, {})
    assert judge(nothing, nothing, None).evidence == {"origins": 0}
    assert not watch(nothing, nothing).demote


@pytest.mark.parametrize(
    ("name", "step", "least", "most"),
    # .8 and .95, plus or minus .05 and three standard errors of 365 / step independent closes.
    [("80", 1, 251, 333), ("80", 3, 235, 349), ("80", 7, 214, 365), ("95", 1, 317, 365), ("95", 7, 296, 365)],
)
def test_coverage_may_be_wrong_by_five_percent_and_three_standard_errors(name, step, least, most):
    closes, volatility = market()
    good = walk(closes, volatility)

    def reason(hits):
        covered = {**getattr(good, f"covered{name}"), step: np.arange(365) < hits}
        return judge(replace(good, **{f"covered{name}": covered}), good, None, renews=True).reason

    assert "it renews" in reason(least)
    assert reason(least - 1) == f"the {name} % band of step {step} covered {(least - 1) / 365:.0%}"
    assert "it renews" in reason(most)
    if most < 365:
        assert reason(most + 1) == f"the {name} % band of step {step} covered {(most + 1) / 365:.0%}"


def test_noise_is_promoted_in_at_most_one_run_of_twenty():
    """Forty years of two equally good models, each judged twice; benchmarks/gate.py judges daily for ten years."""
    promoted = 0
    for seed in range(40):
        closes, volatility = market(300, seed=seed)
        rng = np.random.default_rng(seed)
        first, second = (walk(closes, volatility * np.exp(rng.normal(0, 0.1, 300))) for _ in range(2))
        promoted += any(judge(upto(first, day), upto(second, day), None).promote for day in (150, 300))
    assert promoted / 40 <= 0.05


def upto(walked, day):
    return WalkForward(**{
        name: {step: values[:day] for step, values in getattr(walked, name).items()}
        for name in WalkForward.__dataclass_fields__
    })  # fmt: skip


# --- the watch ---------------------------------------------------------------------------------------------------


def test_a_good_champion_is_not_demoted():
    closes, volatility = market(1095)
    verdict = watch(walk(closes, volatility), walk(closes, constant(1095)))
    assert not verdict.demote
    assert verdict.evidence["origins"] == 1095
    assert verdict.reason.startswith("it is not worse than the baseline beyond chance (e = 0.8")


def test_a_champion_whose_bands_become_five_times_too_wide_is_almost_always_demoted_within_a_week():
    late = 0
    for seed in range(40):
        closes, volatility = market(100, seed=seed)
        broken = volatility * np.where(np.arange(100) < 93, 1, 5)
        verdict = watch(walk(closes, broken), walk(closes, volatility))
        late += not verdict.demote
        assert verdict.demote is (verdict.evidence["e_demote"] >= 1 / ALPHA)
    assert late / 40 <= 0.05


def test_a_champion_that_becomes_worse_after_good_years_is_demoted():
    closes, volatility = market(1500)
    sigma = np.where(np.arange(1500) < 1095, volatility, 2.5 * volatility)
    verdict = watch(walk(closes, sigma), walk(closes, volatility * 1.3))
    assert verdict.demote
    skill, e = verdict.evidence["skill_vs_baseline_step1"], verdict.evidence["e_demote"]
    assert verdict.reason == f"it is worse than the baseline beyond chance (e = {e:.4g}; CRPS at step 1 {skill:+.2%})"


def test_twenty_to_one_decides():
    """Evidence grows day by day; who has a value of 20 is promoted or demoted, and nobody before."""
    closes, volatility = market(760)
    good, naive = walk(closes, volatility), walk(closes, constant(760))
    wider = walk(closes, volatility * np.where(np.arange(760) < 60, 1, 2.5))
    decisions = [judge(upto(good, day), upto(naive, day), None) for day in range(640, 760, 10)]
    verdicts = [watch(upto(wider, day), upto(good, day)) for day in range(140, 170, 3)]
    for decided, value in (
        ([decision.promote for decision in decisions], [decision.evidence["e_better"] for decision in decisions]),
        ([verdict.demote for verdict in verdicts], [verdict.evidence["e_demote"] for verdict in verdicts]),
    ):
        assert decided == [e >= 20 for e in value]
        assert min(value) < 20
        assert any(20 <= e < 40 for e in value)


def test_a_broken_model_does_not_come_back_on_the_evidence_of_its_good_years():
    """Seven days of bands five times too wide demote it; three years of good scores alone would promote it at once."""
    n, first = 1095 + 60, 20_000
    closes, volatility = market(n)
    naive = walk(closes, constant(n))
    since = first + 1095
    kept = {}
    for days in (0, 6, 60):
        broken = walk(closes, volatility * np.where(np.arange(n) < 1088, 1, 5))
        end = 1095 + days
        ours, theirs = upto(broken, end), upto(naive, end)
        kept[days] = relapse(ours, theirs, since=since, times=1)
    assert judge(upto(broken, 1095), upto(naive, 1095), None).promote
    assert watch(upto(broken, 1095), upto(naive, 1095)).demote
    # Nothing is known yet of what the training after the demotion has changed; six days later it is.
    assert kept[0] is None
    assert kept[6].startswith("its forecasts since it was demoted: it is worse than the baseline beyond chance")
    assert kept[60] is not None


def test_a_model_that_is_well_again_may_come_back_however_long_it_was_broken():
    n, first = 1095 + 90, 20_000
    closes, volatility = market(n)
    day = np.arange(n)
    mended = walk(closes, volatility * np.where((day >= 1088) & (day < 1155), 5, 1))
    naive = walk(closes, constant(n))
    assert relapse(mended, naive, since=first + 1095, times=1) is None
    assert relapse(upto(mended, 1095 + 75), upto(naive, 1095 + 75), since=first + 1095, times=1) is not None


def test_a_champion_without_scores_is_neither_demoted_nor_kept_from_coming_back():
    closes, volatility = market()
    none, naive = (upto(walk(closes, sigma), 0) for sigma in (volatility, constant(365)))
    assert watch(none, naive) == Verdict(False, "nothing is scored yet", {"origins": 0})
    assert relapse(none, naive, since=20_000, times=1) is None


def test_the_two_kinds_of_bets_share_the_money():
    closes, volatility = market(200)
    evidence = watch(walk(closes, volatility * np.where(np.arange(200) < 197, 1, 5)), walk(closes, volatility)).evidence
    odd, worse = evidence["e_odd_bands"], evidence["e_worse_than_baseline"]
    assert abs(odd - worse) > 0.1
    assert evidence["e_demote"] == pytest.approx(EPISODE_SHARE * odd + (1 - EPISODE_SHARE) * worse, rel=1e-3)


def test_a_suspect_is_doubted_from_its_first_day_and_others_only_where_their_first_band_is_odd():
    closes, volatility = market(30)
    naive = walk(closes, volatility)
    usual, wide = walk(closes, volatility * 1.3), walk(closes, volatility * 5)

    def doubt(model, *, suspected):
        return watch(model, naive, suspected=suspected).evidence["e_odd_bands"]

    assert doubt(usual, suspected=False) == 1.0
    started = np.arange(30) == 0
    ratios = likelihood_ratios(usual.pit[1], usual.quantiles[1], naive.quantiles[1])
    value = episode_value(ratios, distances(usual.pit[1]), started, np.ones(30, bool))
    assert doubt(usual, suspected=True) == pytest.approx(value, rel=1e-4) != 1.0
    assert doubt(wide, suspected=False) == doubt(wide, suspected=True) > 20
    assert watch(wide, naive).reason.endswith("; since its bands became odd)")


def test_a_model_that_was_demoted_is_suspected_until_its_new_forecasts_are_right():
    closes, volatility = market(7)
    wide, naive = walk(closes, 5 * volatility), walk(closes, volatility / 0.7)
    assert not watch(wide, naive).demote
    assert relapse(wide, naive, since=20_000, times=1) is not None


def test_only_the_newest_month_since_the_demotion_counts():
    closes, volatility = market(400)
    naive, last = walk(closes, constant(400)), 20_000 + 399
    for slot, may_serve in ((last - RECENT, True), (last - RECENT + 1, False)):
        model = walk(closes, volatility)
        model.crps[1][slot - 20_000] = np.inf
        assert (relapse(model, naive, since=last - 100, times=1) is None) is may_serve


def test_a_suspected_model_is_found_out_although_its_bands_were_wide_from_the_first_day():
    """Five times too wide is only 3.5 times naive's where the model's own bands are narrower: not odd in itself."""
    demotions = {}
    for suspected in (False, True):
        demotions[suspected] = 0
        for seed in range(20):
            closes, volatility = market(7, seed=seed)
            wide, naive = walk(closes, 5 * volatility), walk(closes, volatility / 0.7)
            demotions[suspected] += watch(wide, naive, suspected=suspected).demote
    assert demotions[False] == 0
    assert demotions[True] >= 19


def test_a_model_that_was_demoted_twice_needs_a_month_of_new_scores():
    closes, volatility = market(400)
    good, naive = walk(closes, volatility), walk(closes, constant(400))
    last = 20_000 + 400
    assert relapse(good, naive, since=last - RECENT, times=2) is None
    assert relapse(good, naive, since=last - RECENT + 1, times=1) is None
    assert relapse(good, naive, since=last - RECENT + 1, times=2) == (
        "it was demoted 2 times; 29 of its forecasts since then are scored, 30 are needed"
    )


def test_gains_and_the_worst_that_they_can_be_are_in_units_of_the_dispersion():
    closes, volatility = market(20)
    first, second = walk(closes, volatility * 1.5), walk(closes, constant(20))
    for step in STEPS:
        ours, theirs = gains_over(first, second)[step]
        unit = dispersion(first.quantiles[step], second.quantiles[step])
        assert np.allclose(ours.gain * unit, second.crps[step] - first.crps[step])
        assert np.array_equal(theirs.gain, -ours.gain)
        # Of all closes, one at a quantile of either model is the worst.
        ends = np.concatenate([first.quantiles[step], second.quantiles[step]], axis=1)
        losses = np.stack([crps(end, first.quantiles[step]) - crps(end, second.quantiles[step]) for end in ends.T])
        assert np.allclose(ours.worst * unit, losses.max(axis=0))
        assert np.allclose(theirs.worst * unit, -losses.min(axis=0))


def test_evidence_for_one_model_is_not_evidence_for_the_other():
    closes, volatility = market(1095)
    good, bad = walk(closes, volatility), walk(closes, constant(1095))
    ours, theirs = gains_over(good, bad)[1]
    assert better({1: ours})[1] > 20
    assert better({1: theirs})[1] < 1
