"""The `tutorial` forecaster: the tutorial's network, done right about time, behind the interface all models share."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.catalog import family
from models.errors import BadWeights, NotEnoughCandles, TrainingFailed
from models.forecasts import Forecast
from models.frames import CandleFrame, closed_by, fingerprint
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.lstm.backend import device
from models.metrics import LEVELS
from models.quantiles import centred, forecasts_from_log_returns, origin_rows
from models.schedule import quarters_before
from models.tutorial.recipe import Recipe
from models.tutorial.scaling import Scaling, fit_scaling
from models.tutorial.training import WEIGHT_NAMES, Fit, Fitted, predict_next, train_networks
from models.tutorial.windows import make_windows
from models.volatility import ahead, seconds

CALIBRATION = "calibration"
CALIBRATION_QUARTERS = 4
# One pass over the data when it goes on from earlier weights, as `lstm` does.
FINE_TUNE_EPOCHS = 1
# Outside its range the network can forecast a price below zero. Forecasts are at least this share of the last close.
LEAST_SHARE = 0.01
# Origins in one matrix product; fewer are filled up, so that one origin alone gets the bits it gets among others.
ORIGINS_PER_CALL = 64


class Tutorial:
    """One LSTM layer of 256 units reads seven closes and forecasts the next; its own forecasts go in for steps 2 to 7.

    The scaler and the network see closes up to the cutoff and nothing later. The recipe has no distribution, so its
    errors give it one: a second network is trained up to four quarters before the cutoff and forecasts the days since
    then, none of which it has seen. The quantiles of actual over forecast, median removed, lie around the first
    network's forecast (historical simulation of forecast errors). All those closes were known at the cutoff.

    One training is two fits of 200 epochs; COSTLY in candlecast/commands/run.py says how long a fit takes. In a
    backfill the second network of a quarter is the first one of four quarters before, so each quarter costs about one
    fit.
    """

    name = "tutorial"
    horizon = 7
    # A year to learn from, and one to be wrong in.
    min_candles = family("tutorial").min_candles

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()

    def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
        """Return one trained network a request, all networks of all requests trained side by side.

        Raises NotEnoughCandles below `min_candles` before a cutoff, TrainingFailed when a network ends without
        finite weights, BadWeights when a request wants to go on from weights of another network.
        """
        if not requests:
            return []
        began = time.perf_counter()
        fresh = [request for request in requests if request.init_from is None]
        fitted = self._networks(fresh, progress)
        trained = []
        for request in requests:
            known = _closed_rows(request.candles, request.cutoff)
            if request.init_from is None:
                network = fitted[_key(request, known)]
                then = _rows_of_the_sibling(request, known)
                calibration = _residual_quantiles(
                    request.candles, fitted[_key(request, then)], self.recipe, then, known
                )
                weights = {**network, CALIBRATION: calibration}
                epochs, mode = self.recipe.epochs, "scratch"
            else:
                weights, epochs, mode = self._fine_tuned(request, known), FINE_TUNE_EPOCHS, "fine-tune"
            trained.append(
                TrainedModel(
                    model=self.name,
                    config={"recipe": asdict(self.recipe), "mode": mode, "epochs": epochs, "rows": known},
                    cutoff=request.cutoff,
                    seed=request.seed,
                    data_fingerprint=fingerprint(closed_by(request.candles, request.cutoff)),
                    weights=weights,
                    device=device(),
                )
            )
        each = (time.perf_counter() - began) / len(requests)
        return [replace(model, seconds=each) for model in trained]

    def forecast(
        self, trained: TrainedModel, candles: CandleFrame, origins: Sequence[datetime], horizon: int = 7
    ) -> list[Forecast]:
        """Return one forecast an origin; bit for bit the same whichever other origins are asked for.

        Raises NotEnoughCandles, naming the origin, below `min_candles`; BadWeights for weights of another network;
        ValueError for more than seven steps.
        """
        if horizon > self.horizon:
            raise ValueError(f"expected at most the {self.horizon} steps {self.name} is calibrated for, got {horizon}")
        if not origins:
            return []
        rows = origin_rows(candles, origins, self.min_candles)
        recipe = Recipe(**trained.config["recipe"])
        _check(trained.weights, recipe)
        closes = candles["close"].to_numpy(np.float64)
        points = point_forecasts(closes, rows, trained.weights, recipe, horizon)
        around = np.asarray(trained.weights[CALIBRATION], np.float64)[None, :horizon]
        quantiles = np.log(points / closes[rows, None])[..., None] + around
        return forecasts_from_log_returns(candles, origins, rows, quantiles)

    def _networks(
        self, requests: Sequence[TrainRequest], progress: Progress
    ) -> dict[tuple[int, int, int], dict[str, NDArray[np.generic]]]:
        """Return every network that the requests need, with its scaling, each once: by frame, rows and seed."""
        wanted: dict[tuple[int, int, int], tuple[Scaling, Fit]] = {}
        for request in requests:
            known = _closed_rows(request.candles, request.cutoff)
            if known < self.min_candles:
                raise NotEnoughCandles(
                    f"{self.name} needs {self.min_candles} closed candles to learn from, "
                    f"there are {known} by {request.cutoff.isoformat()}"
                )
            for rows in (known, _rows_of_the_sibling(request, known)):
                if (key := _key(request, rows)) not in wanted:
                    closes = request.candles["close"].to_numpy(np.float64)[:rows, None]
                    scaling = fit_scaling(closes, cutoff_row=rows - 1)
                    wanted[key] = scaling, self._fit(request, scaling, rows)
        fits = [fit for _, fit in wanted.values()]
        networks = _trained(fits, self.recipe, progress) if fits else []
        return {
            key: {**network.weights, **scaling.as_weights()}
            for (key, (scaling, _)), network in zip(wanted.items(), networks, strict=True)
        }

    def _fit(
        self, request: TrainRequest, scaling: Scaling, rows: int, start: Mapping[str, NDArray[np.float32]] | None = None
    ) -> Fit:
        scaled = scaling.apply(request.candles["close"].to_numpy(np.float64)[:rows, None])
        # A window over a gap pairs days that did not follow each other.
        times = seconds(request.candles, "open_time")[:rows]
        return Fit(make_windows(scaled, self.recipe.window_size, times=times), request.seed, start)

    def _fine_tuned(self, request: TrainRequest, known: int) -> dict[str, NDArray[np.generic]]:
        """Return the weights it starts from after one more epoch; scaling and calibration stay as they were."""
        assert request.init_from is not None
        old = request.init_from.weights
        _check(old, self.recipe)
        scaling = Scaling.from_weights(old)
        fit = self._fit(request, scaling, known, {name: old[name] for name in WEIGHT_NAMES})
        once = Recipe(**{**asdict(self.recipe), "epochs": FINE_TUNE_EPOCHS})
        (network,) = _trained([fit], once, silent)
        return {**old, **network.weights}


def point_forecasts(
    closes: NDArray[np.float64],
    rows: NDArray[np.int64],
    weights: Mapping[str, NDArray[np.generic]],
    recipe: Recipe,
    horizon: int,
) -> NDArray[np.float64]:
    """Return the network's closes 1..horizon days after each row, (n_rows, horizon), in quote currency.

    Step 1 is read from the window that ends with the row, and each later step from a window that ends with the
    network's own answers.
    """
    scaling = Scaling.from_weights(weights)
    network = {name: np.asarray(weights[name], np.float32) for name in WEIGHT_NAMES}
    scaled = scaling.apply(closes[:, None])[:, 0]
    points = np.empty((len(rows), horizon))
    for first in range(0, len(rows), ORIGINS_PER_CALL):
        some = rows[first : first + ORIGINS_PER_CALL]
        filled = np.concatenate([some, np.full(ORIGINS_PER_CALL - len(some), some[0])])
        window = scaled[filled[:, None] + np.arange(1 - recipe.window_size, 1)]
        for step in range(horizon):
            answer = predict_next(network, window[..., None])
            points[first : first + len(some), step] = scaling.invert(answer[: len(some), None])[:, 0]
            window = np.concatenate([window[:, 1:], answer[:, None]], axis=1)
    return np.asarray(np.maximum(points, LEAST_SHARE * closes[rows, None]))


def _residual_quantiles(
    candles: CandleFrame, weights: Mapping[str, NDArray[np.generic]], recipe: Recipe, then: int, known: int
) -> NDArray[np.float64]:
    """Return quantiles of log(actual / forecast), (7, 23), of origins in rows then - 1 .. known."""
    closes = candles["close"].to_numpy(np.float64)[:known]
    rows = np.arange(then - 1, known)
    predicted = np.log(point_forecasts(closes, rows, weights, recipe, Tutorial.horizon) / closes[rows, None])
    # Cut at the last known row: later closes are not used.
    errors = ahead(candles.iloc[:known], Tutorial.horizon)[rows] - predicted
    table = np.empty((Tutorial.horizon, len(LEVELS)))
    for step, column in enumerate(errors.T):
        table[step] = np.quantile(column[np.isfinite(column)], LEVELS)
    return centred(table)


def _rows_of_the_sibling(request: TrainRequest, known: int) -> int:
    """Return how many rows the network that is calibrated on learns from: those of four quarters ago, or half."""
    quarter = quarters_before(request.cutoff, CALIBRATION_QUARTERS)[0]
    return max(_closed_rows(request.candles, quarter), known // 2)


def _trained(fits: Sequence[Fit], recipe: Recipe, progress: Progress) -> list[Fitted]:
    def report(done: int, epochs: int, losses: Sequence[float]) -> None:
        progress(done, epochs, f"{len(losses)} networks, mean loss {np.mean(losses):.5f}, epoch")

    networks = train_networks(fits, recipe, report)
    for network in networks:
        if not all(np.isfinite(values).all() for values in network.weights.values()):
            raise TrainingFailed("a network of the tutorial's recipe ended with weights that are not finite")
    return networks


def _check(weights: Mapping[str, NDArray[np.generic]], recipe: Recipe) -> None:
    n = recipe.hidden_layers
    shapes = {
        "input": (1, 4 * n),
        "recurrent": (n, 4 * n),
        "bias": (4 * n,),
        "head": (n, 1),
        "head_bias": (1,),
        CALIBRATION: (Tutorial.horizon, len(LEVELS)),
    }
    given = {name: np.shape(weights[name]) for name in shapes if name in weights}
    if given != shapes:
        raise BadWeights(f"expected weights of the shapes {shapes}, got {given}")


def _key(request: TrainRequest, rows: int) -> tuple[int, int, int]:
    return id(request.candles), rows, request.seed


def _closed_rows(candles: CandleFrame, instant: datetime) -> int:
    return int((candles["close_time"] <= instant).sum())
