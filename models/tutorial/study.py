"""Compares the tutorial's recipe with published models on the same test days: the numbers of docs/study.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.blend import Blend
from models.boosting import BoostingConfig
from models.errors import NotEnoughCandles
from models.forecasts import MEDIAN
from models.frames import CandleFrame
from models.interface import Forecaster, Progress, TrainRequest, silent
from models.lstm.forecaster import LstmConfig
from models.metrics import covered, crps
from models.naive import Naive
from models.schedule import by_quarter
from models.tutorial.forecaster import LEAST_SHARE
from models.tutorial.recipe import DONE_RIGHT, SETUPS, Prepared, Recipe, Setup, count_training_rows, prepare
from models.tutorial.training import Fit, predict_next, train_networks

# Called after each epoch with (epochs done, epochs in all, {label: mean loss over its seeds}).
LossReport = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Trial:
    """One trained network of the recipe and its predictions: closes in quote currency, rows in the setup's order."""

    setup: Setup
    window_size: int
    seed: int
    losses: NDArray[np.float64]
    """(epochs,): mean squared error on scaled closes."""
    prepared: Prepared
    predicted_in_training: NDArray[np.float64]
    """(n_train,): for the days after the training windows."""
    predicted_in_test: NDArray[np.float64]
    """(n_test,): for the rows `prepared.test_rows`."""

    @property
    def label(self) -> str:
        """The trial's setup and window length, without its seed."""
        return label_of(self.setup, self.window_size)


class Line(NamedTuple):
    """One row of the study's table: one model's scores on the test days of one setup, over its seeds.

    `rmse` and `mae` are in quote currency, means over seeds; `rmse_low` and `rmse_high` are the best and worst seed's.
    `rmse_to_naive` is the model's root mean squared error divided by that of naive. `crps` is of log returns, times
    100. For a model that predicts one number it is the mean absolute error, which is the CRPS of a point (Gneiting and
    Raftery, 2007, JASA 102). `coverage80` is the share of days inside the 80 % band, None for a model without bands.
    """

    rows: str
    model: str
    seeds: int
    days: int
    rmse: float
    rmse_low: float
    rmse_high: float
    mae: float
    rmse_to_naive: float
    crps: float
    coverage80: float | None


def label_of(setup: Setup, window_size: int) -> str:
    """Return the label of a setup and a window length: "done right, window 7"."""
    return f"{setup.name}, window {window_size}"


def run_trials(
    closes: NDArray[np.float64],
    recipe: Recipe,
    *,
    window_sizes: Sequence[int],
    seeds: int,
    report: LossReport | None = None,
) -> list[Trial]:
    """Train the recipe on closes (n,), oldest first, once for every setup, window length and seed; return the trials.

    The split is that of `recipe.window_size`, and the other lengths are tested on the same days. Raises
    NotEnoughCandles when there are too few rows for the split, and TrainingFailed as train_networks does.
    """
    train_rows = count_training_rows(len(closes), recipe.window_size)
    plans = [
        (prepare(closes, setup, window_size=size, train_rows=train_rows), size, seed)
        for size in dict.fromkeys(window_sizes)
        for setup in SETUPS
        for seed in range(seeds)
    ]
    labels = [label_of(prepared.setup, size) for prepared, size, _ in plans]

    def report_epoch(done: int, epochs: int, losses: Sequence[float]) -> None:
        if report is not None:
            by_label: dict[str, list[float]] = {}
            for label, loss in zip(labels, losses, strict=True):
                by_label.setdefault(label, []).append(loss)
            report(done, epochs, {label: float(np.mean(values)) for label, values in by_label.items()})

    fitted = train_networks([Fit(prepared.train, seed) for prepared, _, seed in plans], recipe, report_epoch)
    trials = []
    for (prepared, size, seed), network in zip(plans, fitted, strict=True):
        predictions = [
            prepared.scaling.invert(predict_next(network.weights, part.X)[:, None])[:, 0]
            for part in (prepared.train, prepared.test)
        ]
        trials.append(Trial(prepared.setup, size, seed, network.losses, prepared, *predictions))
    return trials


def judge_trials(trials: Sequence[Trial]) -> list[Line]:
    """Return the table's rows for the recipe, by setup and window length; each setup begins with its naive row.

    Naive predicts the close of the row before. As published, with the newest row first, that row is the day after.
    """
    lines = []
    for setup in SETUPS:
        of_setup = [trial for trial in trials if trial.setup == setup]
        if not of_setup:
            continue
        prepared = of_setup[0].prepared
        actual, before = prepared.closes[prepared.test_rows], prepared.closes[prepared.test_rows - 1]
        naive = _point_line(setup, "the row before", actual, before, [before])
        lines.append(naive)
        for size in dict.fromkeys(trial.window_size for trial in of_setup):
            predictions = [trial.predicted_in_test for trial in of_setup if trial.window_size == size]
            lines.append(_point_line(setup, f"recipe, window {size}", actual, before, predictions))
    return lines


def judge_published(
    candles: CandleFrame,
    *,
    series: str,
    window_size: int,
    seed: int = 0,
    quick: bool = False,
    progress: Progress = silent,
) -> list[Line]:
    """Return the table's rows for `naive` and `blend` on the test days, walked forward quarter by quarter.

    `candles` are the recipe's rows of `series`; the blend learns from them alone. A model is left out when it needs
    more candles before the first test day. `quick` trains a much smaller blend, for tests.
    """
    first = count_training_rows(len(candles), window_size)
    closes = candles["close"].to_numpy(np.float64)
    actual, before = closes[first:], closes[first - 1 : -1]
    small = LstmConfig(members=1, epochs_alone=2), BoostingConfig(rounds=10)
    lines = []
    for model in (Naive(), Blend(*small) if quick else Blend()):
        try:
            quantiles = walk_forward(model, candles, first, series=series, seed=seed, progress=progress)
        except NotEnoughCandles:
            continue
        point = np.exp(quantiles[:, MEDIAN]) * before
        returns = np.log(actual / before)
        lines.append(
            _point_line(DONE_RIGHT, model.name, actual, before, [point])._replace(
                crps=100 * float(crps(returns, quantiles).mean()),
                coverage80=float(covered(returns, quantiles)["coverage80"].mean()),
            )
        )
    return lines


def walk_forward(
    model: Forecaster, candles: CandleFrame, first: int, *, series: str, seed: int = 0, progress: Progress = silent
) -> NDArray[np.float64]:
    """Return the quantiles of the next day's log return for the candles in rows first.., (n - first, 23).

    As in a backfill, each is forecast from the close before it, by a model trained up to the start of that close's
    quarter. Raises NotEnoughCandles when there are too few candles before the first.
    """
    closes = candles["close_time"].dt.to_pydatetime()
    quarters = by_quarter(closes[first - 1 : -1])
    trained = model.train([TrainRequest({series: candles}, cutoff, seed=seed) for cutoff in quarters], progress)
    forecasts = [
        forecast
        for fitted, origins in zip(trained, quarters.values(), strict=True)
        for forecast in model.forecast(fitted, candles, origins, 1)
    ]
    before = candles["close"].to_numpy(np.float64)[first - 1 : -1]
    return np.asarray(np.log([forecast.values[0] for forecast in forecasts]) - np.log(before)[:, None])


def beyond_training(trial: Trial) -> float:
    """Return the share of test days whose close lies above every close the trial learnt from."""
    prepared = trial.prepared
    first = int(prepared.test_rows[0])
    return float((prepared.closes[first:] > prepared.closes[:first].max()).mean())


def _point_line(
    setup: Setup,
    model: str,
    actual: NDArray[np.float64],
    before: NDArray[np.float64],
    predictions: Sequence[NDArray[np.float64]],
) -> Line:
    def rmse(values: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.mean((values - actual) ** 2)))

    # A network may predict a price below zero, which has no logarithm.
    positive = [np.maximum(values, LEAST_SHARE * before) for values in predictions]
    errors = [rmse(values) for values in predictions]
    return Line(
        rows=setup.name,
        model=model,
        seeds=len(predictions),
        days=len(actual),
        rmse=float(np.mean(errors)),
        rmse_low=min(errors),
        rmse_high=max(errors),
        mae=float(np.mean([np.abs(values - actual).mean() for values in predictions])),
        rmse_to_naive=float(np.mean(errors)) / rmse(before),
        crps=100 * float(np.mean([np.abs(np.log(values / actual)).mean() for values in positive])),
        coverage80=None,
    )
