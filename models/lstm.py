"""The `lstm` forecaster: several small networks on volatility-scaled log returns, their quantiles averaged."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from models.backend import device
from models.errors import NotEnoughCandles
from models.features import make_features
from models.forecaster import Progress, TrainedModel, TrainRequest, silent
from models.forecasts import Forecast
from models.frames import CandleFrame, closed_by, fingerprint
from models.network import WEIGHT_NAMES, NetworkConfig, Weights, check_weights, stacked
from models.quantiles import LEVELS, forecasts_from_log_returns, origin_rows
from models.training import Member, TrainingConfig, predict, train_fleet


@dataclass(frozen=True)
class LstmConfig:
    """How the networks of one model are trained; the defaults are those that did best on 2018-2020 (docs/forecasting).

    More epochs overfit quickly, and stopping early would need later data, so their number is fixed.
    """

    members: int = 5
    hidden: int = 32
    dropout: float = 0.2
    epochs: int = 20
    pooled_epochs: int = 10
    learning_rate: float = 3e-3
    fine_tune_epochs: int = 1
    fine_tune_rate: float = 1e-4
    training: TrainingConfig = field(default_factory=TrainingConfig)


class Lstm:
    """An ensemble of LSTM(32) networks with one Student-t distribution a step, around the last close.

    A network reads the 90 candles before the origin as 21 features and says, for steps 1 to 7, how wide and how
    heavy-tailed the log return is in units of the analytic volatility forecast. The members' quantiles are averaged
    (Lichtendahl, Grushka-Cockayne and Winkler, 2013, "Is it better to average probabilities or quantiles?",
    Management Science 59), which keeps the bands as sharp as the members' own. With a pool the networks also learn
    from the other series.
    """

    name = "lstm"
    learns = True
    horizon = 7
    min_candles = 400

    def __init__(self, config: LstmConfig | None = None) -> None:
        self.config = config or LstmConfig()

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return one trained ensemble a request, all networks of all requests trained as one fleet.

        Raises NotEnoughCandles below `min_candles` before a cutoff, TrainingFailed when a network ends without
        finite weights, BadWeights when a request wants to go on from weights of another network.
        """
        if not requests:
            return []
        began = time.perf_counter()
        table = _Table(self.horizon)
        plans = []
        for request in requests:
            seen = closed_by(request.candles, request.cutoff)
            if len(seen) < self.min_candles:
                raise NotEnoughCandles(
                    f"{self.name} needs {self.min_candles} closed candles to learn from, "
                    f"there are {len(seen)} by {request.cutoff.isoformat()}"
                )
            spans = [table.span(frame, request.cutoff) for frame in (request.candles, *request.pool.values())]
            plans.append(self._members(request, [span for span in spans if span is not None]))
        network = NetworkConfig(table.n_features, self.config.hidden, self.horizon, self.config.dropout)
        fitted = iter(
            train_fleet(
                *table.arrays(),
                [member for plan in plans for member in plan],
                network=network,
                training=self.config.training,
                progress=progress,
            )
        )
        weights = [stacked([next(fitted).weights for _ in plan]) for plan in plans]
        seconds = (time.perf_counter() - began) / len(requests)
        return [
            TrainedModel(
                model=self.name,
                config=self._record(request, plan, network),
                cutoff=request.cutoff,
                seed=request.seed,
                data_fingerprint=_fingerprint(request),
                weights=own,
                device=device(),
                seconds=seconds,
            )
            for request, plan, own in zip(requests, plans, weights, strict=True)
        ]

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin; bit for bit the same whichever other origins are asked for (on a CPU).

        Raises NotEnoughCandles, naming the origin, below `min_candles`; BadWeights for weights of another network;
        ValueError for more steps than the network was trained for.
        """
        if not origins:
            return []
        network = NetworkConfig(**trained.config["network"])
        if horizon > network.horizon:
            raise ValueError(f"expected at most the {network.horizon} steps {self.name} was trained for, got {horizon}")
        rows = origin_rows(candles, origins, self.min_candles)
        made = make_features(candles, horizon=network.horizon)
        weights = dict(trained.weights)
        check_weights(network, weights)
        lookback = TrainingConfig(**trained.config["training"]).chunk
        log_scale, freedom = predict(made.features, rows, weights, lookback=lookback)
        scaled = student_t_quantiles(log_scale[..., :horizon], freedom[..., :horizon]).mean(axis=0)
        return forecasts_from_log_returns(candles, origins, scaled * made.sigma[rows, :horizon, None])

    def _members(self, request: TrainRequest, parts: list[tuple[int, int]]) -> list[Member]:
        config = self.config
        if request.init_from is None:
            epochs = config.pooled_epochs if request.pool else config.epochs
            starts: list[Weights | None] = [None] * config.members
            rate = config.learning_rate
        else:
            epochs, rate = config.fine_tune_epochs, config.fine_tune_rate
            starts = list(_unstacked(request.init_from))
        return [
            Member(tuple(parts), (request.seed, number), epochs, rate, start) for number, start in enumerate(starts)
        ]

    def _record(self, request: TrainRequest, plan: list[Member], network: NetworkConfig) -> dict[str, Any]:
        """Return what a forecast and a reader need to know of the training, as plain JSON values."""
        return {
            "network": asdict(network),
            "training": asdict(self.config.training),
            "members": len(plan),
            "epochs": plan[0].epochs,
            "learning_rate": plan[0].learning_rate,
            "mode": "scratch" if request.init_from is None else "fine-tune",
            "pool": sorted(request.pool),
        }


class _Table:
    """Features and targets of several series, one below the other; each frame is worked out once."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._frames: dict[int, tuple[CandleFrame, int]] = {}
        self._features: list[NDArray[np.float32]] = []
        self._targets: list[NDArray[np.float32]] = []
        self._rows = 0

    @property
    def n_features(self) -> int:
        return int(self._features[0].shape[1])

    def span(self, candles: CandleFrame, cutoff: datetime) -> tuple[int, int] | None:
        """Return the rows of `candles` that had closed by `cutoff` and have features; None where there are none."""
        if id(candles) not in self._frames:
            # The frame is kept so that its id stays its own.
            self._frames[id(candles)] = candles, self._rows
            made = make_features(candles, horizon=self._horizon)
            self._features.append(made.features)
            self._targets.append(made.targets)
            self._rows += len(candles)
        _, first = self._frames[id(candles)]
        stop = first + int((candles["close_time"] <= cutoff).sum())
        return (first, stop) if stop > first else None

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.concatenate(self._features), np.concatenate(self._targets)


def student_t_quantiles(log_scale: NDArray[np.float32], freedom: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the quantiles, (..., 23), of Student-t distributions around 0; symmetric to the last bit."""
    levels = LEVELS[: len(LEVELS) // 2]
    below = stdtrit(freedom.astype(np.float64)[..., None], levels) * np.exp(log_scale.astype(np.float64))[..., None]
    return np.concatenate([below, np.zeros((*below.shape[:-1], 1)), -below[..., ::-1]], axis=-1)


def _unstacked(trained: TrainedModel) -> list[Weights]:
    members = check_weights(NetworkConfig(**trained.config["network"]), dict(trained.weights))
    return [{name: np.asarray(trained.weights[name][i]) for name in WEIGHT_NAMES} for i in range(members)]


def _fingerprint(request: TrainRequest) -> str:
    """Return the sha256 that names the candles learnt from; without a pool it is that of the series' own."""
    own = fingerprint(closed_by(request.candles, request.cutoff))
    if not request.pool:
        return own
    parts = [own] + [
        f"{name} {fingerprint(closed_by(frame, request.cutoff))}" for name, frame in sorted(request.pool.items())
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
