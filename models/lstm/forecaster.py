"""The `lstm` forecaster: small networks on volatility-scaled log returns, averaged."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from models.catalog import family
from models.errors import BadWeights, NotEnoughCandles
from models.features import Features, RecentFeatures, make_features
from models.forecasts import Forecast
from models.frames import CandleFrame, closed_by, fingerprint
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.lstm.backend import device
from models.lstm.fleet import Member, TrainingConfig, predict, train_fleet
from models.lstm.network import WEIGHT_NAMES, NetworkConfig, Weights, check_weights, stacked
from models.markets import markets_to_learn_from
from models.metrics import LEVELS
from models.quantiles import forecasts_from_log_returns, origin_rows

# The features of a market's first candles are averages of too few values, so no network learns from these rows.
WARM_UP = 60


@dataclass(frozen=True)
class LstmConfig:
    """How the networks of one model are trained; the defaults did best on 2018-2020 (docs/forecasting.md).

    More epochs overfit quickly, and stopping early would need later data, so their number is fixed: `epochs` over
    several markets, `epochs_alone` where there is only one.
    """

    members: int = 3
    hidden: int = 32
    dropout: float = 0.2
    epochs: int = 10
    epochs_alone: int = 20
    learning_rate: float = 3e-3
    fine_tune_epochs: int = 1
    fine_tune_rate: float = 1e-4
    training: TrainingConfig = field(default_factory=TrainingConfig)


class _Net(NamedTuple):
    """The identity of a network: a fleet trains equal ones once for all requests."""

    markets: tuple[int, ...]
    cutoff: datetime
    seed: int
    number: int


class Lstm:
    """An ensemble of LSTM(32) networks for all markets: one Student-t distribution per step, around the last close.

    A network reads the 90 candles before the origin as 21 features. For steps 1 to 7 it forecasts the width and the
    tails of the log return's distribution, in units of the analytic volatility forecast. The members' quantiles are
    averaged (Lichtendahl, Grushka-Cockayne and Winkler, 2013, "Is it better to average probabilities or quantiles?",
    Management Science 59), which keeps the bands as sharp as the members' own. Each network learns from all markets,
    and one ensemble serves them all: its inputs are ratios, so that it can read any market.
    """

    name = "lstm"
    horizon = 7
    min_candles = family("lstm").min_candles
    min_training = family("lstm").min_training

    def __init__(self, config: LstmConfig | None = None) -> None:
        self.config = config or LstmConfig()
        self.features = RecentFeatures(self.horizon)

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return one trained ensemble per request; all networks of all requests are trained as one fleet.

        Raises NotEnoughCandles when no market has `min_training` candles before a cutoff, TrainingFailed when a network
        ends without finite weights, BadWeights when a request starts from the weights of a different network.
        """
        if not requests:
            return []
        began = time.perf_counter()
        fleet = _Fleet(self.config, self.horizon)
        for request in requests:
            if (closed := fleet.longest(request, request.cutoff)) < self.min_training:
                raise NotEnoughCandles(
                    f"{self.name} needs a market with {self.min_training} closed candles to learn from, "
                    f"the longest that passes the data check has {closed} by {request.cutoff.isoformat()}"
                )
            fleet.add(request, request.cutoff)
        fleet.train(progress)
        seconds = (time.perf_counter() - began) / len(requests)
        return [
            TrainedModel(
                model=self.name,
                config=self._record(request, fleet),
                cutoff=request.cutoff,
                seed=request.seed,
                data_fingerprint=fleet.fingerprint(request),
                weights=fleet.ensemble(request, request.cutoff),
                device=device(),
                seconds=seconds,
            )
            for request in requests
        ]

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast per origin; on a CPU its bits do not depend on the other origins asked for.

        Raises NotEnoughCandles, naming the origin, below `min_candles`; BadWeights for the weights of a different
        network; ValueError for more steps than the network was trained for.
        """
        if not origins:
            return []
        rows = origin_rows(candles, origins, self.min_candles)
        quantiles = self.quantiles(trained, self.features.of(candles), rows, horizon)
        return forecasts_from_log_returns(candles, origins, rows, quantiles)

    def quantiles(
        self, trained: TrainedModel, features: Features, rows: NDArray[np.int64], horizon: int
    ) -> NDArray[np.float64]:
        """Return quantiles of log returns, (n_rows, horizon, 23), forecast from each row; raises as `forecast` does."""
        if "learnt_from" not in trained.config:
            raise BadWeights(
                "expected networks for all series of an interval, got those of one series, which an earlier candlecast "
                "trained; the next training replaces them"
            )
        network = NetworkConfig(**trained.config["network"])
        if horizon > network.horizon:
            raise ValueError(f"expected at most the {network.horizon} steps {self.name} was trained for, got {horizon}")
        weights = dict(trained.weights)
        check_weights(network, weights)
        lookback = TrainingConfig(**trained.config["training"]).chunk
        scaled = _ensemble_quantiles(features, rows, weights, lookback)
        return scaled[:, :horizon] * features.sigma[rows, :horizon, None]

    def _record(self, request: TrainRequest, fleet: "_Fleet") -> dict[str, Any]:
        """Return the facts about the training that forecasts and readers need, as plain JSON values."""
        plan = fleet.plan(request, request.cutoff)
        return {
            "network": asdict(fleet.network),
            "training": asdict(self.config.training),
            "members": len(plan),
            "epochs": [fleet.members[net].epochs for net in plan],
            "learning_rate": fleet.members[plan[0]].learning_rate,
            "mode": "scratch" if request.init_from is None else "fine-tune",
            "learnt_from": fleet.learnt_from(request, request.cutoff),
        }


class _Fleet:
    """The networks that one call of `train` needs, each once, and the one table of features they learn from."""

    def __init__(self, config: LstmConfig, horizon: int) -> None:
        self.config = config
        self.members: dict[_Net, Member] = {}
        self._table = _Table(horizon)
        self._weights: dict[_Net, Weights] = {}
        # The requests outlive the fleet, so no other frame gets the id of one of theirs.
        self._learnt_from: dict[tuple[object, datetime], list[str]] = {}

    @property
    def network(self) -> NetworkConfig:
        return NetworkConfig(self._table.n_features, self.config.hidden, self._table.horizon, self.config.dropout)

    def plan(self, request: TrainRequest, cutoff: datetime) -> list[_Net]:
        """Return the networks of the ensemble of `request` at `cutoff`."""
        markets = tuple(id(request.markets[name]) for name in self.learnt_from(request, cutoff))
        members = self.config.members if request.init_from is None else request.init_from.config["members"]
        return [_Net(markets, cutoff, request.seed, number) for number in range(members)]

    def learnt_from(self, request: TrainRequest, cutoff: datetime) -> list[str]:
        """Return the series that the ensemble of `request` at `cutoff` learns from."""
        key = tuple(sorted((name, id(frame)) for name, frame in request.markets.items())), cutoff
        if key not in self._learnt_from:
            self._learnt_from[key] = markets_to_learn_from(request.markets, cutoff)
        return self._learnt_from[key]

    def longest(self, request: TrainRequest, cutoff: datetime) -> int:
        """Return the closed candles by `cutoff` of the longest market to learn from, 0 without one."""
        names = self.learnt_from(request, cutoff)
        return max((_closed_rows(request.markets[name], cutoff) for name in names), default=0)

    def fingerprint(self, request: TrainRequest) -> str:
        """Return the sha256 of the candles that the ensemble of `request` learns from, market by market."""
        parts = [
            f"{name} {fingerprint(closed_by(request.markets[name], request.cutoff))}"
            for name in self.learnt_from(request, request.cutoff)
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def add(self, request: TrainRequest, cutoff: datetime) -> None:
        config, starts = self.config, None
        if request.init_from is not None:
            starts = list(_unstacked(request.init_from))
        names = self.learnt_from(request, cutoff)
        parts = tuple(self._table.span(request.markets[name], cutoff) for name in names)
        for net in self.plan(request, cutoff):
            if starts is None:
                epochs = config.epochs if len(names) > 1 else config.epochs_alone
                rate, start = config.learning_rate, None
            else:
                epochs, rate, start = config.fine_tune_epochs, config.fine_tune_rate, starts[net.number]
            self.members[net] = Member(parts, (net.seed, net.number), epochs, rate, start)

    def train(self, progress: Progress) -> None:
        fitted = train_fleet(
            *self._table.arrays(),
            list(self.members.values()),
            network=self.network,
            training=self.config.training,
            progress=progress,
        )
        self._weights = {net: member.weights for net, member in zip(self.members, fitted, strict=True)}

    def ensemble(self, request: TrainRequest, cutoff: datetime) -> Weights:
        return stacked([self._weights[net] for net in self.plan(request, cutoff)])


class _Table:
    """Features and targets of several series, one below the other; each frame's features are computed once."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._frames: dict[int, tuple[CandleFrame, int, Features]] = {}
        self._rows = 0

    @property
    def n_features(self) -> int:
        return next(int(features.features.shape[1]) for _, _, features in self._frames.values())

    def span(self, candles: CandleFrame, cutoff: datetime) -> tuple[int, int]:
        """Return the span of table rows of the `candles` that had closed by `cutoff`, the first WARM_UP left out."""
        if id(candles) not in self._frames:
            # The frame is kept alive so that no other frame gets its id.
            self._frames[id(candles)] = candles, self._rows, make_features(candles, horizon=self.horizon)
            self._rows += len(candles)
        _, first, _ = self._frames[id(candles)]
        return first + WARM_UP, first + _closed_rows(candles, cutoff)

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        frames = [features for _, _, features in self._frames.values()]
        return np.concatenate([frame.features for frame in frames]), np.concatenate([frame.targets for frame in frames])


def _closed_rows(candles: CandleFrame, instant: datetime) -> int:
    return int((candles["close_time"] <= instant).sum())


def _ensemble_quantiles(
    features: Features, rows: NDArray[np.int64], weights: Weights, lookback: int
) -> NDArray[np.float64]:
    """Return the members' mean quantiles, (n_rows, H, 23), in units of sigma.

    Candles before a market's first are average ones: every feature of theirs is 0.
    """
    before = np.zeros((lookback - 1, features.features.shape[1]), np.float32)
    table = np.concatenate([before, features.features])
    log_scale, freedom = predict(table, rows + len(before), weights, lookback=lookback)
    return np.asarray(student_t_quantiles(log_scale, freedom).mean(axis=0))


def student_t_quantiles(log_scale: NDArray[np.float32], freedom: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the quantiles, (..., 23), of Student-t distributions around 0; symmetric to the last bit."""
    levels = LEVELS[: len(LEVELS) // 2]
    below = stdtrit(freedom.astype(np.float64)[..., None], levels) * np.exp(log_scale.astype(np.float64))[..., None]
    return np.concatenate([below, np.zeros((*below.shape[:-1], 1)), -below[..., ::-1]], axis=-1)


def _unstacked(trained: TrainedModel) -> Iterator[Weights]:
    weights = dict(trained.weights)
    for i in range(check_weights(NetworkConfig(**trained.config["network"]), weights)):
        yield {name: np.asarray(weights[name][i]) for name in WEIGHT_NAMES}
