"""Drift: whether a model's recent forecasts are worse than calibration and chance allow. A pure function of scores."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.metrics import diebold_mariano

# Days that are looked at; with fewer matured ones nothing is said.
WINDOW = 90
LEAST = 45
# A check is made every day, and one false alarm in some years is enough: days in between share nearly all their scores.
ALARM = 0.001


@dataclass(frozen=True)
class Drift:
    """What has drifted, in words, with the p-value that says so."""

    what: str
    p_value: float


def find_drift(crps: NDArray[np.float64], baseline_crps: NDArray[np.float64], pit: NDArray[np.float64]) -> Drift | None:
    """Return what has drifted in the last WINDOW one-step forecasts, None when nothing has or too few are known.

    `crps` and `baseline_crps` are the model's and naive's losses on the same days in time order, `pit` where the
    truths fell in the model's distributions. Alarms: truths outside the central 80 % band too often or too seldom,
    truths above the median too often or too seldom (two-sided binomial tests), and a CRPS worse than naive's
    (Diebold-Mariano, one side); each at a third of ALARM.
    """
    crps, baseline_crps, pit = crps[-WINDOW:], baseline_crps[-WINDOW:], pit[-WINDOW:]
    n = len(crps)
    if n < LEAST:
        return None
    inside = int(((pit >= 0.1) & (pit <= 0.9)).sum())
    above = int((pit > 0.5).sum())
    found = [
        Drift(f"the 80 % band covered {inside} of the last {n} days", binomial_p_value(inside, n, 0.8)),
        Drift(f"the median was below the truth on {above} of the last {n} days", binomial_p_value(above, n, 0.5)),
    ]
    test = diebold_mariano(crps, baseline_crps, step=1)
    if test.mean_difference > 0:
        skill = 1 - float(crps.mean()) / float(baseline_crps.mean())
        found.append(Drift(f"its CRPS was {-skill:.1%} worse than naive's over the last {n} days", test.p_value / 2))
    worst = min(found, key=lambda drift: drift.p_value)
    return worst if worst.p_value < ALARM / 3 else None


def binomial_p_value(k: int, n: int, p: float) -> float:
    """Return the two-sided exact p-value of k successes in n: the probability of all outcomes no likelier than k."""
    weights = [math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(n + 1)]
    # Outcomes equally likely but for rounding count as equal.
    return min(1.0, sum(weight for weight in weights if weight <= weights[k] * (1 + 1e-9)))
