"""Reading a file without a database gives its closed candles, oldest first."""

from datetime import UTC, datetime

import numpy as np
import pytest

from models.candles import CANDLE_COLUMNS, SeriesName
from storage.errors import CddFormatChanged, CddNotFound
from storage.source.frame import read_candle_file

SERIES = SeriesName.parse("Coinbase_BTCUSD_d")


def test_the_sample_has_the_tutorials_rows_in_time_order(sample_csv):
    candles = read_candle_file(
        sample_csv, series=SERIES, start=datetime(2014, 12, 1, tzinfo=UTC), end=datetime(2018, 5, 26, tzinfo=UTC)
    )
    assert tuple(candles.columns) == CANDLE_COLUMNS
    assert len(candles) == 1273
    assert candles["open_time"].is_monotonic_increasing
    assert (candles["close_time"] - candles["open_time"]).dt.days.eq(1).all()
    assert candles["close"].iloc[0] == 370.0
    assert candles["volume_quote"].iloc[0] == 19.53


def test_the_unfinished_newest_candle_is_left_out(sample_csv):
    candles = read_candle_file(sample_csv, series=SERIES)
    assert len(candles) == 1769
    assert f"{candles['open_time'].iloc[-1]:%Y-%m-%d}" == "2019-10-16"


def test_the_tutorials_file_has_the_samples_closes_without_its_unfinished_last_day(shared_data, sample_csv):
    tutorials = read_candle_file(shared_data / "Coinbase_BTCUSD_d__2018-05-26.csv", series=SERIES)
    samples = read_candle_file(sample_csv, series=SERIES, end=datetime(2018, 5, 25, tzinfo=UTC))
    assert len(tutorials) == len(samples) == 1272
    assert np.array_equal(tutorials["close"], samples["close"])


def test_a_missing_file_and_one_without_candles_raise_different_errors(tmp_path):
    with pytest.raises(CddNotFound, match=r"there is none at .*nowhere\.csv"):
        read_candle_file(tmp_path / "nowhere.csv", series=SERIES)
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CddFormatChanged, match="header"):
        read_candle_file(tmp_path / "words.csv", series=SERIES)
