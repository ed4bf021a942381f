"""Measures years of quarterly refits: python benchmarks/walkforward.py FILE [--pool FILE ...] [--start D]

Trains the `lstm` ensembles up to the start of every quarter, forecasts every day of each
quarter, all in memory, and prints the wall time without imports and the peak memory.
"""

import argparse
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from models.candles import SeriesName
from models.frames import CandleFrame
from models.interface import TrainRequest
from models.lstm.backend import device
from models.lstm.forecaster import Lstm
from models.schedule import by_quarter
from storage.candles import read_history
from storage.database.engine import open_database
from storage.source.client import CddClient
from tasks.steps.ingest import ingest_series


def candles_of(file: Path) -> CandleFrame:
    series = str(SeriesName.of_file(file))
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / f"{series}.csv").write_bytes(file.read_bytes())
        engine = open_database(f"sqlite:///{name}/walk.db")
        ingest_series(engine, series=series, client=CddClient(name), now=datetime(2030, 1, 1, tzinfo=UTC))
        with engine.connect() as conn:
            candles = read_history(conn, series=series).known_at()
        engine.dispose()
    return candles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--pool", type=Path, nargs="*", default=[])
    parser.add_argument("--start", default="2018-01-01")
    chosen = parser.parse_args()
    files = [chosen.file, *chosen.pool]
    markets = {str(SeriesName.of_file(file)): candles_of(file) for file in files}
    candles = markets[str(SeriesName.of_file(chosen.file))]
    first = datetime.fromisoformat(chosen.start).replace(tzinfo=UTC)
    origins = [moment for moment in candles["close_time"].dt.to_pydatetime() if moment >= first]
    quarters = by_quarter(origins)
    model = Lstm()
    began = time.perf_counter()
    trained = model.train([TrainRequest(markets, cutoff) for cutoff in quarters])
    middle = time.perf_counter()
    for fold, group in zip(trained, quarters.values(), strict=True):
        model.forecast(fold, candles, group)
    end = time.perf_counter()
    nets = sum(len(fold.weights["head"]) for fold in trained)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{device()}: {len(origins)} origins, {len(quarters)} quarters, {nets} networks")
    print(f"trained in {middle - began:.1f} s, forecast in {end - middle:.1f} s, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
