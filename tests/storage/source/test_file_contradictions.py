"""Files that were read wrongly in silence until generated files (test_file_fuzz.py) showed it, a test for each kind."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from cdd_files import days, read, reasons
from file_faults import FAULTS
from file_forms import PRICES, Known, walk

from storage.errors import CddFormatChanged
from storage.source.numerals import numbers
from tasks.steps.holds import Held, hold_if_few_candles

DAILY, HOURLY = "Coinbase_BTCUSD_d", "Bitfinex_BTCUSD_1h"
START = datetime(2014, 3, 7, tzinfo=UTC)


def rows_of(known: Known, *columns: str, symbol: str = "BTC/USD") -> list[str]:
    """Return rows, newest first: a time in each of its forms that `columns` names, and the numbers of the candle."""
    rows = []
    for i, at in enumerate(known.at):
        cells = {name: str(values[i]) for name, values in known.numbers.items()}
        unix = int(at.timestamp())
        cells |= {
            "symbol": symbol,
            "unix": str(unix),
            "date": f"{at:%Y-%m-%d %H:%M:%S}",
            "source": "CryptoDataDownload",
        }
        cells |= {"rounded": f"{float(f'{unix * 1000:.5E}'):.0f}", "day": f"{at.day}/{at.month}/{at.year}"}
        cells["New York"] = f"{at - timedelta(hours=5):%Y-%m-%d %H:%M:%S}"
        rows.append(",".join(cells[column] for column in columns))
    return rows[::-1]


def file_of(header: str, rows: list[str], end: str = "\n") -> bytes:
    return ("\n".join([header, *rows]) + end).encode()


def test_a_unix_time_that_is_written_out_is_known_as_the_column_is() -> None:
    """1364000000000 was rounded like 1363910000000, which has fewer zeros, so it cannot confirm a local time."""
    known = walk(DAILY, 5, datetime(2013, 3, 20, tzinfo=UTC), 1)
    rows = rows_of(known, "rounded", "New York", *PRICES)
    with pytest.raises(CddFormatChanged, match="its times contradict each other"):
        read(file_of("unix,date,open,high,low,close", rows))


def test_one_unix_time_that_may_be_rounded_says_no_hour() -> None:
    row = "1394190000000,07.03.2014,32160.5,32373.2,32097.1,32214.7"
    with pytest.raises(CddFormatChanged, match="the column 'unix' may be rounded"):
        read(file_of("unix,date,open,high,low,close", [row]), HOURLY)
    whole = row.replace("07.03.2014", "07.03.2014 11:00")
    assert len(read(file_of("unix,date,open,high,low,close", [whole]), HOURLY)[1]) == 1


def test_without_a_header_day_numbers_of_other_rows_contradict_the_unix_times() -> None:
    known = walk(DAILY, 30, datetime(2023, 7, 14, tzinfo=UTC), 1)
    rows = [row.split(",") for row in rows_of(known, "unix", "symbol", *PRICES)]
    numbered = [str((at - datetime(1899, 12, 30, tzinfo=UTC)).days) for at in known.at][::-1]
    right = [",".join([row[0], number, *row[1:]]) for row, number in zip(rows, numbered, strict=True)]
    file, candles = read("\n".join(right).encode())
    assert (len(candles), file.set_aside) == (30, [])
    turned = [",".join([row[0], number, *row[1:]]) for row, number in zip(rows[1:], numbered, strict=False)]
    with pytest.raises(CddFormatChanged, match="contradict each other"):
        read("\n".join(turned).encode())


def test_dates_of_other_rows_contradict_the_unix_times_also_where_their_order_is_not_known() -> None:
    rows = rows_of(walk(DAILY, 2, datetime(2023, 7, 14, tzinfo=UTC), 1), "day", "unix", *PRICES)
    (newer, older), header = (row.split(",") for row in rows), "date,unix,open,high,low,close"
    mixed = [",".join([newer[0], older[1], *newer[2:]]), ",".join([older[0], newer[1], *older[2:]])]
    with pytest.raises(CddFormatChanged, match="its times contradict each other"):
        read(file_of(header, [*mixed, mixed[0]]))


def test_rows_before_the_header_are_rows_however_their_numbers_are_written() -> None:
    known = walk(DAILY, 4, START, 1)
    rows = [f'{row.split(",")[0]},"8.162,44","8.300,10","8.000,05","8.200,10"' for row in rows_of(known, "unix")]
    file, chunk = read("\n".join([*rows, "unix,open,high,low,close", ""]).encode())
    assert (file.rows_in, len(chunk), chunk.open[0]) == (4, 4, 8162.44)
    garbled = rows_of(known, "unix", *PRICES)
    garbled[0] = garbled[0].replace(str(known.numbers["open"][3]), "n/a")
    file, chunk = read("\n".join([*garbled, "unix,open,high,low,close", ""]).encode())
    assert (file.rows_in, len(chunk), reasons(file)) == (4, 3, {"a price is not a number": 1})


def test_a_row_that_names_cryptodatadownload_is_a_row() -> None:
    rows = rows_of(walk(DAILY, 4, START, 1), "symbol", "source", "unix", *PRICES)
    assert len(read(file_of("symbol,source,unix,open,high,low,close", rows))[1]) == 4


@pytest.mark.parametrize("at", [0, 5])
def test_a_wick_is_found_in_the_newest_hour_and_beside_a_repeated_header(at: int) -> None:
    known = walk(HOURLY, 12, START, 1)
    known.numbers["low"][11 - at] = 1.0
    rows, header = rows_of(known, "unix", *PRICES), "unix,open,high,low,close"
    file, _ = read(file_of(header, [*rows[:4], header, *rows[4:8], header, *rows[8:]]), HOURLY)
    assert [wick.price for wick in file.checks.neighbours.wicks] == [1.0]


def test_a_thousandth_beside_decimal_commas_is_not_one() -> None:
    assert numbers(["31031,5", "0.001", "1.234"], decimal_comma=True).value.tolist() == [31031.5, 0.001, 1234]
    assert numbers(["31031.5", "0,001"]).garbled.tolist() == [False, True]


def test_rows_of_other_pairs_do_not_hide_how_many_rows_of_the_pair_are_no_candles() -> None:
    known = walk(DAILY, 40, START, 1)
    ours = rows_of(known, "symbol", "unix", *PRICES)
    ours[5:17] = [row.rpartition(",")[0] + ",n/a" for row in ours[5:17]]
    others = [row for name in ("ETH", "LTC") for row in rows_of(known, "symbol", "unix", *PRICES, symbol=f"{name}/USD")]
    file, _ = read(file_of("symbol,unix,open,high,low,close", ours + others))
    counted = "12 of the 40 rows of this pair (the file has 80 rows of other pairs) are no candles"
    with pytest.raises(Held, match=f"{re.escape(counted)} .* In 12 rows: a price is not a number"):
        hold_if_few_candles(file, remedy="")


def test_averaged_candles_are_recognised_with_few_decimals() -> None:
    known = FAULTS["Heikin-Ashi"].lie(walk(HOURLY, 30, START, 1))
    rounded = {name: [round(value, 1) for value in values] for name, values in known.numbers.items()}
    rows = rows_of(Known(known.series, known.at, rounded, 1), "unix", *PRICES)
    with pytest.raises(CddFormatChanged, match="these are Heikin-Ashi candles"):
        read(file_of("unix,open,high,low,close", rows), HOURLY)


def test_prices_without_a_header_that_contradict_volumes_or_times_leave_a_doubt() -> None:
    known = FAULTS["prices in cents"].lie(walk(DAILY, 30, START, 1))
    with pytest.raises(CddFormatChanged, match="If the file has no header, put one in front"):
        read("\n".join(rows_of(known, "unix", "symbol", *PRICES, "base", "quote")).encode())
    one_volume = rows_of(known, "unix", "symbol", *PRICES, "base")
    assert len(read("\n".join(one_volume).encode())[1]) == 30
    times, rows = zip(*(row.split(",", 1) for row in one_volume), strict=True)
    reversed_rows = [f"{time},{row}" for time, row in zip(times, rows[::-1], strict=True)]
    with pytest.raises(CddFormatChanged, match="If the file has no header, put one in front"):
        read("\n".join(reversed_rows).encode())


@pytest.mark.parametrize(("last", "digits"), [("date", 12), ("day", 2), ("unix", 1), ("base", 6)])
def test_a_last_cell_that_was_cut_costs_its_row(last: str, digits: int) -> None:
    header = f"{','.join(PRICES)},{last.replace('day', 'date').replace('base', 'Volume BTC')}"
    known = walk(DAILY, 30, datetime(2014, 3, 20, tzinfo=UTC), 1)
    rows, columns = rows_of(known, *PRICES, last), (*PRICES, last)
    if last == "base":
        header, rows = f"unix,{header}", rows_of(known, "unix", *columns)
    file, chunk = read(file_of(header, rows, end="")[:-digits])
    assert (days(chunk)[0], len(chunk), len(file.set_aside)) == ("2014-03-21", 29, 1)
    assert file.set_aside[0].reason.startswith("it may be cut: no line end follows it")
    assert len(read(file_of(header, rows, end=""))[1]) == 30
