"""The gate and the watch: whether a challenger takes over, and whether a champion goes on. Pure functions of scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evidence import (
    Gains,
    combined,
    dispersion,
    distances,
    e_value,
    episode_value,
    is_odd,
    likelihood_ratios,
    score_range,
)
from models.forecasts import QUANTILE_LEVELS

# Below this many origins coverage and mean scores would be noise.
MIN_ORIGINS = 60
# How far the share of actual closes inside the 80 % and 95 % bands may be off, beyond sampling noise.
COVERAGE_SLACK = 0.05
# The chance that a challenger that is no better ever takes over, and that a champion that is no worse is ever demoted,
# however often they are judged. Evidence must reach 1 / ALPHA.
ALPHA = 0.05
# The watch's money on episodes of odd bands; the rest is on scores worse than naive's.
EPISODE_SHARE = 0.8
# An 80 % band is odd when it is this many times wider or narrower than naive's, or than the day before.
ODD = 4.0
# The newest forecasts since a demotion that are looked at before the model may serve again.
RECENT = 30

_LOW, _HIGH = QUANTILE_LEVELS.index(0.1), QUANTILE_LEVELS.index(0.9)


@dataclass(frozen=True)
class WalkForward:
    """A model's scores on past origins, all out of sample: step -> one value an origin, in time order.

    Two models are compared on origins they share, so their arrays must have equal lengths step by step. `slots` are
    the origins counted in candles, `quarters` their calendar quarters, `quantiles` (n, 23) logarithms of prices.
    """

    crps: Mapping[int, NDArray[np.float64]]
    covered80: Mapping[int, NDArray[np.bool_]]
    covered95: Mapping[int, NDArray[np.bool_]]
    pit: Mapping[int, NDArray[np.float64]]
    quantiles: Mapping[int, NDArray[np.float64]]
    slots: Mapping[int, NDArray[np.int64]]
    quarters: Mapping[int, NDArray[np.int64]]


@dataclass(frozen=True)
class Decision:
    """Whether to promote, why in words, and the figures it rests on (plain JSON values)."""

    promote: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Whether to demote the champion, why in words, and the figures it rests on (plain JSON values)."""

    demote: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def gains_over(first: WalkForward, second: WalkForward) -> dict[int, tuple[Gains, Gains]]:
    """Return by step what `first` gained over `second`, and what `second` gained over `first`."""
    gains = {}
    for step, losses in first.crps.items():
        ours, theirs = first.quantiles[step], second.quantiles[step]
        scale = dispersion(ours, theirs)
        low, high = score_range(ours, theirs)
        gain = (second.crps[step] - losses) / scale
        slots, quarters = first.slots[step], first.quarters[step]
        gains[step] = (Gains(slots, quarters, gain, high / scale), Gains(slots, quarters, -gain, -low / scale))
    return gains


def better(gains: Mapping[int, Gains], *, restarts: bool = False) -> dict[int, float]:
    """Return by step the value of the evidence that these gains are not luck; see `models.evidence`."""
    return {step: e_value(of_step, step, restarts=restarts) for step, of_step in gains.items()}


def judge(
    challenger: WalkForward, baseline: WalkForward, incumbent: WalkForward | None, *, renews: bool = False
) -> Decision:
    """Return whether the challenger takes over.

    It is kept back when its scores are not finite, when there are too few origins to tell, when its 80 % or 95 %
    bands cover too little or too much beyond sampling noise, when its CRPS is worse than the baseline's or the
    incumbent's beyond chance, and when it is not better than the model that serves beyond chance: no model
    takes over by chance. `incumbent` is None when the baseline serves, or with `renews`: then a version of the
    challenger's own family serves, the scores are those of both, and a newer training need not prove itself again.
    """
    evidence: dict[str, Any] = {}
    n = min((len(values) for values in challenger.crps.values()), default=0)
    evidence["origins"] = n
    if n < MIN_ORIGINS:
        return Decision(False, f"{n} walk-forward origins are too few to judge by, {MIN_ORIGINS} are needed", evidence)
    if not all(np.isfinite(values).all() for values in challenger.crps.values()):
        return Decision(False, "its walk-forward scores are not all finite numbers", evidence)
    problems = _coverage_problems(challenger, evidence)
    opponents = {"baseline": baseline} | ({"incumbent": incumbent} if incumbent is not None else {})
    gains = {name: gains_over(challenger, opponent) for name, opponent in opponents.items()}
    for name, opponent in opponents.items():
        for step, losses in challenger.crps.items():
            evidence[f"skill_vs_{name}_step{step}"] = _skill(losses, opponent.crps[step])
        worse = better({step: losses for step, (_, losses) in gains[name].items()})
        evidence[f"e_worse_than_{name}"] = value = _rounded(combined(worse))
        if value >= len(opponents) / ALPHA:
            step = max(worse, key=lambda step: worse[step])
            loss = -evidence[f"skill_vs_{name}_step{step}"]
            problems.append(f"it is worse than the {name} beyond chance (e = {value:.4g}; step {step} by {loss:.2%})")
    if not renews:
        serving, name = (baseline, "baseline") if incumbent is None else (incumbent, "incumbent")
        values = better({step: ours for step, (ours, _) in gains[name].items()})
        complaint = _no_better(challenger, serving, name, values, evidence)
        problems += [complaint] if complaint and not problems else []
    if problems:
        return Decision(False, "; ".join(problems), evidence)
    ends = ", ".join(
        f"step {step} {evidence[f'skill_vs_baseline_step{step}']:+.2%}"
        for step in sorted({min(challenger.crps), max(challenger.crps)})
    )
    proof = "it renews the champion" if renews else f"better beyond chance (e = {evidence['e_better']:.4g})"
    return Decision(True, f"{proof}; CRPS against the baseline: {ends}", evidence)


def _no_better(
    challenger: WalkForward, serving: WalkForward, name: str, values: dict[int, float], evidence: dict[str, Any]
) -> str | None:
    """Return the complaint that the challenger is not better than the model that serves, None when it is."""
    for step, value in values.items():
        evidence[f"e_better_step{step}"] = _rounded(value)
    evidence["e_better"] = value = _rounded(combined(values))
    evidence["best_step"] = best = max(values, key=lambda step: values[step])
    skill = _skill(challenger.crps[best], serving.crps[best])
    if value < 1 / ALPHA:
        return f"it is not better than the {name} beyond chance (e = {value:.4g}, {1 / ALPHA:.0f} are needed)"
    if skill <= 0:
        # Bets are small on days on which a forecast could lose much; the plain mean counts those days in full.
        return f"its mean CRPS at step {best} is {-skill:.2%} worse than the {name}'s (e = {value:.4g})"
    return None


def watch(champion: WalkForward, baseline: WalkForward, *, suspected: bool = False) -> Verdict:
    """Return whether the champion is demoted.

    Two kinds of bets share the money. One bets that its CRPS is worse than the baseline's. The other starts on each day
    on which its 80 % band of step 1 becomes odd: it bets on the baseline's distribution against its own and, if the
    band is wide, also on closes that stay near its middle for a week. The chance that a champion that is no worse, and
    whose odd bands are right, is ever demoted is at most ALPHA.
    The first band counts as odd where the model is `suspected`, because it was demoted before.
    """
    if not all(np.isfinite(values).all() for values in champion.crps.values()):
        return Verdict(True, "its scores are not all finite numbers", {})
    if 1 not in champion.crps or not len(champion.crps[1]):
        return Verdict(False, "nothing is scored yet", {"origins": 0})
    # With new starts, since a champion was good once: years of good scores must not hide that it has become bad.
    gains = {step: naives for step, (naives, _) in gains_over(baseline, champion).items()}
    worse = better(gains, restarts=True)
    ours, naive = champion.quantiles[1], baseline.quantiles[1]
    width, naive_width = (quantiles[:, _HIGH] - quantiles[:, _LOW] for quantiles in (ours, naive))
    odd = is_odd(width, naive_width, ODD)
    odd[0] |= suspected
    pit = champion.pit[1]
    episodes = episode_value(likelihood_ratios(pit, ours, naive), distances(pit), odd, width > naive_width)
    value = EPISODE_SHARE * episodes + (1 - EPISODE_SHARE) * combined(worse)
    skill = _skill(champion.crps[1], baseline.crps[1])
    evidence = {
        "origins": len(champion.crps[1]),
        "e_demote": _rounded(value),
        "e_worse_than_baseline": _rounded(combined(worse)),
        "e_odd_bands": _rounded(episodes),
        "skill_vs_baseline_step1": skill,
    }
    if value < 1 / ALPHA:
        return Verdict(False, f"it is not worse than the baseline beyond chance (e = {value:.4g})", evidence)
    why = "since its bands became odd" if episodes > combined(worse) else f"CRPS at step 1 {skill:+.2%}"
    return Verdict(True, f"it is worse than the baseline beyond chance (e = {value:.4g}; {why})", evidence)


def relapse(challenger: WalkForward, baseline: WalkForward, *, since: int, times: int) -> str | None:
    """Return why a model that was demoted `times` times, last at slot `since`, may not serve yet; None if it may.

    The evidence of good years outweighs a bad week, so the gate alone would bring a broken model back at once. The
    watch must not object to its newest RECENT forecasts since the demotion. There may be none: the training that
    follows a demotion may be the cure. A model that came back once and was demoted again needs RECENT of them.
    """
    newest = max((int(slots[-1]) for slots in challenger.slots.values() if len(slots)), default=since)
    first = max(since, newest - RECENT + 1)
    ours, naives = (_from_slot(walk, first) for walk in (challenger, baseline))
    n = len(ours.crps.get(1, ()))
    if times > 1 and n < RECENT:
        return f"it was demoted {times} times; {n} of its forecasts since then are scored, {RECENT} are needed"
    verdict = watch(ours, naives, suspected=True)
    return f"its forecasts since it was demoted: {verdict.reason}" if verdict.demote else None


def _from_slot(walk: WalkForward, first: int) -> WalkForward:
    chosen = {step: slots >= first for step, slots in walk.slots.items()}
    return WalkForward(
        **{
            field.name: {step: values[chosen[step]] for step, values in getattr(walk, field.name).items()}
            for field in fields(walk)
        }
    )


def _skill(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    return round(1 - float(ours.mean()) / float(theirs.mean()), 5)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _coverage_problems(challenger: WalkForward, evidence: dict[str, Any]) -> list[str]:
    problems = []
    for name, wanted, covered in (("80", 0.8, challenger.covered80), ("95", 0.95, challenger.covered95)):
        for step, hits in covered.items():
            share = float(np.mean(hits))
            evidence[f"coverage{name}_step{step}"] = round(share, 4)
            # Overlapping steps share their closes: about n / step of them are independent.
            noise = 3 * (wanted * (1 - wanted) * step / len(hits)) ** 0.5
            if abs(share - wanted) > COVERAGE_SLACK + noise:
                problems.append(f"the {name} % band of step {step} covered {share:.0%}")
    return problems
