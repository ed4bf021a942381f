"""The baseline model: tomorrow is like today, as uncertain as the past year was."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.catalog import family
from models.errors import NotEnoughCandles
from models.forecasts import BASELINE, Forecast
from models.frames import CandleFrame, empty_candles, fingerprint
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.metrics import LEVELS
from models.quantiles import centred, forecasts_from_log_returns, origin_rows
from models.volatility import log_returns

WINDOW = 365
LEAST_RETURNS = 30


class Naive:
    """Last close, with a 365-candle historical simulation of log returns around it.

    For step h the distribution is that of the overlapping h-candle log returns among the last 365 candles,
    shifted to a median of zero (Hendricks, 1996, "Evaluation of value-at-risk models using historical data",
    FRBNY Economic Policy Review 2(1)).
    """

    name = BASELINE
    min_candles = family("naive").min_candles

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return the same version for each request: nothing is learnt."""
        nothing = fingerprint(empty_candles())
        return [TrainedModel(self.name, {"window": WINDOW}, None, request.seed, nothing) for request in requests]

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin; raises NotEnoughCandles below 60 candles."""
        rows = origin_rows(candles, origins, self.min_candles)
        quantiles = naive_quantiles(candles, rows, horizon, window=int(trained.config["window"]))
        return forecasts_from_log_returns(candles, origins, rows, quantiles)


def naive_quantiles(
    candles: CandleFrame, rows: NDArray[np.int64], horizon: int, *, window: int = WINDOW
) -> NDArray[np.float64]:
    """Return quantiles of log returns, (n_rows, horizon, 23), from the last `window` candles up to each row.

    Raises NotEnoughCandles, naming the instant, where gaps leave too few returns.
    """
    quantiles = np.empty((len(rows), horizon, len(LEVELS)))
    for step in range(1, horizon + 1):
        returns = log_returns(candles, step=step)
        for i, row in enumerate(rows):
            past = returns[max(row + 1 - window, 0) + step : row + 1]
            # A return over a gap spans more time than the step and would widen every band.
            past = past[np.isfinite(past)]
            if len(past) < LEAST_RETURNS:
                raise NotEnoughCandles(
                    f"{len(past)} returns of {step} candles without a gap are too few "
                    f"by {candles['close_time'].iloc[row].isoformat()}"
                )
            quantiles[i, step - 1] = np.quantile(past, LEVELS)
    return centred(quantiles)
