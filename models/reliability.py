"""Whether stated chances come true: the share of events among those of about the same stated chance.

A reliability table (Murphy and Winkler, 1977, Journal of the Royal Statistical Society C 26(1)): events are "the close
is below this threshold", their chances come from the stored quantiles (models/normal_scores.py), and each row is one
span of chances.
"""

import math
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.accuracy import student_t_bound
from models.chance import HIGHEST, LOWEST
from models.normal_scores import normal_chances, normal_scores

# The spans of stated chances, each from one edge to the next; in the outer two only the bound is stated.
EDGES = (0.0, LOWEST, *(tenth / 10 for tenth in range(1, 10)), HIGHEST, 1.0)
_INNER_SCORES = [NormalDist().inv_cdf(edge) for edge in EDGES[1:-1]]


class ReliabilityBin(NamedTuple):
    """The events whose stated chance is from `low` to `high`, and the share of them that happened.

    `n` counts events of `origins` forecasts; `stated` is their mean chance, None in the outer spans. `realised_low` to
    `realised_high` is the 95 % interval of `realised`, with origins as the unit.
    """

    low: float
    high: float
    n: int
    origins: int
    stated: float | None
    realised: float
    realised_low: float
    realised_high: float


def reliability(
    quantiles: NDArray[np.float64], actual: NDArray[np.float64], thresholds: NDArray[np.float64], *, step: int
) -> list[ReliabilityBin]:
    """Return the spans of stated chances that hold events, lowest first.

    `quantiles`: (n, 23), `actual`: (n,) and `thresholds`: (n, n_thresholds), NaN for none; in time order of the n
    forecasts, which are of the same step.
    """
    known = ~np.isnan(thresholds)
    scores = normal_scores(np.where(known, thresholds, 1.0), quantiles)
    places = np.searchsorted(_INNER_SCORES, scores, side="right")
    # The outermost level itself is still a stated chance; only beyond it there is none.
    last = len(EDGES) - 2
    places = np.where(np.isposinf(scores), last, np.minimum(places, last - 1))
    happened = actual[:, None] < thresholds
    bins = []
    for place, (low, high) in enumerate(pairwise(EDGES)):
        inside = known & (places == place)
        counts, hits = inside.sum(axis=1), (inside & happened).sum(axis=1)
        if not counts.any():
            continue
        stated = None if place in (0, last) else float(normal_chances(scores[inside]).mean())
        share, lower, upper = share_interval(hits, counts, step=step)
        bins.append(ReliabilityBin(low, high, int(counts.sum()), int((counts > 0).sum()), stated, share, lower, upper))
    return bins


def share_interval(hits: NDArray[np.int64], counts: NDArray[np.int64], *, step: int) -> tuple[float, float, float]:
    """Return the share of hits and its 95 % interval, where the events of one origin count as one observation.

    `hits` and `counts`: (n,) per origin in time order. The variance of the ratio is that of its linearisation, with
    Bartlett weights over as many lags as `models.accuracy.diebold_mariano` takes, because forecasts of neighbouring
    origins share days. It gives the number of independent events that are worth as much, at most one per origin, and
    Wilson's interval (1927, Journal of the American Statistical Association 22) of so many.
    """
    n, origins = len(counts), int((counts > 0).sum())
    share = float(hits.sum() / counts.sum())
    errors = (hits - share * counts) / counts.mean()
    lags = min(max(3 * (step - 1), math.floor(4 * (n / 100) ** (2 / 9))), max(n - 2, 0))
    variance = float(errors @ errors) / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(errors[lag:] @ errors[:-lag]) / n
    variance /= n
    worth = share * (1 - share) / variance if variance > 0 else math.inf
    # Where all or none happened, the events themselves tell nothing about their dependence.
    worth = min(worth, origins if 0 < share < 1 else origins / step)
    worth = max(worth, 1.0)
    z2 = student_t_bound(max(origins - 1, 1)) ** 2
    centre = (share + z2 / (2 * worth)) / (1 + z2 / worth)
    reach = math.sqrt(z2 * (share * (1 - share) / worth + z2 / (4 * worth**2))) / (1 + z2 / worth)
    return share, max(centre - reach, 0.0), min(centre + reach, 1.0)
