"""The one interface of all models, from the last close to the LSTM blend.

A forecaster trains (possibly many models in one go) and forecasts (many origins in one go). Live
forecasts, backfills and backtests are the same two calls with other cutoffs and origins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.forecasts import Forecast

if TYPE_CHECKING:
    from models.frames import CandleFrame

# Called during long work with (steps done, steps in all, name of the work).
Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, what: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class TrainedModel:
    """The result of a training: everything a forecast needs besides candles, and its lineage.

    `cutoff` is the last instant of training data (None for a model that learns nothing), `config` plain JSON
    values, `weights` named arrays (empty for a model without any), `data_fingerprint` the training candles'.
    """

    model: str
    config: Mapping[str, Any]
    cutoff: datetime | None
    seed: int
    data_fingerprint: str
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    device: str = "cpu"
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainRequest:
    """One model to train: on which markets, up to when, from which seed.

    `markets` holds candles by series: one for a model of one series, all that there are for a pooled model, which
    chooses among them (models/markets.py). Candles may reach past `cutoff`; the forecaster uses nothing with
    close_time > cutoff. `init_from` asks for fine-tuning from those weights instead of training from scratch.
    """

    markets: "Mapping[str, CandleFrame]"
    cutoff: datetime
    seed: int = 0
    init_from: TrainedModel | None = None

    @property
    def candles(self) -> "CandleFrame":
        """The candles of the one market; raises ValueError when there are several."""
        if len(self.markets) != 1:
            raise ValueError(f"expected the candles of one series, got {len(self.markets)}: {sorted(self.markets)}")
        return next(iter(self.markets.values()))


class Forecaster(Protocol):
    """A model family: trains, and forecasts with what it trained."""

    name: str

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return one trained model a request, in order.

        Raises NotEnoughCandles when a request has too few candles before its cutoff, and TrainingFailed when a
        training ends without finite weights.
        """
        ...

    def forecast(
        self, trained: TrainedModel, candles: "CandleFrame", origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin, in order.

        Each origin must be the close_time of a candle; the forecast sees that candle and earlier ones only, so
        changing or removing later candles changes nothing. Raises NotEnoughCandles, naming the origin.
        """
        ...
