"""Files that people saved again are read correctly or refused with a message, and never misread."""

import csv
import io
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cdd_files import read

from storage.errors import CddFormatChanged

Row = dict[str, str]
SAMPLE = Path(__file__).parents[3] / "sample" / "Coinbase_BTCUSD_d.csv"
HOURS = Path(__file__).parents[2] / "fixtures" / "cases" / "hourly_rows_as_Bitfinex_BTCUSD_d.csv"
NAMES = ("unix", "date", "symbol", "open", "high", "low", "close", "Volume BTC", "Volume USD")
HOUR = timedelta(hours=1)
NUMBERS = ("open", "high", "low", "close", "Volume BTC", "Volume USD")


def sample_rows(start: int, n: int) -> list[Row]:
    """Daily rows of the sample, newest first, in CDD's present layout."""
    with SAMPLE.open() as file:
        lines = list(csv.reader(file.readlines()[2:]))[start : start + n]
    rows = []
    for date, _, opened, high, low, close, base, quote in lines:
        at = datetime.fromisoformat(date).replace(tzinfo=UTC)
        cells = (
            f"{int(at.timestamp())}000",
            f"{at:%Y-%m-%d %H:%M:%S}",
            "BTC/USD",
            opened,
            high,
            low,
            close,
            base,
            quote,
        )
        rows.append(dict(zip(NAMES, cells, strict=True)))
    return rows


def hourly_rows() -> list[Row]:
    with HOURS.open() as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in NAMES} for row in rows]


def moment(row: Row) -> datetime:
    return datetime.fromtimestamp(int(row["unix"]) / 1000, UTC)


def written(rows: list[Row], names: tuple[str, ...] = NAMES, delimiter: str = ",", end: str = "\n") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(names)
    writer.writerows([[row[name] for name in names] for row in rows])
    return out.getvalue()


def shortened(row: Row, digits: int) -> str:
    return f"{int(row['unix']):.{digits}E}"


def dated(form: Callable[[datetime], str]) -> Callable[[list[Row]], str]:
    """Return a writer of files with the date in another form and without a unix column."""

    def save(rows: list[Row]) -> str:
        return written([{**row, "date": form(moment(row))} for row in rows], NAMES[1:])

    return save


def dated_beside(digits: int, form: Callable[[datetime], str]) -> Callable[[list[Row]], str]:
    """Return a writer of files with the date in another form beside a shortened unix time."""

    def save(rows: list[Row]) -> str:
        return written([{**row, "unix": shortened(row, digits), "date": form(moment(row))} for row in rows])

    return save


def changed(
    change: Callable[[Row], Row], names: tuple[str, ...] = NAMES, delimiter: str = ","
) -> Callable[[list[Row]], str]:
    """Return a writer of files with some cells of every row in another form."""
    return lambda rows: written([{**row, **change(row)} for row in rows], names, delimiter)


def numbers(form: Callable[[float], str], delimiter: str = ",") -> Callable[[list[Row]], str]:
    def save(rows: list[Row]) -> str:
        return written(
            [{**row, **{name: form(float(row[name])) for name in NUMBERS}} for row in rows], NAMES, delimiter
        )

    return save


def german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def indian(value: float) -> str:
    whole, decimals = f"{value:.2f}".split(".")
    pairs = re.sub(r"(?<=\d)(?=(\d\d)+$)", ",", whole[:-3])
    return f"{pairs},{whole[-3:]}.{decimals}" if pairs else f"{whole}.{decimals}"


def american(m: datetime) -> str:
    return f"{m.month}/{m.day}/{m.year}"


def clock12(m: datetime) -> str:
    return f"{m.hour % 12 or 12}:{m:%M:%S %p}"


def swapped_by_spreadsheet(m: datetime) -> str:
    """Return a date as a spreadsheet that expects m/d/yyyy saves d/m/yyyy: it swaps day and month up to the 12th."""
    return american(m) if m.day <= 12 else f"{m.day}/{m.month}/{m.year}"


def hours_from_1(m: datetime) -> str:
    """Return a time as programs write it that call midnight the 24th hour of the day before."""
    return f"{m:%Y-%m-%d %H:%M}" if m.hour else f"{m - timedelta(days=1):%Y-%m-%d} 24:00"


def with_closes_of(shift: int) -> Callable[[list[Row]], str]:
    """Return a writer of files whose closes are those of other rows; the ends keep their own."""

    def save(rows: list[Row]) -> str:
        closes = [rows[min(max(i + shift, 0), len(rows) - 1)]["close"] for i in range(len(rows))]
        # No row may be impossible for it.
        wide = [{**row, "high": "99999", "low": "1"} for row in rows]
        return written([{**row, "close": close} for row, close in zip(wide, closes, strict=True)], NAMES[:7])

    return save


def heikin_ashi(rows: list[Row]) -> str:
    """Return a file of the averaged candles that charting programs draw and export."""
    averaged: list[Row] = []
    for row in rows[::-1]:
        opened, high, low, close = (float(row[name]) for name in NUMBERS[:4])
        before = averaged[-1] if averaged else row
        middle = (float(before["open"]) + float(before["close"])) / 2
        mean = (opened + high + low + close) / 4
        prices = (middle, max(high, middle, mean), min(low, middle, mean), mean)
        averaged.append({**row, **dict(zip(NUMBERS, map(repr, prices), strict=False))})
    return written(averaged[::-1], NAMES[:7])


def with_column(name: str, value: Callable[[int, Row], str], *, front: bool = False) -> Callable[[list[Row]], str]:
    def save(rows: list[Row]) -> str:
        names = (name, *NAMES) if front else (*NAMES, name)
        return written([{**row, name: value(i, row)} for i, row in enumerate(rows)], names)

    return save


def index_without_a_name(rows: list[Row]) -> str:
    lines = written(rows).splitlines()
    return "\n".join([lines[0], *(f"{i},{line}" for i, line in enumerate(lines[1:]))]) + "\n"


def header_again(rows: list[Row]) -> str:
    lines = written(rows).splitlines()
    return "\n".join([*lines[:20], "https://www.CryptoDataDownload.com", lines[0], *lines[20:]]) + "\n"


def two_orders_of_columns(rows: list[Row]) -> str:
    names = ("date", "symbol", "close", "open", "low", "high", "Volume USD", "Volume BTC", "unix")
    return written(rows[:30]) + "https://www.CryptoDataDownload.com\n" + written(rows[30:], names)


def header_at_the_end(rows: list[Row]) -> str:
    header, *lines = written(rows[::-1]).splitlines()
    return "\n".join([*lines, header]) + "\n"


def beside_ether(rows: list[Row]) -> str:
    left = written(rows).splitlines()
    ether = [
        {**row, "symbol": "ETH/USD", **{name: f"{float(row[name]) / 40:.2f}" for name in NUMBERS[:4]}} for row in rows
    ]
    right = written(ether).replace("Volume BTC", "Volume ETH").splitlines()
    return "\n".join(f"{b},,{a}" for a, b in zip(left, right, strict=True)) + "\n"


def quoted(rows: list[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, NAMES, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def whole_lines_quoted(rows: list[Row]) -> str:
    return "\n".join(f'"{line}"' for line in written(rows).splitlines()) + "\n"


def shuffled(rows: list[Row]) -> str:
    mixed = rows[:]
    random.Random(1).shuffle(mixed)
    return written(mixed)


def serial(m: datetime) -> str:
    days = (m - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1)
    return f"{days:.10f}".rstrip("0").rstrip(".")


def split_clock(form: str, clock: Callable[[datetime], str]) -> Callable[[list[Row]], str]:
    def save(rows: list[Row]) -> str:
        names = ("date", "time", *NAMES[2:])
        return written([{**row, "date": f"{moment(row):{form}}", "time": clock(moment(row))} for row in rows], names)

    return save


GERMAN_MONTHS = ["Jan", "Feb", "Mrz", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"]
UNDATED = (NAMES[0], *NAMES[2:])
UNNAMED = (*NAMES[:2], *NAMES[3:])

# Ways of saving the sample again that lose nothing: every candle can be read.
DAILY: dict[str, Callable[[list[Row]], str]] = {
    "as it was": written,
    "m/d/yyyy": dated(american),
    "m/d/yy": dated(lambda m: f"{m.month}/{m.day}/{m:%y}"),
    "mm/dd/yyyy with a clock": dated(lambda m: f"{m:%m/%d/%Y %H:%M}"),
    "d/m/yyyy": dated(lambda m: f"{m.day}/{m.month}/{m.year}"),
    "dd-mm-yy": dated(lambda m: f"{m:%d-%m-%y}"),
    "yy-mm-dd": dated(lambda m: f"{m:%y-%m-%d}"),
    "dd.mm.yyyy": dated(lambda m: f"{m:%d.%m.%Y}"),
    "dd.mm.yyyy hh:mm": dated(lambda m: f"{m:%d.%m.%Y %H:%M}"),
    "yyyy/m/d": dated(lambda m: f"{m.year}/{m.month}/{m.day}"),
    "yyyymmdd": dated(lambda m: f"{m:%Y%m%d}"),
    "d-Mon-yy": dated(lambda m: f"{m:%d-%b-%y}"),
    "Mon d, yyyy": dated(lambda m: f"{m:%b %d, %Y}"),
    "Weekday, Month d, yyyy": dated(lambda m: f"{m:%A, %B %d, %Y}"),
    "yy-Mon-dd": dated(lambda m: f"{m:%y-%b-%d}"),
    "ISO with T and Z": dated(lambda m: f"{m:%Y-%m-%dT%H:%M:%SZ}"),
    "AM and PM": dated(lambda m: f"{american(m)} {clock12(m)}"),
    "German month names": dated(lambda m: f"{m.day}. {GERMAN_MONTHS[m.month - 1]} {m.year}"),
    "serial days": dated(serial),
    "unix of six digits beside m/d/yyyy": dated_beside(5, american),
    "unix of six digits beside d/m/yyyy": dated_beside(5, lambda m: f"{m:%d/%m/%Y}"),
    "unix of three digits beside m/d/yy": dated_beside(2, lambda m: f"{m.month}/{m.day}/{m:%y}"),
    "unix of three digits beside dd-mm-yy": dated_beside(2, lambda m: f"{m:%d-%m-%y}"),
    "unix of four digits beside Mon names": dated_beside(3, lambda m: f"{m:%d-%b-%y}"),
    "unix of six digits written out": changed(lambda row: {"unix": f"{float(shortened(row, 5)):.0f}"}),
    "unix of six digits alone": changed(lambda row: {"unix": shortened(row, 5)}, UNDATED),
    "unix with a decimal comma": changed(lambda row: {"unix": shortened(row, 5).replace(".", ",")}, NAMES, ";"),
    "unix in seconds with .0": changed(lambda row: {"unix": f"{int(row['unix']) // 1000}.0"}),
    "semicolons": lambda rows: written(rows, NAMES, ";"),
    "tabs": lambda rows: written(rows, NAMES, "\t"),
    "decimal commas": numbers(lambda v: f"{v}".replace(".", ","), ";"),
    "German numbers": numbers(german, ";"),
    "German numbers in quotes": numbers(german),
    "thousands separators": numbers(lambda v: f"{v:,.2f}"),
    "dollars": numbers(lambda v: f"${v:,.2f}"),
    "French numbers": numbers(lambda v: f"{v:,.2f}".replace(",", "\u202f").replace(".", ","), ";"),
    "Indian numbers": numbers(indian),
    "a decimal minus of typographers": numbers(lambda v: f"{v * 100:.0f}e\u22122"),
    "Swiss numbers": numbers(lambda v: f"{v:,.2f}".replace(",", "'"), ";"),
    "an index": with_column("", lambda i, _: str(i), front=True),
    "an index without a name": index_without_a_name,
    "a column of notes": with_column("my note", lambda i, _: "sold!" if i == 3 else ""),
    "a moving average": with_column("close_ma20", lambda i, row: row["close"]),
    "a volatility": with_column("volatility", lambda i, row: "0.02", front=True),
    "an adjusted close": with_column("Adj Close", lambda i, row: str(float(row["close"]) / 2), front=True),
    "header again": header_again,
    "two orders of columns": two_orders_of_columns,
    "header at the end": header_at_the_end,
    "beside ether": beside_ether,
    "quoted": quoted,
    "whole lines quoted": whole_lines_quoted,
    "shuffled": shuffled,
    "carriage returns": lambda rows: written(rows, end="\r"),
    "UTF-16": lambda rows: written(rows, NAMES, "\t"),
    "UTF-16-LE": lambda rows: written(rows, NAMES, "\t"),
    "UTF-32": written,
    "a unix time with 24:00": changed(lambda row: {"date": hours_from_1(moment(row))}),
    "local time beside unix": changed(lambda row: {"date": f"{moment(row) - 5 * HOUR:%Y-%m-%d %H:%M:%S}"}),
    "dates with an apostrophe": dated(lambda m: f"'{m:%Y-%m-%d %H:%M:%S}"),
    "minutes and seconds for a date": changed(lambda row: {"date": "00:00.0"}),
}  # fmt: skip

HOURLY: dict[str, Callable[[list[Row]], str]] = {
    "as it was": written,
    "m/d/yyyy h:mm": dated(lambda m: f"{american(m)} {m.hour}:{m:%M}"),
    "dd.mm.yy hh:mm": dated(lambda m: f"{m:%d.%m.%y %H:%M}"),
    "AM and PM": dated(lambda m: f"{american(m)} {clock12(m)}"),
    "hours with a dash": dated(lambda m: f"{m:%Y-%m-%d %I-%p}"),
    "serial days": dated(serial),
    "unix of six digits beside m/d/yyyy h:mm": dated_beside(5, lambda m: f"{american(m)} {m.hour}:{m:%M}"),
    "unix of three digits beside dd/mm/yy hh:mm": dated_beside(2, lambda m: f"{m:%d/%m/%y %H:%M}"),
    "date and clock apart": split_clock("%d/%m/%Y", lambda m: f"{m:%H:%M:%S}"),
    "date and AM PM apart": split_clock("%m/%d/%y", clock12),
    "date and hours apart": split_clock("%Y-%m-%d", lambda m: str(m.hour)),
    "local time beside unix": lambda rows: written(
        [{**row, "date": f"{moment(row) + 5.5 * HOUR:%Y-%m-%d %H:%M:%S}"} for row in rows]
    ),
    "shuffled": shuffled,
}
# Ways of saving that lose something: the saved rows, the writer, and the reason in the message.
REFUSED: dict[str, tuple[str, Callable[[list[Row]], str], str]] = {
    "hours lost": ("1h", dated(lambda m: f"{m:%Y-%m-%d}"), "the file has lost the hours"),
    "hours lost beside a shortened unix": (
        "1h", dated_beside(5, lambda m: f"{m:%Y-%m-%d}"), "each can mean any instant within 2.8 hours",
    ),
    "a shortened unix alone": (
        "1h", changed(lambda row: {"unix": shortened(row, 5)}, UNDATED), "each can mean any instant within 2.8 hours",
    ),
    "a unix of three digits alone": (
        "d", changed(lambda row: {"unix": shortened(row, 2)}, UNDATED), "each can mean any instant within 116 days",
    ),
    "no time at all": ("d", dated(lambda m: "00:00.0"), "In 70 rows: its time cannot be read"),
    "names of time zones": (
        "d", dated(lambda m: f"{m:%Y-%m-%d %H:%M:%S} CEST"), "Write times as 2024-08-20 13:00:00 in UTC, or as",
    ),
    "years of another calendar": (
        "d", dated(lambda m: f"{m:%d/%m}/{m.year + 543}"), "are dates of 1970..2100 in no order of day, month",
    ),
    "prices with words": (
        "d", changed(lambda row: {"close": f"{row['close']} dollars"}), "Write prices as plain numbers, such as 594",
    ),
    "unquoted thousands": (
        "d",
        lambda rows: written(rows, NAMES, ";").replace(".", ",").replace(";", ","),
        "it has 14 cells, the header names 9",
    ),
    "another pair's table": (
        "d", changed(lambda row: {"symbol": "ETH/USD"}), "expected rows of BTCUSD, the file holds 'ETH/USD'",
    ),
    "two tables of the pair": (
        "d",
        lambda rows: "\n".join(f"{line},{line}" for line in written(rows).splitlines()),
        "the file holds 2 tables side by side",
    ),
    "days to the 12th turned by a spreadsheet": ("d", dated(swapped_by_spreadsheet), "and in no other order"),
    "the same beside a unix of three digits": ("d", dated_beside(2, swapped_by_spreadsheet), "and in no other order"),
    "two hours of a day without a clock": (
        "two hours", dated(lambda m: f"{m:%Y-%m-%d}"), "the file has lost the hours",
    ),
    "whole numbers with points between thousands": (
        "d",
        numbers(lambda v: f"{v % 900_000 + 1000:,.0f}".replace(",", "."), ";"),
        "9.162 may be 9.162 or 9162",
    ),
    "24:00 for midnight": ("1h", dated(hours_from_1), "the column 'date' says 24:00 ('2021-"),
    "24:00 in a column of clocks": (
        "1h", split_clock("%Y-%m-%d", lambda m: f"{m.hour or 24}:{m:%M}"), "the column 'time' says 24:00",
    ),
    "closes of the day before": ("d", with_closes_of(1), "the closes are those of the row before"),
    "Heikin-Ashi": ("d", heikin_ashi, "69 of 69 candles open exactly in the middle of the candle before"),
    "prices in euro": (
        "d", changed(lambda row: {name: f"{row[name]} €" for name in NUMBERS[:4]}), "the prices have the sign €",
    ),
    "every second day": ("d", lambda rows: written(rows[::2]), "the rows are 2 days apart"),
    "hours as days without a clock": ("d as 1h", dated(lambda m: f"{m:%Y-%m-%d}"), "its times have lost their hours"),
    "half of the dates turned": (
        "d", dated(lambda m: f"{m:%Y-%d-%m}" if m.day <= 12 else f"{m:%d/%m/%Y}"), "and in no other order",
    ),
    "days to the 12th turned and written year first": (
        "d", dated(lambda m: f"{m:%Y-%d-%m}" if m.day <= 12 else f"{m:%Y-%m-%d}"), "a program exchanged them",
    ),
    "open and close exchanged": (
        "d", changed(lambda row: {"open": row["close"], "close": row["open"]}), "open and close are exchanged",
    ),
    "times sorted without their rows": (
        "d",
        lambda rows: written(
            [{**row, "unix": at["unix"], "date": at["date"]} for row, at in zip(rows, rows[::-1], strict=True)]
        ),
        "the times run against the rows",
    ),
    "highs in the column of closes": (
        "d", changed(lambda row: {"close": row["high"]}), "close and high are the same number in 70 of 70 rows",
    ),
    "closes in all four columns": (
        "d", changed(lambda row: {"open": row["close"], "high": row["close"], "low": row["close"]}),
        "closing prices alone are no candles",
    ),
    "days dated at their close": (
        "d", dated(lambda m: f"{m:%Y-%m-%d} 23:59:59"), "70 of the file's 70 days are dated in their last minute",
    ),
    "no symbol and another coin's volume": (
        "d", lambda rows: written(rows, UNNAMED).replace("Volume BTC", "Volume ETH"),
        "no column names the pair, and the volume columns are of ETH and USD",
    ),
    "no symbol and another currency's volume": (
        "d", lambda rows: written(rows, UNNAMED).replace("Volume USD", "Volume EUR"), "are of BTC and EUR",
    ),
    "one row of an open order": ("one", dated(lambda m: "1/2/2018"), "can be read in more than one order"),
}  # fmt: skip


def check(text: str, rows: list[Row], series: str, *, encoding: str = "utf-8") -> None:
    file, chunk = read(text.encode(encoding), series)
    assert file.set_aside == []
    expected = sorted((int(row["unix"]) // 1000, *(float(row[name]) for name in NUMBERS)) for row in rows)
    columns = (chunk.open_time, chunk.open, chunk.high, chunk.low, chunk.close, chunk.volume_base, chunk.volume_quote)
    np.testing.assert_allclose(np.stack(columns, axis=1), np.array(expected), rtol=0, atol=0.006)


@pytest.mark.parametrize("start", [1, 90, 400, 900])
@pytest.mark.parametrize("kind", DAILY)
def test_a_daily_file_that_was_saved_again_gives_the_same_candles(kind: str, start: int) -> None:
    rows = sample_rows(start, 70)
    check(DAILY[kind](rows), rows, "Coinbase_BTCUSD_d", encoding=kind if kind.startswith("UTF-") else "utf-8")


@pytest.mark.parametrize("kind", HOURLY)
def test_an_hourly_file_that_was_saved_again_gives_the_same_candles(kind: str) -> None:
    check(HOURLY[kind](hourly_rows()), hourly_rows(), "Bitfinex_BTCUSD_1h")


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_lost_information_is_refused_with_the_reason(kind: str) -> None:
    rows_of, save, reason = REFUSED[kind]
    rows = hourly_rows() if "h" in rows_of else sample_rows(1, 1 if rows_of == "one" else 70)
    rows = rows[3:5] if rows_of == "two hours" else rows
    series = "Bitfinex_BTCUSD_1h" if rows_of in ("1h", "two hours") else "Coinbase_BTCUSD_d"
    with pytest.raises(CddFormatChanged, match=re.escape(reason)):
        read(save(rows).encode(), series)


def test_points_between_thousands_are_recognised_by_a_number_above_a_million() -> None:
    rows = [{**row, **{name: f"{float(row[name]):.0f}" for name in NUMBERS}} for row in sample_rows(1, 70)]
    check(numbers(lambda v: f"{v:,.0f}".replace(",", "."), ";")(rows), rows, "Coinbase_BTCUSD_d")
