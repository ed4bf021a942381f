"""The analytic base: a range-based volatility forecast and the distribution of its past surprises."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models import prior
from models.catalog import family
from models.forecasts import Forecast
from models.frames import CandleFrame, empty_candles, fingerprint
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.metrics import LEVELS
from models.quantiles import centred, expanding_quantiles, forecasts_from_log_returns, origin_rows
from models.volatility import FAST, SLOW, SURPRISE_CLIP, ahead, forecast_volatility

# The averages need this many candles; earlier surprises are not counted.
WARM_UP = 60
# The surprises of many markets count as much as so many of the series' own; how wide they are relative to the forecast
# volatility, which differs between markets, counts as much as PRIOR_WIDTHS of its own.
PRIOR_SURPRISES, PRIOR_WIDTHS = 400, 200
_QUARTILES = np.searchsorted(LEVELS, (0.25, 0.75))


class RangeEwma:
    """Last close, and around it filtered historical simulation from a range-EWMA volatility with a weekly season.

    A return's surprise is the return over the volatility forecast it met; the distribution for step h is that of all
    surprises of h-candle returns realised by the origin, times today's forecast, shifted to a median of zero
    (Barone-Adesi, Giannopoulos and Vosper, 1999, "VaR without correlations for portfolios of derivative securities",
    Journal of Futures Markets 19).
    """

    name = "range-ewma"
    min_candles = family("range-ewma").min_candles

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return the same version for each request: everything is computed from the candles before an origin."""
        nothing = fingerprint(empty_candles())
        config = {
            "slow": SLOW,
            "fast": FAST,
            "warm_up": WARM_UP,
            "prior": PRIOR_SURPRISES,
            "prior_widths": PRIOR_WIDTHS,
        }
        return [TrainedModel(self.name, config, None, request.seed, nothing) for request in requests]

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin; raises NotEnoughCandles below 60 candles."""
        rows = origin_rows(candles, origins, self.min_candles)
        return forecasts_from_log_returns(candles, origins, rows, range_ewma_quantiles(candles, rows, horizon))


def range_ewma_quantiles(candles: CandleFrame, rows: NDArray[np.int64], horizon: int) -> NDArray[np.float64]:
    """Return quantiles of log returns, (n_rows, horizon, 23), from the surprises known at each row.

    A young market borrows: quantiles of its n own surprises count n / (n + PRIOR_SURPRISES), those of many markets the
    rest, after their distance between the quartiles was moved to the market's own, as far as n / (n + PRIOR_WIDTHS).
    """
    sigma = forecast_volatility(candles, horizon=horizon).sigma
    # The target of row t, step h is row t + h.
    surprises = np.clip(ahead(candles, horizon) / sigma, -SURPRISE_CLIP, SURPRISE_CLIP)
    result = np.empty((len(rows), horizon, len(LEVELS)))
    for step in range(1, horizon + 1):
        column = surprises[:, step - 1]
        usable = np.flatnonzero(np.isfinite(column[WARM_UP:])) + WARM_UP
        counts = np.searchsorted(usable, rows - step, side="right")
        result[:, step - 1] = _with_borrowed(expanding_quantiles(column[usable], counts), counts, prior.surprises(step))
    return centred(result * sigma[rows][:, :, None])


def _with_borrowed(
    own: NDArray[np.float64], counts: NDArray[np.int64], borrowed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mixture of own quantiles, (n_rows, 23), each of so many surprises, and of those of many markets."""
    n = counts[:, None]
    low, high = _QUARTILES
    # Without any surprise of its own, or with one alone, a market has no width.
    width = np.where(n > 1, own[:, [high]] - own[:, [low]], 0)
    width = np.where(width > 0, width / (borrowed[high] - borrowed[low]), 1)
    shape = borrowed * width ** (n / (n + PRIOR_WIDTHS))
    share = n / (n + PRIOR_SURPRISES)
    return np.where(n > 0, share * own + (1 - share) * shape, borrowed)
