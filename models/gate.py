"""The gate: whether a challenger takes over from the champion. A pure function of scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import diebold_mariano

# The standard error of skill at step 1 is .40 % of CRPS over 365 origins and .81 % over 90: below this many
# origins a verdict would be noise.
MIN_ORIGINS = 60
# How far the share of truths inside the 80 % and 95 % bands may be off, beyond sampling noise.
COVERAGE_SLACK = 0.05
# One-sided level of all tests for being worse of one gate together; divided among them (Bonferroni).
LEVEL = 0.05
# One-sided level at which a challenger of another family must be better than what serves at one of the steps. Judged
# every day of a year on the last 365 days and seven steps, pure noise took over in 3 % of 300 simulated years.
PROMOTION_LEVEL = 0.0005


@dataclass(frozen=True)
class WalkForward:
    """A model's scores on past origins, all out of sample: step -> one value an origin, in time order.

    Two models are compared on origins they share, so their arrays must have equal lengths step by step.
    """

    crps: Mapping[int, NDArray[np.float64]]
    covered80: Mapping[int, NDArray[np.bool_]]
    covered95: Mapping[int, NDArray[np.bool_]]


@dataclass(frozen=True)
class Decision:
    """Whether to promote, why in words, and the figures it rests on (plain JSON values)."""

    promote: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def judge(
    challenger: WalkForward, baseline: WalkForward, incumbent: WalkForward | None, *, renews: bool = False
) -> Decision:
    """Return whether the challenger takes over.

    It is kept back when its scores are not finite, when there are too few origins to tell, when its 80 % or 95 %
    bands cover too little or too much beyond sampling noise, when at some step its CRPS is significantly worse than
    the baseline's or the incumbent's, and when at no step it is better than what serves beyond chance: no model
    takes over by luck. `incumbent` is None when the baseline serves, or with `renews`: then a version of the
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
    level = LEVEL / (len(opponents) * len(challenger.crps))
    for name, opponent in opponents.items():
        for step, losses in challenger.crps.items():
            test = diebold_mariano(losses, opponent.crps[step], step=step)
            skill = 1 - float(losses.mean()) / float(opponent.crps[step].mean())
            worse = test.mean_difference > 0 and test.p_value / 2 < level
            evidence[f"skill_vs_{name}_step{step}"] = round(skill, 5)
            evidence[f"p_vs_{name}_step{step}"] = round(test.p_value, 5)
            if worse:
                problems.append(f"step {step} is {-skill:.2%} worse than the {name} (p = {test.p_value / 2:.4f})")
    if not renews:
        serving, name = (baseline, "baseline") if incumbent is None else (incumbent, "incumbent")
        lucky = _no_better(challenger, serving, name, evidence)
        problems += [lucky] if lucky and not problems else []
    if problems:
        return Decision(False, "; ".join(problems), evidence)
    best = ", ".join(
        f"step {step} {evidence[f'skill_vs_baseline_step{step}']:+.2%}"
        for step in (min(challenger.crps), max(challenger.crps))
    )
    return Decision(True, f"no step is worse beyond noise; CRPS against the baseline: {best}", evidence)


def _no_better(challenger: WalkForward, serving: WalkForward, name: str, evidence: dict[str, Any]) -> str | None:
    """Return the complaint that no step is better than what serves beyond chance, None when one is."""
    chances = {}
    for step, losses in challenger.crps.items():
        test = diebold_mariano(losses, serving.crps[step], step=step)
        chances[step] = test.p_value / 2 if test.mean_difference < 0 else 1 - test.p_value / 2
    best = min(chances, key=lambda step: chances[step])
    evidence["best_step"], evidence["p_best_step"] = best, round(chances[best], 6)
    if chances[best] < PROMOTION_LEVEL:
        return None
    return f"no step is better than the {name} beyond chance (the best is step {best}, p = {chances[best]:.4f})"


def _coverage_problems(challenger: WalkForward, evidence: dict[str, Any]) -> list[str]:
    problems = []
    for name, wanted, covered in (("80", 0.8, challenger.covered80), ("95", 0.95, challenger.covered95)):
        for step, hits in covered.items():
            share = float(np.mean(hits))
            evidence[f"coverage{name}_step{step}"] = round(share, 4)
            # Overlapping steps share their truths: about n / step of them are independent.
            noise = 3 * (wanted * (1 - wanted) * step / len(hits)) ** 0.5
            if abs(share - wanted) > COVERAGE_SLACK + noise:
                problems.append(f"the {name} % band of step {step} covered {share:.0%}")
    return problems
