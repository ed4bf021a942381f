"""The analytic base: a range-based volatility forecast and the distribution of its past surprises."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.catalog import family
from models.errors import NotEnoughCandles
from models.forecasts import Forecast
from models.frames import CandleFrame, empty_candles, fingerprint
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.quantiles import LEVELS, centred, forecasts_from_log_returns, origin_rows
from models.volatility import FAST, SLOW, ahead, forecast_volatility

# The averages need this many candles; earlier surprises are not counted.
WARM_UP = 60
LEAST_SURPRISES = 100


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
        config = {"slow": SLOW, "fast": FAST, "warm_up": WARM_UP}
        return [TrainedModel(self.name, config, None, request.seed, nothing) for request in requests]

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin; raises NotEnoughCandles below 200 candles, or 100 returns without a gap."""
        rows = origin_rows(candles, origins, self.min_candles)
        return forecasts_from_log_returns(candles, origins, rows, range_ewma_quantiles(candles, rows, horizon))


def range_ewma_quantiles(candles: CandleFrame, rows: NDArray[np.int64], horizon: int) -> NDArray[np.float64]:
    """Return quantiles of log returns, (n_rows, horizon, 23), from the surprises known at each row.

    Raises NotEnoughCandles, naming the instant, where gaps leave too few of them.
    """
    sigma = forecast_volatility(candles, horizon=horizon).sigma
    # The target of row t, step h is row t + h.
    surprises = ahead(candles, horizon) / sigma
    result = np.empty((len(rows), horizon, len(LEVELS)))
    for step in range(1, horizon + 1):
        column = surprises[:, step - 1]
        usable = np.flatnonzero(np.isfinite(column[WARM_UP:])) + WARM_UP
        for i, row in enumerate(rows):
            past = usable[: np.searchsorted(usable, row - step, side="right")]
            if len(past) < LEAST_SURPRISES:
                raise NotEnoughCandles(
                    f"{LEAST_SURPRISES} returns of {step} candles without a gap are needed for a forecast, "
                    f"there are {len(past)} by {candles['close_time'].iloc[row].isoformat()}"
                )
            result[i, step - 1] = np.quantile(column[past], LEVELS)
    return centred(result * sigma[rows][:, :, None])
