"""Sample paths against independent margins: python benchmarks/paths.py FILE [FILE ...] [--every N] [--samples N]

For every Nth origin of the last years, the model's forecast (range-ewma) is made with the product's own code from
candles up to the origin. From it paths are drawn, tied together by the ranks of past returns as `candlecast paths`
does, and with independent steps and series; both have the same margins. The table shows the energy score of the log
returns, the coverage of the bands of the week's lowest close (of the first file) and, of several files, of the value
after the week of a basket with equal amounts of money.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from models.accuracy import diebold_mariano
from models.candles import SeriesName
from models.catalog import forecaster
from models.frames import CandleFrame
from models.interface import TrainRequest
from models.metrics import energy_score
from models.paths import independent_paths, past_returns, sample_paths
from storage.candles import read_history
from storage.database.engine import open_database, reading
from storage.source.client import CddClient
from tasks.steps.ingest import ingest_series

MODEL, HORIZON, FIRST = "range-ewma", 7, 800
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


def forecasts_of(candles: CandleFrame, rows: range) -> Array:
    model = forecaster(MODEL)
    origins = [candles["close_time"].iloc[row].to_pydatetime() for row in rows]
    (trained,) = model.train([TrainRequest(candles, origins[0])])
    return np.stack([each.values for each in model.forecast(trained, candles, origins, HORIZON)])


class Judged:
    """Energy scores and hits of one way to draw paths, one a origin."""

    def __init__(self) -> None:
        self.energy: list[float] = []
        self.hits: dict[str, list[bool]] = {}

    def add(self, paths: Array, closes: Array, actual: Array) -> None:
        """`paths`: (n, n_series, horizon); `closes`: (n_series,) at the origin; `actual`: (n_series, horizon)."""
        returns, came = np.log(paths / closes[:, None]), np.log(actual / closes[:, None])
        self.energy.append(energy_score(came.ravel(), returns.reshape(len(paths), -1)))
        self._band("lowest close", paths[:, 0].min(axis=1), actual[0].min())
        basket = (paths[..., -1] / closes).mean(axis=1)
        self._band("basket", basket, (actual[:, -1] / closes).mean())

    def _band(self, what: str, drawn: Array, actual: float) -> None:
        for percent, low, high in BANDS:
            below, above = np.quantile(drawn, [low, high])
            self.hits.setdefault(f"{what}, {percent} %", []).append(bool(below <= actual <= above))


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
    tied, apart = Judged(), Judged()
    for place, row in enumerate(rows):
        actual = closes[row + 1 : row + 1 + HORIZON].T
        returns = past_returns(closes[: row + 1], HORIZON)
        tied.add(sample_paths(quantiles[place], returns, n=options.samples, seed=row), closes[row], actual)
        apart.add(independent_paths(quantiles[place], n=options.samples, seed=row), closes[row], actual)
    days = frames[0]["close_time"]
    print(
        f"{len(rows)} origins, {days.iloc[rows[0]]:%Y-%m-%d} to {days.iloc[rows[-1]]:%Y-%m-%d}, {options.samples} paths"
    )
    test = diebold_mariano(tied.energy, apart.energy, step=-(-HORIZON // options.every))
    gain = 1 - np.mean(tied.energy) / np.mean(apart.energy)
    table = [
        [
            "energy score",
            f"{np.mean(tied.energy):.4f}",
            f"{np.mean(apart.energy):.4f}",
            f"{gain:+.2%}, p {test.p_value:.1g}",
        ]
    ]
    quantities = [name for name in tied.hits if len(frames) > 1 or not name.startswith("basket")]
    table += [[name, f"{np.mean(tied.hits[name]):.1%}", f"{np.mean(apart.hits[name]):.1%}", ""] for name in quantities]
    print(tabulate(table, ["", "paths", "independent", "better by"], "simple", disable_numparse=True))


if __name__ == "__main__":
    main()
