"""The parser: one small file for each oddity, and real files from many years."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cdd_files import days, read, reasons, times

from storage.errors import CddFormatChanged, CddRefused
from storage.source.closing import Learnt

FIXTURES = Path(__file__).parents[2] / "fixtures" / "cdd"


def test_a_banner_is_skipped_and_its_date_is_the_files_time() -> None:
    file, chunk = read(FIXTURES / "banner_created_crlf.csv")
    assert days(chunk) == ["2019-06-01", "2019-06-02", "2019-06-03", "2019-06-04"]
    assert chunk.close.tolist() == [8553.61, 8732.56, 8115.66, 7964.58]
    assert chunk.volume_base[-1] == 6250.5
    assert chunk.volume_quote[-1] == 48909000
    assert file.file_time == datetime(2019, 6, 4, tzinfo=UTC)
    assert chunk.provisional.tolist() == [False, False, False, True]


def test_the_newest_candle_is_closed_if_the_file_was_made_after_its_close() -> None:
    dated = (FIXTURES / "banner_created_crlf.csv").read_bytes()
    undated = dated.replace(b"Created on 06-04-2019,", b"")
    late = datetime(2019, 6, 5, tzinfo=UTC)
    assert not read(undated, file_time=late)[1].provisional.any()
    # By its banner the file was made before the day was over, so the later time is that of a copy.
    assert read(dated, file_time=late)[1].provisional.tolist()[-1]
    early = datetime(2019, 6, 4, 23, 59, tzinfo=UTC)
    assert read(undated, file_time=early)[1].provisional.tolist()[-1]


def test_what_was_learnt_of_the_source_closes_the_newest_candle_only_where_the_files_time_is_unknown() -> None:
    undated = (FIXTURES / "banner_created_crlf.csv").read_bytes().replace(b"Created on 06-04-2019,", b"")
    close, hour = datetime(2019, 6, 5, tzinfo=UTC), timedelta(hours=1)
    for seen_at, file_time, closed in (
        (close + 2 * hour, None, True),
        (close + hour, None, False),
        (close + 26 * hour, None, False),
        (close + 2 * hour, close - hour, False),
        (close + hour, close, True),
    ):
        _, chunk = read(undated, file_time=file_time, learnt=Learnt(seen_at, 2 * hour))
        assert chunk.provisional.tolist() == [False, False, False, not closed]


def test_a_spreadsheets_dates_are_read_month_first() -> None:
    _, chunk = read(FIXTURES / "spreadsheet_resave.csv")
    assert days(chunk) == ["2018-05-23", "2018-05-24", "2018-05-25", "2018-05-26"]
    assert chunk.volume_base[-1] == 2722.8
    assert chunk.volume_quote[-1] == 20422650.48


def test_semicolons_padding_and_blank_rows_are_read() -> None:
    file, chunk = read(FIXTURES / "semicolons_and_padding.csv")
    assert days(chunk) == ["2019-12-02", "2019-12-03", "2019-12-04"]
    assert file.rows_in == 3


def test_a_european_spreadsheets_numbers_and_dates_are_read() -> None:
    file, chunk = read(FIXTURES / "european_resave.csv")
    assert days(chunk) == ["2019-12-02", "2019-12-03", "2019-12-04"]
    assert chunk.close.tolist() == [7311.7, 7300.5, 7200.1]
    assert chunk.high.tolist() == [7430, 7400.9, 7800.25]
    assert chunk.volume_quote.tolist() == [38_000_000, 30_000_000.5, 56_100_000.75]
    assert file.set_aside == []


def test_thousands_separators_are_not_read_as_decimal_commas() -> None:
    text = 'date,open,high,low,close,volume\n2019-12-02,"7,407.1","7,430","7,150","7,311.7","5,200"\n'
    _, chunk = read(text.encode())
    assert (chunk.open[0], chunk.high[0], chunk.volume_base[0]) == (7407.1, 7430, 5200)


def test_swapped_volumes_are_corrected_and_counted() -> None:
    file, chunk = read(FIXTURES / "modern_swapped_volumes.csv")
    assert chunk.volume_base.tolist() == [10000, 10000, 10000, 9000]
    ratio = chunk.volume_quote / chunk.volume_base
    assert ((chunk.low <= ratio) & (ratio <= chunk.high)).all()
    assert file.checks.swapped.count == 2
    assert [datetime.fromtimestamp(t, UTC).day for t in (file.checks.swapped.first, file.checks.swapped.last)] == [
        26,
        27,
    ]


@pytest.mark.parametrize(
    ("name", "volumes"),
    [("quote_volume_first", [8000.0, 5000.0]), ("poloniex_thirteen_columns", [200.0, 100.0])],
)
def test_volumes_are_assigned_by_their_columns_names(name: str, volumes: list[float]) -> None:
    file, chunk = read(FIXTURES / f"{name}.csv")
    assert chunk.volume_base.tolist() == volumes
    assert file.checks.swapped.count == 0


def test_unix_times_may_have_a_fraction() -> None:
    assert days(read(FIXTURES / "unix_with_point_zero.csv")[1]) == ["2020-11-17", "2020-11-18", "2020-11-19"]


def test_the_unit_of_a_unix_time_is_inferred_from_its_size_in_each_row() -> None:
    _, chunk = read(FIXTURES / "seconds_and_milliseconds.csv", "Binance_BTCUSDT_d")
    assert days(chunk) == ["2020-12-27", "2020-12-28", "2020-12-29", "2020-12-30"]
    assert np.array_equal(chunk.trades, [2500000, np.nan, np.nan, 2066705], equal_nan=True)


def test_hours_before_and_after_noon() -> None:
    _, chunk = read(FIXTURES / "hours_am_pm.csv", "Coinbase_BTCUSD_1h")
    assert times(chunk) == ["2019-10-17 00:00", "2019-10-17 11:00", "2019-10-17 12:00", "2019-10-17 13:00"]
    assert chunk.provisional.tolist() == [False, False, False, False]


def test_of_two_overlapping_days_the_one_that_starts_at_midnight_is_kept() -> None:
    file, chunk = read(FIXTURES / "two_rows_a_day.csv", "Gemini_BTCUSD_d")
    assert days(chunk) == ["2023-09-09", "2023-09-10", "2023-09-11"]
    assert reasons(file) == {"it overlaps another day": 1}
    assert "2023-09-10 04:00" in file.set_aside[0].raw_text


def test_placeholder_rows_are_set_aside_with_that_reason() -> None:
    file, chunk = read(FIXTURES / "zero_placeholders.csv", "Bitstamp_ETHUSD_d")
    assert days(chunk) == ["2017-08-18", "2017-08-19"]
    assert reasons(file) == {"a placeholder": 2}


def test_of_two_rows_of_one_candle_the_more_complete_one_is_kept() -> None:
    file, chunk = read(FIXTURES / "duplicates.csv", "Binance_BTCUSDT_d")
    assert days(chunk) == ["2017-12-17", "2017-12-18", "2017-12-19"]
    assert chunk.volume_base.tolist()[1] == 15300
    assert reasons(file) == {"a duplicate": 1}
    assert file.set_aside[0].line_number == 4


def test_impossible_rows_are_set_aside_with_reason_and_text() -> None:
    file, chunk = read(FIXTURES / "impossible_rows.csv")
    assert days(chunk) == ["2019-12-26", "2019-12-28", "2020-01-02"]
    assert {row.line_number: row.reason for row in file.set_aside} == {
        3: "its high is below its open, low or close",
        4: "a price is not a number",
        5: "a price is zero or negative",
        6: "expected at least 9 cells, got 4",
        8: "its time cannot be read",
    }
    assert all(row.raw_text for row in file.set_aside)
    assert file.rows_in == len(chunk) + len(file.set_aside) == 8


def test_one_volume_and_scientific_notation() -> None:
    _, chunk = read(FIXTURES / "one_volume_scientific.csv")
    assert days(chunk) == ["2021-01-02", "2021-01-03"]
    assert chunk.volume_base.tolist() == [130995, 12000]
    assert np.isnan(chunk.volume_quote).all()
    assert chunk.close.tolist() == [32163, 33000]


def test_a_timestamp_column_may_hold_dates_or_numbers() -> None:
    text = (FIXTURES / "one_volume_scientific.csv").read_text()
    numbers = text.replace("2021-01-03", "1609632000").replace("2021-01-02", "1609545600000")
    assert days(read(numbers.encode())[1]) == ["2021-01-02", "2021-01-03"]


def test_columns_are_found_by_name_in_any_order_and_case() -> None:
    _, chunk = read(FIXTURES / "columns_shuffled_upper.csv")
    assert (chunk.open <= chunk.high).all()
    assert chunk.open.tolist() == [29331, 32163]
    assert chunk.volume_base.tolist() == [130995, 12000]


def test_an_outage_day_is_kept() -> None:
    file, chunk = read(FIXTURES / "outage.csv", "Bitstamp_BTCUSD_d")
    assert days(chunk) == ["2015-01-05", "2015-01-06", "2015-01-09"]
    assert file.set_aside == []


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("html", CddRefused, "HTML"),
        ("empty", CddRefused, "empty"),
        ("header_only", CddFormatChanged, "not a single row"),
        ("wrong_columns", CddFormatChanged, "expected a header"),
        ("other_pair", CddFormatChanged, "expected rows of BTCUSD"),
    ],
)
def test_a_file_that_is_not_of_the_series_is_refused(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(FIXTURES / f"{name}.csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 50, "this is no text file"),
        (b"unix,date,open" + b"x" * 20_000, "this is no CSV of candles"),
        # A line that does not end within the block that is read at once.
        (b"x" * 4_100_000, "line 1 is over 10000 characters long: this is no CSV"),
    ],
    ids=["a picture", "a long line", "an endless line"],
)
def test_bytes_that_are_not_a_table_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(CddRefused, match=message):
        read(data)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_file_in_another_unicode_encoding_is_read(encoding: str) -> None:
    text = (FIXTURES / "modern_swapped_volumes.csv").read_text()
    assert days(read(text.encode(encoding))[1]) == days(read(text.encode())[1])


def test_the_order_of_rows_does_not_matter() -> None:
    lines = (FIXTURES / "modern_swapped_volumes.csv").read_text().splitlines()
    expected = read(FIXTURES / "modern_swapped_volumes.csv")[1]
    turned = "\n".join([*lines[:2], *reversed(lines[2:])]) + "\n"
    chunk = read(turned.encode())[1]
    for name in ("open_time", "open", "close", "volume_base", "volume_quote", "provisional"):
        assert np.array_equal(getattr(chunk, name), getattr(expected, name))


# name, data rows, candles, exchanged volumes, first and last open time, rows set aside by reason
REAL = [
    ("Binance_BTCUSDT_d__2020-12-30", 1233, 1232, 0, "2017-08-17 00:00", "2020-12-30 00:00", {"a duplicate": 1}),
    ("Binance_BTCUSDT_d__2025-10-14", 2981, 2981, 0, "2017-08-17 00:00", "2025-10-14 00:00", {}),
    ("Binance_BTCUSDT_minute__2021-05-16", 347, 347, 0, "2021-05-15 18:49", "2021-05-16 00:35", {}),
    ("Binance_ETHUSDT_d__2024-05-12", 2461, 2461, 0, "2017-08-17 00:00", "2024-05-12 00:00", {}),
    ("Bitfinex_BTCUSD_1h__2021-07-22", 27929, 27928, 0, "2018-05-15 06:00", "2021-07-22 00:00", {"a duplicate": 1}),
    ("Bitfinex_LTCUSD_d__2025-07-13", 3809, 3809, 0, "2015-02-08 00:00", "2025-07-13 00:00", {}),
    ("Bitstamp_BTCUSD_d__2020-11-19", 2172, 2172, 0, "2014-11-28 00:00", "2020-11-19 00:00", {}),
    ("Bitstamp_BTCUSD_d__2022-08-20", 2823, 2823, 1180, "2014-11-28 00:00", "2022-08-20 00:00", {}),
    ("Bitstamp_BTCUSD_d__2025-07-05", 3873, 3873, 1180, "2014-11-28 00:00", "2025-07-05 00:00", {}),
    ("Bitstamp_BTCUSD_d__2025-09-24", 3954, 3954, 1180, "2014-11-28 00:00", "2025-09-24 00:00", {}),
    ("Bitstamp_ETHUSD_d__2021-10-16", 2426, 1438, 111, "2017-11-09 00:00", "2021-10-16 00:00", {"a placeholder": 988}),
    ("Bitstamp_XRPUSD_d__2025-07-05", 3092, 3092, 407, "2017-01-17 00:00", "2025-07-05 00:00", {}),
    ("Coinbase_BTCUSD_1h__2019-06-04", 16863, 16863, 0, "2017-07-01 11:00", "2019-06-04 01:00", {}),
    ("Coinbase_BTCUSD_d__2018-05-26", 1273, 1273, 0, "2014-12-01 00:00", "2018-05-26 00:00", {}),
    ("Coinbase_BTCUSD_d__2019-06-04", 1635, 1635, 0, "2014-12-01 00:00", "2019-06-04 00:00", {}),
    ("Coinbase_BTCUSD_d__2020-05-26", 1992, 1992, 0, "2014-12-01 00:00", "2020-05-26 00:00", {}),
    (
        "Gemini_BTCUSD_d__2023-09-11", 3249, 2894, 0, "2015-10-09 04:00", "2023-09-11 00:00",
        {"a price is zero or negative": 1, "it overlaps another day": 354},
    ),
    (
        "gemini_BTCUSD_1hr__2019-07-03", 32724, 32723, 0, "2015-10-08 14:00", "2019-07-03 00:00",
        {"a price is zero or negative": 1},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "candles", "swapped", "first", "last", "aside"), REAL)
def test_every_row_of_a_real_file_is_read(
    shared_data: Path, name: str, rows: int, candles: int, swapped: int, first: str, last: str, aside: dict[str, int]
) -> None:
    series = re.sub("^gemini", "Gemini", name.split("__")[0]).replace("1hr", "1h")
    file, chunk = read(shared_data / f"{name}.csv", series)
    assert (file.rows_in, len(chunk), file.checks.swapped.count) == (rows, candles, swapped)
    assert (times(chunk)[0], times(chunk)[-1]) == (first, last)
    assert reasons(file) == aside
    assert chunk.provisional.sum() == 1
    assert chunk.provisional[-1]
    assert (np.diff(chunk.open_time) > 0).all()
    both = np.isfinite(chunk.volume_quote) & np.isfinite(chunk.volume_base) & (chunk.volume_base > 1)
    ratio = chunk.volume_quote[both] / chunk.volume_base[both]
    inside = (ratio > chunk.low[both] * 0.95) & (ratio < chunk.high[both] * 1.05)
    assert inside.sum() >= 0.99 * len(inside)


def test_real_price_jumps_are_kept(shared_data: Path) -> None:
    _, bitcoin = read(shared_data / "Bitstamp_BTCUSD_d__2025-09-24.csv", "Bitstamp_BTCUSD_d")
    _, ripple = read(shared_data / "Bitstamp_XRPUSD_d__2025-07-05.csv", "Bitstamp_XRPUSD_d")
    for chunk, day, change in ((bitcoin, "2020-03-12", -0.39), (ripple, "2023-07-13", 0.73)):
        row = days(chunk).index(day)
        assert chunk.close[row] / chunk.close[row - 1] - 1 == pytest.approx(change, abs=0.01)


def test_the_samples_gap_is_not_filled(sample_csv: Path) -> None:
    file, chunk = read(sample_csv)
    assert file.rows_in == len(chunk) == 1770
    present = days(chunk)
    at = present.index("2019-03-19")
    assert present[at + 1] == "2019-04-01"


def test_a_row_that_was_cut_in_the_middle_of_its_close_is_set_aside(tmp_path: Path) -> None:
    whole = (FIXTURES / "impossible_rows.csv").read_text().splitlines()
    rows = [
        f"{1577318400 + 86400 * day},2019-12-{26 + day},BTCUSD,100.5,110.5,90.5,104.75,1.5,150.5"
        for day in (4, 3, 2, 1)
    ]
    cut = rows[-1][: rows[-1].index("104.75") + len("104.")]
    path = tmp_path / "Bitstamp_BTCUSD_d.csv"
    path.write_text(
        "\n".join([whole[0], "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD", *rows[:-1], cut])
    )
    file, chunk = read(path)
    assert len(chunk) == 3
    assert [row.reason for row in file.set_aside] == ["expected at least 9 cells, got 7"]


@pytest.mark.parametrize(
    ("head", "remedy"),
    [
        (gzip.compress(b"unix"), "packed with gzip: unpack it"),
        (b"PK\x03\x04", "a ZIP archive or a workbook (xlsx, ods, numbers): unpack it, or save the sheet as CSV"),
        (b"PAR1", "the file is Parquet: save it as CSV"),
        (b'[{"open": 1}]', "expected a CSV file, got JSON: save it as CSV"),
    ],
    # Not the bytes: gzip's tell the time, and the processes of a suite must agree on the names of its tests.
    ids=["gzip", "zip", "parquet", "json"],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(head: bytes, remedy: str) -> None:
    with pytest.raises(CddRefused, match=re.escape(remedy)):
        read(head + b"\0" * 100 if head[:1] != b"[" else head)


def rows_without_volume(n: int) -> list[str]:
    return [f"2021-01-{31 - i},100.1255,110.1255,90.1255,10{i % 10}.123{i % 9 + 1}" for i in range(n)]


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("fast", [True, False])
def test_a_last_row_that_ends_in_a_price_with_fewer_decimals_is_set_aside(cut: int, fast: bool) -> None:
    if fast:
        import pyarrow.csv  # noqa: F401 - now files without oddities are read the quick way, however short they are
    lines = ["date,open,high,low,close", *rows_without_volume(20)]
    whole = "\n".join(lines if fast else [*lines[:5], "", *lines[5:]])
    assert len(read(whole.encode())[1]) == 20
    file, chunk = read(whole[:-cut].encode())
    assert (len(chunk), days(chunk)[0]) == (19, "2021-01-13")
    assert reasons(file) == {"it may be cut": 1}


def test_a_spreadsheets_row_of_totals_replaces_no_candle() -> None:
    rows = [f"{1609459200 + 86400 * i},2021-01-{i + 1:02d},100,110,90,10{i},5" for i in range(9)]
    text = "\n".join(["unix,date,open,high,low,close,volume", *rows, "1610150400,Max,100,110,90,108,5", ""])
    file, chunk = read(text.replace("108,5\n1610150400,Max", "101,4\n1610150400,Max").encode())
    assert chunk.close[-1] == 101
    assert reasons(file) == {"a time is a word": 1}


def test_a_slice_of_gemini_with_two_overlapping_days_a_day_is_read(shared_data: Path) -> None:
    lines = (shared_data / "Gemini_BTCUSD_d__2023-09-11.csv").read_text().splitlines()
    of_spring = [line for line in lines if re.match(r"\d+,2022-0[2-5]", line)]
    file, chunk = read("\n".join([*lines[:2], *of_spring, ""]).encode(), "Gemini_BTCUSD_d")
    assert (len(of_spring), len(chunk), reasons(file)) == (240, 120, {"it overlaps another day": 120})


def test_candles_of_twelve_hours_are_no_days() -> None:
    half_days = [f"2021-01-{i // 2 + 1:02d} {12 * (i % 2):02d}:00" for i in range(60)]
    rows = [f"{at},{100 + i % 7},110,90,{100 + (i + 1) % 7},5" for i, at in enumerate(half_days)]
    with pytest.raises(CddFormatChanged, match="the rows are 12 hours apart, the name says a day"):
        read("\n".join(["date,open,high,low,close,volume", *rows, ""]).encode())
