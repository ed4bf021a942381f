"""Sample paths: margins of the forecasts, the order of the past, and the same paths from the same seed."""

from statistics import NormalDist

import numpy as np
import pytest

from models.errors import NotEnoughCandles
from models.forecasts import QUANTILE_LEVELS
from models.paths import _spread_scores, independent_paths, past_returns, sample_paths

Z = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])
RNG = np.random.default_rng(5)
MOVES = RNG.normal(0, 0.03, (800, 1)) * [1.0, 0.8] + RNG.normal(0, 0.01, (800, 2))
CLOSES = np.exp(np.cumsum(MOVES, axis=0))
RETURNS = past_returns(CLOSES, 7)
QUANTILES = 100 * np.exp(np.sqrt(np.arange(1, 8))[None, :, None] * 0.03 * Z * np.array([1.0, 0.8])[:, None, None])


def test_past_returns_are_those_of_a_slow_loop() -> None:
    slow = [
        [[np.log(CLOSES[i + h, s] / CLOSES[i, s]) for h in range(1, 8)] for s in range(2)]
        for i in range(len(CLOSES) - 7)
    ]
    np.testing.assert_allclose(past_returns(CLOSES, 7), slow)


def test_windows_with_a_missing_close_are_left_out() -> None:
    holed = CLOSES.copy()
    holed[400, 1] = np.nan
    assert len(past_returns(holed, 7)) == len(RETURNS) - 8
    assert len(past_returns(CLOSES[:67], 7)) == 60
    with pytest.raises(NotEnoughCandles, match="60 past windows of 7 candles are needed .* there are 59"):
        past_returns(CLOSES[:66], 7)


@pytest.mark.parametrize("n", [200, 793, 2000])
def test_every_step_of_every_series_keeps_its_distribution(n: int) -> None:
    for paths in (sample_paths(QUANTILES, RETURNS, n=n, seed=1), independent_paths(QUANTILES, n=n, seed=1)):
        assert paths.shape == (n, 2, 7)
        levels = np.array(QUANTILE_LEVELS)
        shares = (paths[..., None] <= QUANTILES[None]).mean(axis=0)
        # The draws are spread evenly: one in each of n equal parts.
        assert np.abs(shares - levels).max() <= 1 / n + 1e-9


def test_paths_have_the_order_of_the_past_across_steps_and_series() -> None:
    paths = sample_paths(QUANTILES, RETURNS, n=700, seed=1)
    newest = RETURNS[-700:]
    for series in range(2):
        for step in range(7):
            assert (np.argsort(paths[:, series, step]) == np.argsort(newest[:, series, step])).all()
    independent = independent_paths(QUANTILES, n=700, seed=1)
    of_steps = [np.corrcoef(np.log(each[:, 0, 5]), np.log(each[:, 0, 6]))[0, 1] for each in (paths, independent)]
    of_series = [np.corrcoef(np.log(each[:, 0, 6]), np.log(each[:, 1, 6]))[0, 1] for each in (paths, independent)]
    assert of_steps[0] > 0.85
    assert of_series[0] > 0.8
    assert abs(of_steps[1]) < 0.15
    assert abs(of_series[1]) < 0.15


def test_the_same_seed_gives_the_same_paths_and_another_seed_others() -> None:
    first = sample_paths(QUANTILES, RETURNS, n=900, seed=3)
    assert (first == sample_paths(QUANTILES, RETURNS, n=900, seed=3)).all()
    assert (first != sample_paths(QUANTILES, RETURNS, n=900, seed=4)).any()
    independent = independent_paths(QUANTILES, n=900, seed=3)
    assert (independent == independent_paths(QUANTILES, n=900, seed=3)).all()
    assert (independent != independent_paths(QUANTILES, n=900, seed=4)).any()


def test_beyond_the_outermost_quantiles_a_normal_distribution_goes_on() -> None:
    lowest = sample_paths(QUANTILES, RETURNS, n=2000, seed=1)[:, 0, 0].min()
    # The smallest of 2,000 even draws lies between the levels 0 and 1 / 2,000.
    assert lowest < 100 * np.exp(0.03 * NormalDist().inv_cdf(1 / 2000))
    assert lowest < QUANTILES[0, 0, 0]


def test_draws_at_the_very_ends_have_a_score() -> None:
    class Ends:
        """Draws 0 for the first half and the largest number below 1 for the second."""

        def random(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.where(np.arange(shape[0])[:, None, None] * 2 < shape[0], 0.0, np.nextafter(1, 0))

    assert (1 + np.nextafter(1, 0)) / 2 == 1
    scores = _spread_scores(Ends(), (2, 1, 1)).ravel()
    np.testing.assert_allclose(scores, [NormalDist().inv_cdf(1e-12), NormalDist().inv_cdf(1 - 1e-12)])
