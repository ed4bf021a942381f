"""A first run whose source does not answer: each step fails with its usual message, without SQL, and stores nothing."""

from datetime import UTC, datetime

import pytest
from cdd_server import CddServer, Reply
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from sqlalchemy import Engine, text

from models.errors import NotEnoughCandles
from models.forecasts import BASELINE
from storage.errors import CddUnavailable
from storage.source.client import CddClient
from tasks.steps.gate import ensure_champion
from tasks.steps.ingest import ingest_series
from tasks.steps.score import score_matured
from tasks.steps.train import baseline_version
from tasks.steps.watch import watch

SERIES = "Bitstamp_BTCUSD_d"
NOW = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)


def test_with_a_dead_source_each_step_fails_with_its_message_and_stores_nothing(engine: Engine) -> None:
    with CddServer() as server:
        server.answer = lambda _: Reply(503, b"busy")
        client = CddClient(server.url, sleep=lambda _: None)
        with pytest.raises(CddUnavailable, match="answered HTTP 503"):
            ingest_series(engine, series=SERIES, client=client, now=NOW)
    with pytest.raises(NotEnoughCandles, match=f"{SERIES} has no closed candle yet to forecast from"):
        ensure_champion(engine, series=SERIES, baseline=BASELINE, now=NOW)
    with pytest.raises(NotEnoughCandles, match=f"{SERIES} has no closed candle yet to forecast from"):
        baseline_version(engine, series=SERIES, model=BASELINE, now=NOW)
    assert score_matured(engine, series=SERIES, now=NOW) == 0
    assert watch(engine, series=SERIES, now=NOW) == (None, None, [], None)
    with engine.connect() as conn:
        for table in ("series", "model_versions", "promotions", "findings"):
            assert conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
