"""On SQLite only steps that write take the write lock, so other processes wait only for writes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from markets import forecast_now, ingest
from sqlalchemy import Engine, event
from synthetic import random_walk

from models.forecasts import BASELINE, REFERENCES
from models.times import RunClock
from tasks.steps.gate import ensure_champion
from tasks.steps.score import score_matured
from tasks.steps.train import baseline_version
from tasks.steps.watch import watch

SERIES = "Bitstamp_BTCUSD_d"
MARKET = random_walk(302, seed=2)
WRITES = ("INSERT", "UPDATE", "DELETE")


def day(engine: Engine, folder: Path, n: int) -> None:
    """Run the steps of the daily flow for one series when `n` candles have closed and no training is due."""
    now = MARKET["close_time"].iloc[n - 1].to_pydatetime() + timedelta(minutes=20)
    ingest(engine, folder, SERIES, MARKET.iloc[:n], now=now, accept=False)
    champion = ensure_champion(engine, series=SERIES, baseline=BASELINE, now=now)
    versions = [baseline_version(engine, series=SERIES, model=model, now=now) for model in REFERENCES]
    new = forecast_now(engine, series=SERIES, versions=list({*versions, champion}), clock=RunClock(now))
    assert len(new) == len(REFERENCES)
    score_matured(engine, series=SERIES, now=now)
    watch(engine, series=SERIES, now=now)


def test_a_day_takes_the_write_lock_once_for_candles_scores_and_each_models_forecast(
    engine: Engine, tmp_path: Path
) -> None:
    statements: list[str] = []

    def listen(connection: Any, *_: object) -> None:
        connection.set_trace_callback(statements.append)

    day(engine, tmp_path / "source", 300)
    day(engine, tmp_path / "source", 301)
    engine.dispose()
    event.listen(engine, "connect", listen)
    day(engine, tmp_path / "source", 302)

    transactions: list[list[str]] = []
    for statement in statements:
        if statement.startswith("BEGIN"):
            transactions.append([])
        if transactions:
            transactions[-1].append(statement)
    locked = [transaction for transaction in transactions if transaction[0] == "BEGIN IMMEDIATE"]
    # One each for the candles, the forecasts of two models and the scores.
    assert len(locked) == 4
    for transaction in transactions:
        assert any(statement.startswith(WRITES) for statement in transaction) == (transaction in locked), transaction
