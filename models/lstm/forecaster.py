"""The `lstm` forecaster: small networks on volatility-scaled log returns, averaged and calibrated."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from models.catalog import family
from models.errors import NotEnoughCandles
from models.features import Features, RecentFeatures, make_features
from models.forecasts import Forecast
from models.frames import CandleFrame, closed_by, fingerprint
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.lstm.backend import device
from models.lstm.fleet import Member, TrainingConfig, predict, train_fleet
from models.lstm.network import WEIGHT_NAMES, NetworkConfig, Weights, check_weights, stacked
from models.markets import markets_to_learn_from
from models.quantiles import LEVELS, centred, forecasts_from_log_returns, origin_rows
from models.schedule import quarters_before

CALIBRATION = "calibration"
# Quantiles of fewer out-of-sample residuals have more noise than the error they would correct.
LEAST_RESIDUALS = 250
# The weight of the calibrated quantiles; the networks' own quantiles have the rest. On 2018-2020 equal weights scored
# between the two extremes, and they depend less on a few residuals in the tails than full calibration does.
CALIBRATED_SHARE = 0.5
# A distribution's scale is the width of its central 80 % band divided by that of a standard normal.
_LOW, _HIGH, _NORMAL_BAND = int(np.argmin(np.abs(LEVELS - 0.1))), int(np.argmin(np.abs(LEVELS - 0.9))), 2.563103


@dataclass(frozen=True)
class LstmConfig:
    """How the networks of one model are trained; the defaults did best on 2018-2020 (docs/forecasting.md).

    More epochs overfit quickly, and stopping early would need later data, so their number is fixed: `epochs` over
    several markets, `epochs_alone` where there is only one. `calibration_quarters` past quarters are forecast out of
    sample for the calibration; 0 means no calibration.
    """

    members: int = 5
    hidden: int = 32
    dropout: float = 0.2
    epochs: int = 10
    epochs_alone: int = 20
    learning_rate: float = 3e-3
    fine_tune_epochs: int = 1
    fine_tune_rate: float = 1e-4
    calibration_quarters: int = 8
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

    Calibration is filtered historical simulation per step (Barone-Adesi, Giannopoulos and Vosper, 1999). Further
    ensembles are trained up to the start of each of the last quarters, and each forecasts its quarter in every market.
    The quantiles of the actual returns, divided by the forecast scale, replace half of the Student-t's shape. All those
    returns were known at the cutoff, and none was in the training data of the networks that forecast it.
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
            for quarter in self._calibration_quarters(request, fleet):
                fleet.add(request, quarter)
        fleet.train(progress)
        calibrations = [self._calibration(request, fleet) for request in requests]
        seconds = (time.perf_counter() - began) / len(requests)
        return [
            TrainedModel(
                model=self.name,
                config=self._record(request, fleet),
                cutoff=request.cutoff,
                seed=request.seed,
                data_fingerprint=fleet.fingerprint(request),
                weights=fleet.ensemble(request, request.cutoff) | calibration,
                device=device(),
                seconds=seconds,
            )
            for request, calibration in zip(requests, calibrations, strict=True)
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
        network = NetworkConfig(**trained.config["network"])
        if horizon > network.horizon:
            raise ValueError(f"expected at most the {network.horizon} steps {self.name} was trained for, got {horizon}")
        weights = _networks(trained.weights)
        check_weights(network, weights)
        lookback = TrainingConfig(**trained.config["training"]).chunk
        scaled = _ensemble_quantiles(features, rows, weights, lookback)
        if CALIBRATION in trained.weights:
            calibrated = trained.weights[CALIBRATION].astype(np.float64) * _scale(scaled)[..., None]
            scaled = CALIBRATED_SHARE * calibrated + (1 - CALIBRATED_SHARE) * scaled
        return scaled[:, :horizon] * features.sigma[rows, :horizon, None]

    def _calibration_quarters(self, request: TrainRequest, fleet: "_Fleet") -> list[datetime]:
        if request.init_from is not None:
            return []
        return [
            quarter
            for quarter in quarters_before(request.cutoff, self.config.calibration_quarters)
            if fleet.longest(request, quarter) >= self.min_training
        ]

    def _calibration(self, request: TrainRequest, fleet: "_Fleet") -> dict[str, NDArray[np.float32]]:
        """Return the quantiles of realised returns over the forecast scale, (H, 23), if there are enough returns."""
        if request.init_from is not None:
            # A fine-tuned ensemble keeps the calibration of the ensemble it comes from: those residuals are older than
            # its cutoff.
            inherited = request.init_from.weights.get(CALIBRATION)
            return {} if inherited is None else {CALIBRATION: np.asarray(inherited)}
        quarters = self._calibration_quarters(request, fleet)
        if not quarters:
            return {}
        parts = []
        for first, end in pairwise([*quarters, request.cutoff]):
            for name in fleet.learnt_from(request, first):
                rows, residuals = fleet.residuals(request, name, first, end)
                parts.append(realised(rows, residuals, _closed_rows(request.markets[name], request.cutoff)))
        table = calibration_table(np.concatenate(parts))
        return {} if table is None else {CALIBRATION: table}

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
            "calibration_quarters": len(self._calibration_quarters(request, fleet)),
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
        self._residuals: dict[tuple[object, ...], tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

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

    def residuals(
        self, request: TrainRequest, name: str, first: datetime, end: datetime
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows of one market that closed in first..end, and their targets over the scale forecast for them.

        The ensemble that forecasts them is the one with the cutoff `first`.
        """
        candles = request.markets[name]
        key = (*self.plan(request, first), id(candles), end)
        if key not in self._residuals:
            features = self._table.features(candles)
            closed = candles["close_time"]
            rows = np.flatnonzero(((closed >= first) & (closed < end)).to_numpy())
            lookback = self.config.training.chunk
            scaled = _ensemble_quantiles(features, rows, self.ensemble(request, first), lookback)
            self._residuals[key] = rows, features.targets[rows] / _scale(scaled)
        return self._residuals[key]


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
        """Return the span of table rows of the `candles` that had closed by `cutoff`."""
        if id(candles) not in self._frames:
            # The frame is kept alive so that no other frame gets its id.
            self._frames[id(candles)] = candles, self._rows, make_features(candles, horizon=self.horizon)
            self._rows += len(candles)
        _, first, _ = self._frames[id(candles)]
        return first, first + _closed_rows(candles, cutoff)

    def features(self, candles: CandleFrame) -> Features:
        return self._frames[id(candles)][2]

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


def _scale(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((quantiles[..., _HIGH] - quantiles[..., _LOW]) / _NORMAL_BAND)


def realised(rows: NDArray[np.int64], residuals: NDArray[np.float64], known: int) -> NDArray[np.float64]:
    """Return the residuals, (n_rows, H), with NaN for those whose target lies past the first `known` rows.

    Those rows had closed by the cutoff. `residuals`: actual returns over the forecast scale, from each of `rows`.
    """
    steps = np.arange(1, residuals.shape[1] + 1)
    return np.where(rows[:, None] + steps < known, residuals, np.nan)


def calibration_table(residuals: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Return the quantiles of realised residuals, (H, 23), median removed; None when a step has fewer than 250.

    `residuals`: (n, H), actual returns over the forecast scale; NaN where a return is missing or not realised.
    """
    table = np.empty((residuals.shape[1], len(LEVELS)))
    for step, column in enumerate(residuals.T):
        finite = column[np.isfinite(column)]
        if len(finite) < LEAST_RESIDUALS:
            return None
        table[step] = np.quantile(finite, LEVELS)
    return centred(table).astype(np.float32)


def student_t_quantiles(log_scale: NDArray[np.float32], freedom: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the quantiles, (..., 23), of Student-t distributions around 0; symmetric to the last bit."""
    levels = LEVELS[: len(LEVELS) // 2]
    below = stdtrit(freedom.astype(np.float64)[..., None], levels) * np.exp(log_scale.astype(np.float64))[..., None]
    return np.concatenate([below, np.zeros((*below.shape[:-1], 1)), -below[..., ::-1]], axis=-1)


def _networks(weights: Mapping[str, NDArray[Any]]) -> Weights:
    return {name: values for name, values in weights.items() if name != CALIBRATION}


def _unstacked(trained: TrainedModel) -> Iterator[Weights]:
    weights = _networks(trained.weights)
    for i in range(check_weights(NetworkConfig(**trained.config["network"]), weights)):
        yield {name: np.asarray(weights[name][i]) for name in WEIGHT_NAMES}
