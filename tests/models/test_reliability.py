"""Reliability tables: small counts by hand, true chances inside their intervals, wrong ones outside."""

from statistics import NormalDist

import numpy as np
import pytest

from models.forecasts import QUANTILE_LEVELS
from models.reliability import EDGES, ReliabilityBin, reliability, share_interval

Z = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])


def market(days: int, *, sigma: float, step: int, stated: float | None = None, seed: int = 1):
    """Closes of a random walk, forecasts of the step from each, actual closes, and thresholds of 20 past closes."""
    rng = np.random.default_rng(seed)
    logs = np.cumsum(rng.normal(0, sigma, days + step + 20))
    origins = np.arange(20, days + 20)
    width = (sigma if stated is None else stated) * np.sqrt(step)
    quantiles = np.exp(logs[origins, None] + width * Z)
    thresholds = np.exp(np.stack([logs[origins - back] for back in range(20)], axis=1))
    return quantiles, np.exp(logs[origins + step]), thresholds


def test_a_table_counted_by_hand() -> None:
    quantiles = np.exp(np.tile(0.1 * Z, (3, 1)))
    thresholds = np.exp([[-1.0, 0.01], [0.02, 1.0], [0.03, np.nan]])
    # Below a tiny threshold never, below 1.01 and 1.02 once of two, below a huge one always.
    rows = reliability(quantiles, np.exp([0.0, 0.05, 0.05]), thresholds, step=1)
    assert [(row.low, row.high, row.n, row.origins, row.realised) for row in rows] == [
        (0.0, 0.01, 1, 1, 0.0),
        (0.5, 0.6, 2, 2, 0.5),
        (0.6, 0.7, 1, 1, 0.0),
        (0.99, 1.0, 1, 1, 1.0),
    ]
    normal = NormalDist()
    assert rows[1].stated == pytest.approx((normal.cdf(0.1) + normal.cdf(0.2)) / 2)
    assert (rows[0].stated, rows[-1].stated) == (None, None)


def test_the_levels_at_the_ends_are_stated_chances() -> None:
    quantiles = np.exp(np.tile(0.1 * Z, (2, 1)))
    rows = reliability(quantiles, np.ones(2), quantiles[:, [0, -1]], step=1)
    assert [(row.low, row.high) for row in rows] == [(0.01, 0.1), (0.9, 0.99)]
    assert [row.stated for row in rows] == pytest.approx([0.01, 0.99])


@pytest.mark.parametrize("step", [1, 5])
def test_true_chances_lie_inside_the_interval_in_about_95_percent(step: int) -> None:
    inside, rows = 0, 0
    for seed in range(60):
        for row in reliability(*market(400, sigma=0.03, step=step, seed=seed), step=step):
            if row.stated is not None and row.origins >= 60:
                inside += row.realised_low <= row.stated <= row.realised_high
                rows += 1
    assert rows > 200
    assert 0.90 <= inside / rows <= 0.99


def test_bands_half_as_wide_as_the_truth_are_noticed() -> None:
    rows = reliability(*market(1000, sigma=0.04, stated=0.02, step=1), step=1)
    by_low = {row.low: row for row in rows}
    assert by_low[0.0].realised_low > 0.01
    assert by_low[0.1].realised_low > 0.2
    assert by_low[0.8].realised_high < 0.8


def test_many_thresholds_of_one_day_count_as_one_observation() -> None:
    hits, counts = np.tile([0, 1], 50), np.ones(100, dtype=int)
    alone = share_interval(hits, counts, step=1)
    assert share_interval(20 * hits, 20 * counts, step=1) == pytest.approx(alone)
    share, low, high = share_interval(np.zeros(30, dtype=int), np.full(30, 5), step=1)
    assert (share, low) == (0.0, pytest.approx(0.0))
    # As Wilson's interval of 30 events, with Student's t for 30 days.
    assert high == pytest.approx(0.122, abs=0.002)
    assert share_interval(np.zeros(30, dtype=int), np.full(30, 5), step=5)[2] > high


def test_the_spans_cover_every_chance_once() -> None:
    assert EDGES[0] == 0.0
    assert EDGES[-1] == 1.0
    assert list(EDGES) == sorted(set(EDGES))
    assert ReliabilityBin._fields[:2] == ("low", "high")
