"""The study's pictures, one PNG each."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.frames import CandleFrame
from models.tutorial.cell import influence, run_lstm, run_plain_rnn
from models.tutorial.recipe import Setup
from models.tutorial.study import Line, Trial
from models.tutorial.training import fresh_weights

_CLOSE, _TRAINING, _TEST = "#22313f", "#2f7d5d", "#c0582b"
_COLOURS = ("#2f7d5d", "#c0582b", "#3b6ea5", "#8c6bb1", "#b8860b", "#666666")
# Days in the picture of fading gradients: more than the recipe's window of seven, in which the fading hardly shows.
_MEMORY_DAYS = 60


def draw_closes(candles: CandleFrame, quote: str, path: Path) -> Path:
    """Draw the closes over time, the volume below; returns `path`."""
    figure, (upper, lower) = _figure(2, height=4.6, ratios=(3, 1))
    times = _times(candles)
    upper.plot(times, candles["close"].to_numpy(), color=_CLOSE, linewidth=1)
    upper.set_title("Close, the recipe's only column")
    upper.set_ylabel(quote)
    lower.fill_between(times, candles["volume_base"].to_numpy(), color=_CLOSE, alpha=0.5, linewidth=0)
    lower.set_ylabel("volume")
    return _saved(figure, path, upper, lower)


def draw_losses(trials: Sequence[Trial], path: Path) -> Path:
    """Draw each trial's loss by epoch, one colour for the seeds of a label; returns `path`."""
    figure, (axes,) = _figure(1, height=4)
    labels = list(dict.fromkeys(trial.label for trial in trials))
    for trial in trials:
        epochs = np.arange(1, len(trial.losses) + 1)
        axes.plot(
            epochs,
            trial.losses,
            color=_COLOURS[labels.index(trial.label) % len(_COLOURS)],
            linewidth=0.8,
            alpha=0.8,
            label=trial.label if trial.seed == 0 else None,
        )
    axes.set_yscale("log")
    axes.set_title("Loss in training, one line a seed")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error, scaled closes")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    return _saved(figure, path)


def draw_predictions(candles: CandleFrame, trials: Sequence[Trial], quote: str, path: Path) -> Path:
    """Draw one trial of each setup: its predictions over the series, training and test marked; returns `path`."""
    chosen: dict[Setup, Trial] = {}
    for trial in trials:
        chosen.setdefault(trial.setup, trial)
    figure, panels = _figure(len(chosen), height=3.2 * len(chosen))
    for axes, trial in zip(panels, chosen.values(), strict=True):
        prepared = trial.prepared
        # The time of each row, in the order of the setup.
        times = _times(candles)[::-1] if trial.setup.newest_first else _times(candles)
        axes.plot(times, prepared.closes, color=_CLOSE, linewidth=1.2, label="close")
        train_rows = prepared.train.last_row + 1
        axes.plot(
            times[train_rows],
            trial.predicted_in_training,
            color=_TRAINING,
            linewidth=0.8,
            label="predicted in training",
        )
        test_rows = prepared.test_rows
        axes.plot(times[test_rows], trial.predicted_in_test, color=_TEST, linewidth=0.8, label="predicted in the test")
        ends = sorted([times[test_rows[0]], times[test_rows[-1]]])
        axes.axvspan(float(ends[0]), float(ends[1]), color=_TEST, alpha=0.08, linewidth=0)
        # Prices run from two hundred to twenty thousand dollars, and one scale must show both.
        axes.set_yscale("log")
        axes.set_title(f"{trial.label}, seed {trial.seed}")
        axes.set_ylabel(quote)
        axes.legend(frameon=False, fontsize="small", loc="upper left")
    return _saved(figure, path, *panels)


def draw_comparison(lines: Sequence[Line], path: Path) -> Path:
    """Draw each model's error divided by that of naive on the same days, with a bar from its best to its worst seed.

    Returns `path`.
    """
    figure, (axes,) = _figure(1, height=0.45 * len(lines) + 1.2)
    naive = {line.rows: line.rmse / line.rmse_to_naive for line in lines}
    for y, line in enumerate(reversed(lines)):
        low, high = (value / naive[line.rows] for value in (line.rmse_low, line.rmse_high))
        axes.plot([low, high], [y, y], color=_TEST, linewidth=4, alpha=0.35, solid_capstyle="round")
        axes.plot([line.rmse_to_naive], [y], "o", color=_TEST)
        axes.annotate(f"{line.rmse_to_naive:.2f}", (high, y), (8, -3), textcoords="offset points", fontsize="small")
    axes.axvline(1, color=_CLOSE, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(lines)), [f"{line.rows}: {line.model}" for line in reversed(lines)])
    axes.set_xscale("log")
    largest = 1.3 * max(line.rmse_high / naive[line.rows] for line in lines)
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20) if tick <= largest]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.margins(x=0.12)
    axes.set_xlabel("root mean squared error divided by that of naive, same days (1 is “tomorrow = today”)")
    axes.grid(alpha=0.25, axis="x")
    return _saved(figure, path)


def draw_memory(hidden: int, path: Path) -> Path:
    """Draw how much each past day moves the last output, for a plain recurrent network and the LSTM; returns `path`.

    Both are untrained, with the recipe's initial weights. The LSTM is drawn a second time with its forget gate open.
    """
    figure, (axes,) = _figure(1, height=3.6)
    x = np.random.default_rng(0).normal(size=(1, _MEMORY_DAYS, 1))
    fresh: dict[str, NDArray[np.float64]] = {n: np.asarray(v, np.float64) for n, v in fresh_weights(hidden, 0).items()}
    plain = {name: values[..., 2 * hidden : 3 * hidden] for name, values in fresh.items()}
    opened = {**fresh, "bias": np.repeat([0.0, 4.0, 0.0, 0.0], hidden)}
    for label, run, weights in (
        ("plain recurrent network", run_plain_rnn, plain),
        ("LSTM, fresh", run_lstm, fresh),
        ("LSTM, forget gate open", run_lstm, opened),
    ):
        lengths = influence(run, x, weights)
        axes.plot(np.arange(_MEMORY_DAYS)[::-1], lengths / lengths[-1], label=label)
    axes.set_yscale("log")
    axes.set_title("How much each day moves the last output")
    axes.set_xlabel("days before the last")
    axes.set_ylabel("gradient, last day = 1")
    axes.invert_xaxis()
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    return _saved(figure, path)


def _figure(panels: int, *, height: float, ratios: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(panels, 1, squeeze=False, height_ratios=ratios)
    return figure, list(grid[:, 0])


def _saved(figure: Figure, path: Path, *timed: Axes) -> Path:
    """Write the figure and return `path`; `timed` are the axes whose x axis is time."""
    for axes in timed:
        locator = mdates.AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        axes.grid(alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    return path


def _times(candles: CandleFrame) -> NDArray[np.float64]:
    """Return the candles' open times as matplotlib's date numbers."""
    return np.asarray(mdates.date2num(candles["open_time"].dt.to_pydatetime()), np.float64)
