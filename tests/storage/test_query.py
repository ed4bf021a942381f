"""The Python way to read: frames with the views' columns, the command line's filters, and its errors."""

from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine

from models.forecasts import Kind
from storage import query
from storage.errors import DatabaseUnusable, NotFound

DAY = timedelta(days=1)


@pytest.fixture
def filled(store: Any) -> Any:
    naive = store.add_version("naive")
    store.promote(naive)
    store.add_forecasts(naive, [store.origin, store.origin + DAY])
    store.add_forecasts(naive, [store.origin - DAY], kind=Kind.BACKFILL)
    for day in range(3):
        store.add_candle(store.origin + day * DAY, 100.0 + day)
    return store


def test_without_filters_the_champions_newest_live_forecast(filled: Any) -> None:
    frame = query.forecasts(filled.engine)
    assert list(frame["step"]) == list(range(1, 8))
    assert (frame["origin"] == pd.Timestamp(filled.origin + DAY)).all()
    assert str(frame["origin"].dtype) == "datetime64[us, UTC]"
    assert list(frame.columns)[:6] == ["forecast_id", "series", "model", "kind", "origin", "created_at"]


def test_filters_are_those_of_the_command_line(filled: Any) -> None:
    assert len(query.forecasts(filled.engine, filled.series, kind="backfill")) == 7
    assert len(query.forecasts(filled.engine, model="naive")) == 21
    assert len(query.forecasts(filled.engine, start=filled.origin, end=filled.origin)) == 7
    assert len(query.forecasts(filled.engine, start=str(filled.origin.date()), end=date(2030, 1, 1))) == 14
    assert query.forecasts(filled.engine, model="blend").empty


def test_candles_and_skill_are_frames_too(filled: Any) -> None:
    candles = query.candles(filled.engine, filled.series, start=filled.origin + DAY)
    assert list(candles["close"]) == [101.0, 102.0]
    assert candles["series"].unique().tolist() == [filled.series]
    assert query.candles(filled.engine, filled.series, as_of="2001-01-01").empty
    assert query.skill(filled.engine).empty
    assert "naive_crps" in query.skill(filled.engine).columns


def test_what_is_not_there_or_not_meant_is_said_so(filled: Any, tmp_path: Any) -> None:
    with pytest.raises(NotFound, match="stored are: Bitstamp_BTCUSD_d"):
        query.candles(filled.engine, "Kraken_BTCUSD_d")
    with pytest.raises(ValueError, match="before the start"):
        query.forecasts(filled.engine, start="2020-02-01", end="2020-01-01")
    with pytest.raises(ValueError, match="expected a day like"):
        query.forecasts(filled.engine, origin="tomorrow")
    with pytest.raises(DatabaseUnusable, match="candlecast daily"):
        query.forecasts(f"sqlite:///{tmp_path / 'none.db'}")


def test_reading_through_a_writing_engine_writes_nothing(filled: Any, engine: Engine) -> None:
    before = query.forecasts(engine)
    pd.testing.assert_frame_equal(before, query.forecasts(engine))
