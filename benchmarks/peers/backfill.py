"""Compares a backfill with one retraining per day: python benchmarks/peers/backfill.py [FILE] [--model M] [--days N]

candlecast's backfill of a year trains one fleet, with a model for the start of each quarter, and forecasts 365
origins. The other method retrains for each origin on all candles up to it, as freqtrade's FreqAI does in a backtest
with `backtest_period_days` 1. It uses the same networks and code, is measured on N days of the year and scaled up to
365. FILE holds daily candles; the default is the bundled sample.
"""

import argparse
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from peer import ROOT, Cost, machine, median, table, timed

if TYPE_CHECKING:
    from models.frames import CandleFrame

YEAR = 365
HORIZON = 7
STEPS = (1, 3, 7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "sample" / "Coinbase_BTCUSD_d.csv")
    parser.add_argument("--model", default="lstm", choices=("lstm", "blend"))
    parser.add_argument("--days", type=int, default=10, help="days of the year for which a model is retrained")
    parser.add_argument("--rounds", type=int, default=3, help="number of backfills of the whole year")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen.file, chosen.model, days=chosen.days, rounds=chosen.rounds, folder=Path(folder))


def measure(file: Path, model: str, *, days: int, rounds: int, folder: Path) -> None:
    from benchmarks import quality
    from models.catalog import forecaster
    from models.interface import TrainRequest
    from storage.candles import read_history
    from storage.database.engine import open_database
    from tasks.steps.backfill import BackfillJob, backfill, possible_origins

    engine = open_database(f"sqlite:///{folder / 'candles.db'}")
    (series,) = quality.prepare(engine, [file])
    with engine.connect() as conn:
        history = read_history(conn, series=series)
    candles = history.known_at()
    closed = [moment.to_pydatetime() for moment in candles["close_time"]]
    # The newest origins have no actual closes yet.
    origins = possible_origins(closed, model=model, start=closed[0], end=closed[-1])[-YEAR - HORIZON : -HORIZON]
    job = BackfillJob(series, (model,), origins[0], origins[-1], quality.NOW, horizon=HORIZON)
    engine.dispose()
    chosen = [origins[place] for place in np.linspace(0, YEAR - 1, days).round().astype(int)]

    def whole_year(number: int) -> Cost:
        copy = folder / f"{number}.db"
        shutil.copy(folder / "candles.db", copy)
        filled = open_database(f"sqlite:///{copy}")
        cost = timed(lambda: backfill(filled, job, model=model, history=history))
        stored = quality.stored_quantiles(filled, series, model, chosen)
        filled.dispose()
        return Cost(cost.seconds, cost.cpu, (cost.result.stored, stored))

    retrained = forecaster(model)

    def one_day(origin: datetime) -> Cost:
        def retrain() -> NDArray[np.float64]:
            (trained,) = retrained.train([TrainRequest({series: candles}, origin)])
            (forecast,) = retrained.forecast(trained, candles, [origin], HORIZON)
            return np.asarray(np.log(forecast.values))

        return timed(retrain)

    # The first training of a process also compiles; it is left out on both sides.
    whole_year(0)
    years: list[Cost] = []
    of_days: dict[datetime, Cost] = {}
    one_day(chosen[0])
    for number in range(rounds):
        years.append(whole_year(1 + number))
        for origin in chosen[number::rounds]:
            of_days[origin] = one_day(origin)
    print(f"candlecast on {machine()}")
    print(f"\n{series}, {model}: {YEAR} origins, with a retraining for {days} of them; medians of {rounds} backfills\n")
    seconds, cpu = (median(getattr(cost, kind) for cost in years) for kind in ("seconds", "cpu"))
    stored, quantiles = years[-1].result
    rows = [["backfill, a fleet for all quarters", stored, "1.0", "1.0", *crps(candles, chosen, quantiles)]]
    scaled_up = [YEAR * median(getattr(cost, kind) for cost in of_days.values()) for kind in ("seconds", "cpu")]
    forecasts = np.stack([of_days[origin].result for origin in chosen])
    rows.append(
        [f"one retraining per day, scaled up to {YEAR}", days, f"{scaled_up[0] / seconds:.0f}",
         f"{scaled_up[1] / cpu:.0f}", *crps(candles, chosen, forecasts)]
    )  # fmt: skip
    head = [
        "",
        "forecasts made",
        "time, candlecast's is 1",
        "CPU, candlecast's is 1",
        *(f"CRPS x100, step {step}" for step in STEPS),
    ]
    print(table(head, rows))


def crps(candles: "CandleFrame", origins: list[datetime], quantiles: NDArray[np.float64]) -> list[str]:
    """Return the mean CRPS x100 of log returns at STEPS, for quantiles of log prices from `origins`."""
    from models import metrics

    row_of = {moment.to_pydatetime(): row for row, moment in enumerate(candles["close_time"])}
    close = np.log(candles["close"].to_numpy())
    rows = np.array([row_of[origin] for origin in origins])[:, None]
    scores = metrics.crps(close[rows + np.arange(1, HORIZON + 1)], quantiles)
    return [f"{100 * scores[:, step - 1].mean():.3f}" for step in STEPS]


if __name__ == "__main__":
    main()
