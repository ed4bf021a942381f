"""The `blend` forecaster: networks, boosted trees and the analytic base, with the past year mixed in at long steps."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.boosting import NAMES, BoostingConfig, boosted, fit_boosting
from models.catalog import family
from models.features import Features, make_features
from models.forecasts import Forecast
from models.frames import CandleFrame
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.lstm.forecaster import Lstm, LstmConfig
from models.naive import naive_quantiles
from models.quantiles import forecasts_from_log_returns, origin_rows, symmetric
from models.range_ewma import range_ewma_quantiles

# The shares of the networks and of the trees; `range-ewma` has the rest.
LSTM_SHARE = BOOSTING_SHARE = 0.4
# How much of the trees' skew is added.
SKEW_SHARE = 0.75
# Volatility returns to its mean, and an exponential average does not know that. So the past year's returns get a share
# that rises from 0 at step 1 to this at step 7.
ANCHOR = 0.3
ANCHOR_STEPS = 7


class Blend:
    """40 % each `lstm` and boosted trees, 20 % `range-ewma`, then up to 30 % `naive`; quantile by quantile.

    Averaging quantiles keeps a distribution's shape where averaging probabilities would widen it (Lichtendahl et al.,
    2013, Management Science 59). Each part is made symmetric first: the skew of a market's past returns is the trend of
    those years, and cost half a percent at step 7. What can be forecast of the skew, the trees add. The shares were
    chosen on 2018-2020 (docs/forecasting).
    """

    name = "blend"
    min_candles = family("blend").min_candles

    def __init__(self, config: LstmConfig | None = None, boosting: BoostingConfig | None = None) -> None:
        self._lstm = Lstm(config)
        self._boosting = boosting or BoostingConfig()

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return one trained blend a request; raises as Lstm.train does.

        Fine-tuning changes the networks only; the trees stay those of the last training from scratch.
        """
        asked = [
            request if request.init_from is None else replace(request, init_from=_networks_of(request.init_from))
            for request in requests
        ]
        networks = self._lstm.train(asked, progress)
        features_of: dict[int, Features] = {}
        trained = []
        for number, (request, network) in enumerate(zip(requests, networks, strict=True)):
            progress(number, len(requests), "boosting")
            began = time.perf_counter()
            trees = self._trees(request, network.config["learnt_from"], features_of)
            trained.append(
                replace(
                    network,
                    model=self.name,
                    config={
                        "lstm": network.config,
                        "learnt_from": network.config["learnt_from"],
                        "boosting": asdict(self._boosting),
                        "lstm_share": LSTM_SHARE,
                        "boosting_share": BOOSTING_SHARE,
                        "skew_share": SKEW_SHARE,
                        "anchor": ANCHOR,
                    },
                    weights={**network.weights, **trees},
                    seconds=network.seconds + time.perf_counter() - began,
                )
            )
        return trained

    def _trees(
        self, request: TrainRequest, learnt_from: Sequence[str], features_of: dict[int, Features]
    ) -> dict[str, NDArray[Any]]:
        if request.init_from is not None:
            return {name: np.asarray(request.init_from.weights[name]) for name in NAMES}
        parts = []
        for name in learnt_from:
            frame = request.markets[name]
            if id(frame) not in features_of:
                features_of[id(frame)] = make_features(frame, horizon=Lstm.horizon)
            parts.append((features_of[id(frame)], int((frame["close_time"] <= request.cutoff).sum())))
        return fit_boosting(parts, seed=request.seed, config=self._boosting)

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin; raises as Lstm.forecast and RangeEwma.forecast do."""
        if not origins:
            return []
        rows = origin_rows(candles, origins, self.min_candles)
        features = self._lstm.features.of(candles)
        networks = self._lstm.quantiles(_networks_of(trained), features, rows, horizon)
        trees = boosted(trained.weights, features, rows, horizon)
        base, past_year = (part(candles, rows, horizon) for part in (range_ewma_quantiles, naive_quantiles))
        of_lstm, of_trees, of_skew, most = (
            float(trained.config[name]) for name in ("lstm_share", "boosting_share", "skew_share", "anchor")
        )
        even = of_lstm * networks + of_trees * trees.quantiles + (1 - of_lstm - of_trees) * base
        anchor = anchor_shares(horizon, most)[:, None]
        blended = (1 - anchor) * symmetric(even) + anchor * symmetric(past_year)
        quantiles = blended + (1 - anchor) * of_skew * trees.skew[:, None]
        return forecasts_from_log_returns(candles, origins, rows, quantiles)


def anchor_shares(horizon: int, most: float = ANCHOR) -> NDArray[np.float64]:
    """Return the share of the past year's returns at steps 1..horizon: from 0 linearly to `most` at step 7."""
    return np.asarray(most * np.clip(np.arange(horizon) / (ANCHOR_STEPS - 1), 0, 1))


def _networks_of(blend: TrainedModel) -> TrainedModel:
    weights = {name: values for name, values in blend.weights.items() if name not in NAMES}
    return replace(blend, model=Lstm.name, config=blend.config["lstm"], weights=weights)
