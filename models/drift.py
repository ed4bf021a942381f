"""Drift: whether a model's recent forecasts are worse than chance can explain. A pure function of scores."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.accuracy import diebold_mariano

# The check looks at the last WINDOW scored days, and reports nothing with fewer than LEAST of them.
WINDOW = 90
LEAST = 45
# The check runs every day, and one false alarm in some years is enough. Two consecutive checks share nearly all scores.
ALARM = 0.001


@dataclass(frozen=True)
class Drift:
    """A sentence that says what has drifted, and the p-value of its test."""

    what: str
    p_value: float


def find_drift(crps: NDArray[np.float64], baseline_crps: NDArray[np.float64], pit: NDArray[np.float64]) -> Drift | None:
    """Return what has drifted in the last WINDOW one-step forecasts; None if nothing has, or with fewer than LEAST.

    `crps` and `baseline_crps` are the scores of the model and of naive on the same days, in time order. `pit` is where
    each actual close fell in the model's distribution. There are three tests, each at a third of ALARM: actual closes
    are inside the central 80 % band too often or too seldom, or above the median too often or too seldom (two-sided
    binomial tests), or the CRPS is worse than naive's (one-sided Diebold-Mariano test).
    """
    crps, baseline_crps, pit = crps[-WINDOW:], baseline_crps[-WINDOW:], pit[-WINDOW:]
    n = len(crps)
    if n < LEAST:
        return None
    inside = int(((pit >= 0.1) & (pit <= 0.9)).sum())
    above = int((pit > 0.5).sum())
    drifts = [
        Drift(f"the 80 % band covered {inside} of the last {n} days", binomial_p_value(inside, n, 0.8)),
        Drift(
            f"the actual close was above the median on {above} of the last {n} days", binomial_p_value(above, n, 0.5)
        ),
    ]
    test = diebold_mariano(crps, baseline_crps, step=1)
    if test.mean_difference > 0:
        skill = 1 - float(crps.mean()) / float(baseline_crps.mean())
        drifts.append(Drift(f"its CRPS was {-skill:.1%} worse than naive's over the last {n} days", test.p_value / 2))
    worst = min(drifts, key=lambda drift: drift.p_value)
    return worst if worst.p_value < ALARM / 3 else None


def binomial_p_value(k: int, n: int, p: float) -> float:
    """Return the exact two-sided p-value of k successes in n.

    It is the probability of all outcomes that are at most as likely as k.
    """
    weights = [math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(n + 1)]
    # Outcomes whose probabilities differ only by rounding count as equally likely.
    return min(1.0, sum(weight for weight in weights if weight <= weights[k] * (1 + 1e-9)))
