"""Small files that earlier versions misread, refused or accepted without a warning, each with the right result."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from cdd_files import days, read, reasons, times

from storage.errors import CddFormatChanged

CASES = Path(__file__).parents[2] / "fixtures" / "cases"
SERIES = "Coinbase_BTCUSD_d"

# file, series, candles, first, last, last close
READ = [
    ("unix_shortened_by_a_spreadsheet", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("semicolon_runs_on_every_line", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("symbol_tBTCUSD", SERIES, 12, "2019-10-05", "2019-10-16", 7993.54),
    ("symbol_with_dash", SERIES, 12, "2019-10-05", "2019-10-16", 7993.54),
    ("symbol_with_settlement", SERIES, 12, "2019-10-05", "2019-10-16", 7993.54),
    ("unix_of_three_digits_and_two_digit_years", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("unix_shortened_year_first_slashes", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("month_names", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("two_digit_year_first", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("order_open_close_low_high", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("carriage_returns_alone", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("no_header", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("dots_in_volumes", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("two_tables_side_by_side", SERIES, 60, "2019-08-18", "2019-10-16", 7993.54),
    ("two_tables_side_by_side", "Bitfinex_ETHUSD_d", 60, "2019-08-18", "2019-10-16", 181.67),
    (
        "date_and_time_in_two_columns_Bitfinex_BTCUSD_1h", "Bitfinex_BTCUSD_1h", 200, "2021-07-13 16:00",
        "2021-07-21 23:00", 32154.0,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "series", "candles", "first", "last", "close"), READ)
def test_every_candle_of_the_file_is_read(
    name: str, series: str, candles: int, first: str, last: str, close: float
) -> None:
    file, chunk = read(CASES / f"{name}.csv", series)
    assert (file.rows_in, len(chunk), file.set_aside) == (candles, candles, [])
    open_times = times(chunk) if series.endswith("1h") else days(chunk)
    assert (open_times[0], open_times[-1], chunk.close[-1]) == (first, last, close)
    assert (np.diff(chunk.open_time) == file.checks.length).all()
    assert bool(file.remarks) == name.startswith(("no_header", "two_tables"))


def test_a_file_without_a_header_gives_the_same_columns_as_one_with_a_header() -> None:
    _, without_header = read(CASES / "no_header.csv")
    _, with_header = read(CASES / "semicolon_runs_on_every_line.csv")
    for column in ("open_time", "open", "high", "low", "close", "volume_base", "volume_quote"):
        assert np.array_equal(getattr(without_header, column), getattr(with_header, column)), column


def test_volumes_that_cannot_be_read_are_unknown_and_counted() -> None:
    file, chunk = read(CASES / "dots_in_volumes.csv")
    assert np.isnan(chunk.volume_base).all()
    assert np.isnan(chunk.volume_quote).all()
    assert file.checks.unreadable_volumes.count == 60


def test_of_rows_with_one_unix_time_the_one_with_the_matching_date_is_kept() -> None:
    file, chunk = read(CASES / "one_unix_for_twelve_days.csv")
    assert reasons(file) == {"its times contradict each other": 12}
    assert "2019-09-16" in days(chunk)
    assert sorted(datetime.fromtimestamp(row.open_time or 0, UTC).day for row in file.set_aside) == list(range(17, 29))
    assert "'Date' says 2019-09-28 00:00, 'Timestamp' 2019-09-16 00:00" in file.set_aside[0].reason


def test_a_row_cut_in_its_last_cell_is_set_aside() -> None:
    file, chunk = read(CASES / "cut_inside_the_last_cell.csv")
    assert days(chunk)[0] == "2019-10-06"
    assert len(chunk) == 11
    assert file.set_aside[0].reason.startswith("it was cut: no line end follows it")
    assert file.set_aside[0].raw_text.endswith(",308735")


def test_hourly_rows_in_a_daily_file_are_refused() -> None:
    with pytest.raises(
        CddFormatChanged, match="rows are an hour apart, the name says a day; it may be Bitfinex_BTCUSD_1h"
    ):
        read(CASES / "hourly_rows_as_Bitfinex_BTCUSD_d.csv", "Bitfinex_BTCUSD_d")


def test_zero_prices_with_trades_are_not_placeholders() -> None:
    file, chunk = read(CASES / "prices_rounded_to_zero_IOTABTC_1h.csv", "Binance_IOTABTC_1h")
    assert len(chunk) == 6
    assert reasons(file) == {"every price is zero, and there are trades": 114}
