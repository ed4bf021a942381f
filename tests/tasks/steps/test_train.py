"""Trained models are registered once, and used without being read from the database again."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import NOW, backfill_alone, ingest_walk
from sqlalchemy import Connection, Engine, event
from synthetic import close_times

import models.features
from models.catalog import forecaster, scope
from models.frames import CandleFrame
from models.interface import TrainedModel
from tasks.steps.backfill import BackfillJob
from tasks.steps.train import _register, load_trained

SERIES = "Bitstamp_BTCUSD_d"
CUTOFF = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_backfill_computes_features_once_and_reads_no_model_that_it_trained(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = ingest_walk(engine, tmp_path / "source", n=640)
    closes = close_times(candles)
    feature_calls, weight_reads = [], []
    make_features = models.features.make_features

    def counted(candles: CandleFrame, **more: Any) -> models.features.Features:
        feature_calls.append(len(candles))
        return make_features(candles, **more)

    @event.listens_for(engine, "before_cursor_execute")
    def note(_conn: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if re.search(r"SELECT.*model_versions\.weights\b", statement, re.DOTALL):
            weight_reads.append(statement)

    # Training calls the original function, which it has imported already, so only forecasting is counted.
    forecaster("lstm")
    monkeypatch.setattr(models.features, "make_features", counted)
    backfilled = backfill_alone(engine, BackfillJob(SERIES, ("lstm",), closes[520], closes[630], NOW))
    quarters = {(close.year, (close.month - 1) // 3) for close in closes[520:631]}
    assert (backfilled.stored, len(quarters)) == (111, 2)
    assert (feature_calls, weight_reads) == ([640], [])
    # A model that was registered before is read.
    backfill_alone(engine, BackfillJob(SERIES, ("lstm",), closes[515], closes[631], NOW))
    assert len(weight_reads) == 2


def test_a_model_that_another_process_registered_first_is_used_instead(engine: Engine, tmp_path: Path) -> None:
    ingest_walk(engine, tmp_path, n=60)
    theirs, ours = (
        TrainedModel("lstm", {"a": 1}, CUTOFF, 0, "f", {"w": np.full(3, value, np.float32)}) for value in (1, 2)
    )
    who = scope("lstm", SERIES)
    (first,) = _register(engine, [theirs], scope=who, purpose="live", now=NOW, init_from=None).values()
    assert first[1] is theirs
    (second,) = _register(engine, [ours], scope=who, purpose="live", now=NOW, init_from=None).values()
    assert second[0] == first[0]
    assert second[1].weights["w"].tolist() == [1, 1, 1]
    with engine.connect() as conn:
        assert load_trained(conn, version=second[0]).weights["w"].tolist() == [1, 1, 1]
