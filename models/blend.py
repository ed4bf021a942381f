"""The `blend` forecaster: networks and the analytic base averaged, held by the past year at long steps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.forecaster import Progress, TrainedModel, TrainRequest, silent
from models.forecasts import Forecast
from models.frames import CandleFrame
from models.lstm import Lstm, LstmConfig
from models.naive import naive_quantiles
from models.quantiles import forecasts_from_log_returns, origin_rows
from models.range_ewma import range_ewma_quantiles

LSTM_SHARE = 2 / 3
# Volatility reverts and an exponential average does not know it, so the past year's returns take a share that rises
# from nothing at step 1 to this at step 7.
ANCHOR = 0.45
ANCHOR_STEPS = 7


class Blend:
    """Two thirds `lstm` and one third `range-ewma`, then up to 45 % `naive`; quantile by quantile.

    Averaging quantiles keeps a distribution's shape where averaging probabilities would widen it (Lichtendahl et al.,
    2013, Management Science 59). The shares were chosen on 2018-2020 (docs/forecasting).
    """

    name = "blend"
    learns = True
    min_candles = Lstm.min_candles

    def __init__(self, config: LstmConfig | None = None) -> None:
        self._lstm = Lstm(config)

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return one trained blend a request; raises as Lstm.train does."""
        shares = {"lstm_share": LSTM_SHARE, "anchor": ANCHOR}
        asked = [
            request if request.init_from is None else replace(request, init_from=_networks_of(request.init_from))
            for request in requests
        ]
        return [
            replace(trained, model=self.name, config={"lstm": trained.config, **shares})
            for trained in self._lstm.train(asked, progress)
        ]

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin; raises as Lstm.forecast and RangeEwma.forecast do."""
        if not origins:
            return []
        rows = origin_rows(candles, origins, self.min_candles)
        networks = self._lstm.quantiles(_networks_of(trained), candles, rows, horizon)
        base = range_ewma_quantiles(candles, rows, horizon)
        share = float(trained.config["lstm_share"])
        blended = share * networks + (1 - share) * base
        anchor = anchor_shares(horizon, float(trained.config["anchor"]))[:, None]
        quantiles = (1 - anchor) * blended + anchor * naive_quantiles(candles, rows, horizon)
        return forecasts_from_log_returns(candles, origins, quantiles)


def anchor_shares(horizon: int, most: float = ANCHOR) -> NDArray[np.float64]:
    """Return the share of the past year's returns at steps 1..horizon: from 0 linearly to `most` at step 7."""
    return np.asarray(most * np.clip(np.arange(horizon) / (ANCHOR_STEPS - 1), 0, 1))


def _networks_of(blend: TrainedModel) -> TrainedModel:
    return replace(blend, model=Lstm.name, config=blend.config["lstm"])
