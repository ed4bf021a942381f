"""Markets as files of a local source, ingested as real files are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from synthetic import close_times, random_walk

from models.candles import SeriesName
from models.frames import CandleFrame
from models.times import RunClock
from storage.candles import read_history
from storage.database.engine import reading
from storage.decisions import promote
from storage.source.client import CddClient
from tasks.steps.backfill import Backfilled, BackfillJob, backfill
from tasks.steps.forecast import forecast_live, read_newest
from tasks.steps.ingest import IngestReport, ingest_series
from tasks.steps.score import score_matured
from tasks.steps.train import baseline_version

NOW = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)


def write_csv(folder: Path, series: str, candles: CandleFrame) -> Path:
    """Write candles as CryptoDataDownload does: newest first, with one more candle that is not over yet."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{series}.csv"
    last = candles.iloc[-1]
    name = SeriesName.parse(series)
    header = f"unix,date,open,high,low,close,Volume {name.base},Volume {name.quote}"
    lines = ["https://www.CryptoDataDownload.com", header]
    lines.append(f"{int(last.close_time.timestamp())},,{last.close},{last.close},{last.close},{last.close},0.1,")
    lines += [
        f"{int(row.open_time.timestamp())},,{row.open!r},{row.high!r},{row.low!r},{row.close!r},{row.volume_base!r},"
        f"{row.volume_quote!r}"
        for row in reversed(list(candles.itertuples()))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def ingest_walk(
    engine: Engine, folder: Path, *, n: int = 700, seed: int = 1, series: str = "Bitstamp_BTCUSD_d", now: datetime = NOW
) -> CandleFrame:
    """Store `n` closed candles of a random walk and return them."""
    candles = random_walk(n, seed=seed)
    ingest(engine, folder, series, candles, now=now)
    return candles


def ingest(
    engine: Engine, folder: Path, series: str, candles: CandleFrame, *, now: datetime = NOW, accept: bool = True
) -> IngestReport:
    write_csv(folder, series, candles)
    return ingest_series(engine, series=series, client=CddClient(str(folder)), now=now, accept=accept)


def backfill_alone(engine: Engine, job: BackfillJob) -> Backfilled:
    """Backfill the one model of `job` without scoring anything."""
    with reading(engine) as conn:
        history = read_history(conn, series=job.series)
    (model,) = job.models
    return backfill(engine, job, model=model, history=history)


def forecast_now(engine: Engine, *, series: str, versions: list[int], clock: Callable[[], datetime]) -> list[int]:
    """Store forecasts by model `versions` from the newest stored close; returns the versions whose were new."""
    newest = read_newest(engine, series=series)
    return forecast_live(engine, series=series, newest=newest, versions=versions, horizon=7, clock=clock)


def store_live_days(engine: Engine, folder: Path, *, wild: bool, series: str = "Bitstamp_BTCUSD_d") -> None:
    """Store seventy live days of naive and of the champion, range-ewma.

    With `wild` they were made from candles with a tenth of the real moves, so the bands are too narrow.
    """
    candles = random_walk(480, seed=2)
    closes = close_times(candles)
    for day in range(400, 471):
        known = candles.iloc[:day].reset_index(drop=True)
        if wild:
            # These candles have small moves; the file of the last day has the real ones.
            for name in ("open", "high", "low", "close"):
                known[name] = 1000 * (known[name] / 1000) ** 0.1
        ingest(engine, folder, series, known, now=closes[day - 1] + timedelta(minutes=20))
        for model in ("naive", "range-ewma"):
            version = baseline_version(engine, series=series, model=model, now=NOW)
            forecast_live(
                engine,
                series=series,
                newest=read_newest(engine, series=series),
                versions=[version],
                horizon=1,
                clock=RunClock(closes[day - 1]),
            )
        if day == 400:
            with engine.begin() as conn:
                promote(conn, version=version, reason="test", decided_at=NOW)
    ingest(engine, folder, series, candles, now=NOW)
    score_matured(engine, series=series, now=NOW)
