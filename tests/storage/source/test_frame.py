"""A file read without a database: it has the same candles, oldest first, without an unfinished one."""

from datetime import UTC, datetime

import numpy as np
import pytest

from models.candles import CANDLE_COLUMNS, SeriesName
from storage.errors import CddFormatChanged, CddNotFound
from storage.source.frame import read_candle_file

SERIES = SeriesName.parse("Coinbase_BTCUSD_d")


def test_the_sample_has_the_tutorials_rows_in_time_order(sample_csv):
    read = read_candle_file(
        sample_csv, series=SERIES, start=datetime(2014, 12, 1, tzinfo=UTC), end=datetime(2018, 5, 26, tzinfo=UTC)
    )
    assert tuple(read.columns) == CANDLE_COLUMNS
    assert len(read) == 1273
    assert read["open_time"].is_monotonic_increasing
    assert (read["close_time"] - read["open_time"]).dt.days.eq(1).all()
    assert read["close"].iloc[0] == 370.0
    assert read["volume_quote"].iloc[0] == 19.53


def test_the_unfinished_newest_candle_is_left_out(sample_csv):
    read = read_candle_file(sample_csv, series=SERIES)
    assert len(read) == 1769
    assert f"{read['open_time'].iloc[-1]:%Y-%m-%d}" == "2019-10-16"


def test_the_tutorials_own_file_holds_the_samples_closes_but_for_its_unfinished_last_day(shared_data, sample_csv):
    theirs = read_candle_file(shared_data / "Coinbase_BTCUSD_d__2018-05-26.csv", series=SERIES)
    ours = read_candle_file(sample_csv, series=SERIES, end=datetime(2018, 5, 25, tzinfo=UTC))
    assert len(theirs) == len(ours) == 1272
    assert np.array_equal(theirs["close"], ours["close"])


def test_a_missing_file_and_one_without_candles_are_told_apart(tmp_path):
    with pytest.raises(CddNotFound, match=r"there is none at .*nowhere\.csv"):
        read_candle_file(tmp_path / "nowhere.csv", series=SERIES)
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CddFormatChanged, match="header"):
        read_candle_file(tmp_path / "words.csv", series=SERIES)
