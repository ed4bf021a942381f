import numpy as np
import pytest

from models.drift import LEAST, WINDOW, binomial_p_value, find_drift


def year(seed, *, width=1.0, shift=0.0, edge=0.0):
    """A year of one-step scores of a model with bands `width` times as wide as right: its CRPS, naive's and its PIT."""
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    actual = rng.standard_normal(365) + shift
    pit = norm.cdf(actual / width)
    naive = np.abs(actual) * 0.02 + 0.005
    return naive * (1 - edge) + rng.normal(0, 0.0005, 365), naive, pit


@pytest.mark.parametrize(
    ("market", "words"),
    [
        ({"width": 0.5}, "80 % band"),
        ({"width": 2.5}, "80 % band"),
        ({"shift": 0.8}, "median"),
        ({"edge": -0.1}, "CRPS"),
    ],
)
def test_a_drift_is_found_and_named(market, words):
    drift = find_drift(*year(1, **market))
    assert drift is not None
    assert words in drift.what
    assert drift.p_value < 0.001


def test_a_calibrated_model_almost_never_shows_drift():
    """Checks every fifth day of 200 simulated years."""
    years_with_drift = 0
    for seed in range(200):
        crps, naive, pit = year(seed, edge=0.02)
        years_with_drift += any(
            find_drift(crps[:day], naive[:day], pit[:day]) is not None for day in range(LEAST, 365, 5)
        )
    assert years_with_drift / 200 <= 0.05


def test_only_the_last_days_count_and_too_few_days_show_no_drift():
    crps, naive, pit = year(3)
    pit[: 365 - WINDOW] = 0.99
    assert find_drift(crps, naive, pit) is None
    assert find_drift(crps[: LEAST - 1], naive[: LEAST - 1], np.full(LEAST - 1, 0.99)) is None


@pytest.mark.parametrize(("k", "n", "p"), [(0, 10, 0.5), (7, 10, 0.5), (60, 90, 0.8), (90, 90, 0.8), (72, 90, 0.8)])
def test_binomial_p_values_equal_scipys(k, n, p):
    from scipy.stats import binomtest

    assert binomial_p_value(k, n, p) == pytest.approx(binomtest(k, n, p).pvalue, rel=1e-6)
