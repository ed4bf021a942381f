"""Paths and chances against simpler ways: python benchmarks/paths.py FILE [FILE ...] [--every N] [--samples N]

For every Nth origin of the last years, the model's forecast (range-ewma) is made with the product's own code from
candles up to the origin. From it paths are drawn in three ways: tied together by the ranks of past returns as
`candlecast paths` does; with independent steps and series and the same margins; and as random walks of independent
normal returns a day, with the forecast's standard deviation at each step. The first table shows the energy score of the
log returns, the coverage of the bands of the week's lowest close (of the first file) and, of several files, of the
value after the week of a basket with equal amounts of money.

The other tables judge chances for the first file by their Brier scores: that the close after 1, 3 and 7 days is above a
price, as `candlecast chance` answers, against a normal distribution with the same standard deviation and against
naive; and that any close of the week is beyond a price, from the three kinds of paths. The prices are 2, 5 and 10 %
below and above the last close.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from tabulate import tabulate

from models.accuracy import diebold_mariano
from models.candles import SeriesName
from models.catalog import forecaster
from models.chance import HIGHEST, LOWEST, chance_of
from models.forecasts import MEDIAN, Side
from models.frames import CandleFrame
from models.interface import TrainRequest
from models.metrics import energy_score
from models.normal_scores import logs_at
from models.paths import independent_paths, past_returns, sample_paths
from storage.candles import read_history
from storage.database.engine import open_database, reading
from storage.source.client import CddClient
from tasks.steps.ingest import ingest_series

MODEL, HORIZON, FIRST = "range-ewma", 7, 800
STEPS = (1, 3, 7)
MOVES = (-0.1, -0.05, -0.02, 0.02, 0.05, 0.1)
BANDS = ((80, 0.1, 0.9), (95, 0.025, 0.975))
Array = NDArray[np.float64]


def candles_of(path: Path, folder: Path) -> CandleFrame:
    engine = open_database(f"sqlite:///{folder / (path.stem + '.db')}")
    name = str(SeriesName.of_file(path))
    link = folder / path.stem
    link.mkdir()
    (link / f"{name}.csv").symlink_to(path.resolve())
    ingest_series(engine, series=name, client=CddClient(str(link)), now=datetime(2030, 1, 1, tzinfo=UTC), accept=True)
    with reading(engine) as conn:
        candles = read_history(conn, series=name).known_at()
    engine.dispose()
    return candles


def on_shared_days(frames: list[CandleFrame]) -> list[CandleFrame]:
    shared = set.intersection(*(set(frame["close_time"]) for frame in frames))
    return [frame[frame["close_time"].isin(shared)].reset_index(drop=True) for frame in frames]


def forecasts_of(candles: CandleFrame, rows: range, name: str = MODEL) -> Array:
    model = forecaster(name)
    origins = [candles["close_time"].iloc[row].to_pydatetime() for row in rows]
    (trained,) = model.train([TrainRequest({}, origins[0])])
    return np.stack([each.values for each in model.forecast(trained, candles, origins, HORIZON)])


def deviations(quantiles: Array) -> Array:
    """Return the standard deviation of the log return of each series and step, (n_series, horizon).

    As for paths, the line through the last two stored quantiles is continued beyond them.
    """
    places = ndtri((np.arange(2000) + 0.5) / 2000)
    scores = np.broadcast_to(places[:, None, None], (len(places), *quantiles.shape[:2]))
    return np.asarray(logs_at(scores, np.log(quantiles)).std(axis=0))


def random_walks(quantiles: Array, *, n: int, seed: int) -> Array:
    """Return `n` paths of independent normal returns, (n, n_series, horizon), with the forecast's deviations.

    As in the other paths, the draws are spread evenly over their distribution.
    """
    rng = np.random.default_rng(seed)
    variance = np.diff(deviations(quantiles) ** 2, axis=1, prepend=0)
    draws = ndtri(rng.permuted((np.arange(n)[:, None, None] + rng.random((n, *variance.shape))) / n, axis=0))
    returns = np.cumsum(draws * np.sqrt(np.maximum(variance, 0)), axis=-1)
    return np.asarray(quantiles[..., MEDIAN] * np.exp(returns))


class Judged:
    """Energy scores and hits of one way to draw paths, and its chances to see a close beyond each of MOVES."""

    def __init__(self) -> None:
        self.energy: list[float] = []
        self.hits: dict[str, list[bool]] = {}
        self.chances: list[list[float]] = []

    def add(self, paths: Array, closes: Array, actual: Array) -> None:
        """`paths`: (n, n_series, horizon); `closes`: (n_series,) at the origin; `actual`: (n_series, horizon)."""
        returns, came = np.log(paths / closes[:, None]), np.log(actual / closes[:, None])
        self.energy.append(energy_score(came.ravel(), returns.reshape(len(paths), -1)))
        self._band("lowest close", paths[:, 0].min(axis=1), actual[0].min())
        basket = (paths[..., -1] / closes).mean(axis=1)
        self._band("basket", basket, (actual[:, -1] / closes).mean())
        self.chances.append([bounded(any_beyond(paths[:, 0] / closes[0], move).mean()) for move in MOVES])

    def _band(self, what: str, drawn: Array, actual: float) -> None:
        for percent, low, high in BANDS:
            below, above = np.quantile(drawn, [low, high])
            self.hits.setdefault(f"{what}, {percent} %", []).append(bool(below <= actual <= above))


def any_beyond(relative: Array, move: float) -> NDArray[np.bool_]:
    """Return whether any of the closes, (..., horizon) relative to the last one, is beyond 1 + `move`."""
    beyond = relative < 1 + move if move < 0 else relative > 1 + move
    return np.asarray(beyond.any(axis=-1))


def bounded(chance: float) -> float:
    """Return a chance as the product tells it: never below 1 % nor above 99 %."""
    return min(max(float(chance), LOWEST), HIGHEST)


def stored_chances(quantiles: Array, closes: Array) -> Array:
    """Return what `candlecast chance` answers: (n, steps, moves). `quantiles`: (n, horizon, 23), `closes`: (n,)."""
    return np.array(
        [
            [[chance_of(Side.ABOVE, close * (1 + move), of[step - 1]).value for move in MOVES] for step in STEPS]
            for of, close in zip(quantiles.tolist(), closes.tolist(), strict=True)
        ]
    )


def normal_chances_above(quantiles: Array) -> Array:
    """Return the chances of normal distributions with the deviations of `quantiles`: (n, steps, moves)."""
    prices = [float(np.log1p(move)) for move in MOVES]
    return np.array(
        [
            [[bounded(1 - NormalDist(0, float(of[step - 1])).cdf(price)) for price in prices] for step in STEPS]
            for of in deviations(quantiles)
        ]
    )


def show_chances(chances: dict[str, Array], happened: NDArray[np.bool_], step: int) -> None:
    """Print the Brier score of each kind of chances, (n, events), and by how much the first kind is better."""
    brier = {name: ((given - happened) ** 2).mean(axis=1) for name, given in chances.items()}
    first, *others = brier
    table = [[first, f"{brier[first].mean():.4f}", "", "", f"{misfit(chances[first], happened):.4f}"]]
    for name in others:
        scores = brier[name]
        test = diebold_mariano(brier[first], scores, step=step)
        gain = 1 - brier[first].mean() / scores.mean()
        table.append(
            [
                name,
                f"{scores.mean():.4f}",
                f"{gain:+.2%}",
                f"{test.p_value:.3f}",
                f"{misfit(chances[name], happened):.4f}",
            ]
        )
    head = ["", "Brier score", f"{first} better by", "p", "reliability"]
    print(tabulate(table, head, "simple", disable_numparse=True))


def by_tenth(given: Array, happened: NDArray[np.bool_]) -> list[tuple[int, float, float] | None]:
    """Return for each tenth of chances how many there are, their mean, and the share of events that happened."""
    tenth = np.minimum((given * 10).astype(np.int64), 9)
    parts = [tenth == number for number in range(10)]
    return [
        (int(part.sum()), float(given[part].mean()), float(happened[part].mean())) if part.any() else None
        for part in parts
    ]


def misfit(given: Array, happened: NDArray[np.bool_]) -> float:
    """Return the reliability part of the Brier score over tenths of chances; 0 is best.

    Murphy, 1973, "A new vector partition of the probability score", Journal of Applied Meteorology 12.
    """
    tenths = [tenth for tenth in by_tenth(given, happened) if tenth is not None]
    return sum(n * (mean - share) ** 2 for n, mean, share in tenths) / given.size


def show_reliability(chances: dict[str, Array], happened: NDArray[np.bool_]) -> None:
    """Print how often events happened, by the chance that they were given."""
    table = [
        [
            name,
            *(
                "" if tenth is None else f"{tenth[1]:.0%}: {tenth[2]:.0%} ({tenth[0]})"
                for tenth in by_tenth(given, happened)
            ),
        ]
        for name, given in chances.items()
    ]
    head = ["mean chance: happened (n)", *(f"from {number}0 %" for number in range(10))]
    print(tabulate(table, head, "simple", disable_numparse=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for databases")
    options = parser.parse_args()
    frames = on_shared_days([candles_of(path, options.work) for path in options.files])
    closes = np.stack([frame["close"].to_numpy() for frame in frames], axis=1)
    rows = range(FIRST, len(closes) - HORIZON, options.every)
    quantiles = np.stack([forecasts_of(frame, rows) for frame in frames], axis=1)
    ways = {"paths": Judged(), "independent": Judged(), "random walk": Judged()}
    for place, row in enumerate(rows):
        actual = closes[row + 1 : row + 1 + HORIZON].T
        returns = past_returns(closes[: row + 1], HORIZON)
        drawn = {
            "paths": sample_paths(quantiles[place], returns, n=options.samples, seed=row),
            "independent": independent_paths(quantiles[place], n=options.samples, seed=row),
            "random walk": random_walks(quantiles[place], n=options.samples, seed=row),
        }
        for name, paths in drawn.items():
            ways[name].add(paths, closes[row], actual)
    days = frames[0]["close_time"]
    print(
        f"{len(rows)} origins, {days.iloc[rows[0]]:%Y-%m-%d} to {days.iloc[rows[-1]]:%Y-%m-%d}, {options.samples} paths"
    )
    show_paths(ways, n_series=len(frames), step=-(-HORIZON // options.every))
    later = np.array([closes[row + 1 : row + 1 + HORIZON, 0] / closes[row, 0] for row in rows])
    chances = {
        MODEL: stored_chances(quantiles[:, 0], closes[rows, 0]),
        "normal": normal_chances_above(quantiles[:, 0]),
        "naive": stored_chances(forecasts_of(frames[0], rows, "naive"), closes[rows, 0]),
    }
    for place, step in enumerate(STEPS):
        print(f"\nchance of a close above the last one moved by {moves()}: after {step} days")
        above = later[:, step - 1, None] > 1 + np.array(MOVES)
        at_step = {name: given[:, place] for name, given in chances.items()}
        show_chances(at_step, above, step=-(-step // options.every))
        show_reliability(at_step, above)
    print(f"\nchance of any close of the week beyond the last one moved by {moves()}")
    beyond = np.stack([any_beyond(later, move) for move in MOVES], axis=1)
    of_week = {name: np.array(way.chances) for name, way in ways.items()}
    show_chances(of_week, beyond, step=-(-HORIZON // options.every))
    show_reliability(of_week, beyond)


def moves() -> str:
    return ", ".join(f"{move:+.0%}" for move in MOVES)


def show_paths(ways: dict[str, Judged], *, n_series: int, step: int) -> None:
    tied, *others = ways.values()
    energy = ["energy score", f"{np.mean(tied.energy):.4f}"]
    for way in others:
        p_value = diebold_mariano(tied.energy, way.energy, step=step).p_value
        gain = 1 - np.mean(tied.energy) / np.mean(way.energy)
        energy.append(f"{np.mean(way.energy):.4f} (paths {gain:+.2%}, p {p_value:.1g})")
    quantities = [name for name in tied.hits if n_series > 1 or not name.startswith("basket")]
    hits = [[name, *(f"{np.mean(way.hits[name]):.1%}" for way in ways.values())] for name in quantities]
    print(tabulate([energy, *hits], ["", *ways], "simple", disable_numparse=True))


if __name__ == "__main__":
    main()
