"""Unusual files: held for a person, split by year, with other names, or with the same bad row in every file."""

import csv
import math
import random
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from file_forms import PRICES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from saved_files import Saved, saved_files
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from candlecast.commands.app import application
from models.candles import Interval, SeriesName, UnknownSeries
from storage import agreement
from storage.agreement import _closes
from storage.candles import read_candle_rows
from storage.database.engine import open_database
from storage.errors import CddFormatChanged
from storage.findings import FindingRow, read_findings
from storage.source.client import CddClient
from tasks.steps.holds import Held
from tasks.steps.ingest import IngestReport, ingest_series

CASES = Path(__file__).parents[2] / "fixtures" / "cases"
SAMPLE = Path(__file__).parents[3] / "sample" / "Coinbase_BTCUSD_d.csv"
SERIES = "Coinbase_BTCUSD_d"
NOW = datetime(2025, 10, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HEAD = "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD"


def line(at: datetime, close: float = 100.0, *, low: float = 90.0, symbol: str = "BTC/USD") -> str:
    return f"{int(at.timestamp())},{at:%Y-%m-%d %H:%M:%S},{symbol},100,107,{low},{close},10,1000"


def lines(first: datetime, n: int) -> list[str]:
    return [line(first + i * DAY, 100 + i % 5) for i in reversed(range(n))]


def ingest(engine: Engine, path: Path, series: str = SERIES, *, day: int = 0, accept: bool = False) -> IngestReport:
    return ingest_series(
        engine,
        series=series,
        client=CddClient(str(path.parent)),
        now=NOW + day * DAY,
        accept=accept,
        file_name=path.name,
    )


def put(tmp_path: Path, rows: list[str], name: str = f"{SERIES}.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def findings(engine: Engine, series: str = SERIES) -> dict[str, FindingRow]:
    with engine.connect() as conn:
        return {finding.code: finding for finding in read_findings(conn, series=series)}


def count(engine: Engine, table: str) -> int:
    with engine.connect() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_first_file_with_mostly_unusable_rows_is_held(engine: Engine) -> None:
    path = CASES / "prices_rounded_to_zero_IOTABTC_1h.csv"
    with pytest.raises(Held) as error:
        ingest(engine, path, "Binance_IOTABTC_1h")
    message = str(error.value)
    assert "114 of the file's 120 rows are no candles (more than 25%); nothing was stored" in message
    assert "In 114 rows: every price is zero, and there are trades (line 4: '2019-05-20 09-AM" in message
    assert message.count("; line ") == 2
    assert "--accept" in message
    assert count(engine, "candles") == 0
    assert ingest(engine, path, "Binance_IOTABTC_1h", accept=True).rows_new == 6


def test_rows_with_contradictory_times_are_a_finding_with_their_days(engine: Engine) -> None:
    report = ingest(engine, CASES / "one_unix_for_twelve_days.csv")
    assert (report.rows_in, report.rows_new, report.rows_quarantined) == (60, 48, 12)
    finding = findings(engine)["contradiction"]
    assert finding.count == 12
    assert finding.message.endswith("its times contradict each other (2019-09-17..2019-09-28)")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("dots_in_volumes", "volume", "60 candles have a volume that is not a number"),
        ("no_header", "layout", "the file has no header; its rows show which column is which"),
        ("two_tables_side_by_side", "layout", "the file holds 2 tables side by side; the one of BTCUSD was read"),
    ],
)
def test_a_doubtful_layout_is_read_and_is_a_finding(engine: Engine, name: str, code: str, words: str) -> None:
    assert ingest(engine, CASES / f"{name}.csv").rows_new == 60
    assert words in findings(engine)[code].message


def test_a_wick_is_a_finding_with_its_day(engine: Engine, tmp_path: Path) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    rows = lines(start, 40)
    ingest(engine, put(tmp_path, rows))
    assert "wick" not in findings(engine)
    rows[10] = line(start + 29 * DAY, low=0.1)
    ingest(engine, put(tmp_path, rows), day=1)
    wick = findings(engine)["wick"]
    assert wick.first_time == start + 29 * DAY
    assert "its low is 0.1, the lowest of the 3 candles before and after is 90" in wick.message


def test_real_price_jumps_are_not_wicks(engine: Engine, shared_data: Path) -> None:
    for file in ("Bitstamp_XRPUSD_d__2025-07-05.csv", "Bitstamp_BTCUSD_d__2025-09-24.csv"):
        series = file.split("__")[0]
        ingest(engine, shared_data / file, series)
        assert "wick" not in findings(engine, series)


def test_a_bad_row_of_every_file_is_quarantined_once_with_first_and_last_time(engine: Engine, tmp_path: Path) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    bad = "1577836800,2020-01-01 00:00:00,BTC/USD,100,x,90,100,10,1000"
    for day in range(3):
        ingest(engine, put(tmp_path, [*lines(start + DAY, 20 + day), bad]), day=day)
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT raw_text, line_number, created_at, last_seen_at FROM quarantine")).all()
    assert [tuple(row[:2]) for row in rows] == [(bad, 24)]
    assert (str(rows[0][2])[:10], str(rows[0][3])[:10]) == (f"{NOW:%Y-%m-%d}", f"{NOW + 2 * DAY:%Y-%m-%d}")


def year_of_days(year: int) -> list[str]:
    """A file of a year, newest first; each day opens where the one before closed, across years too."""
    first = datetime(year, 1, 1, tzinfo=UTC)
    rows = []
    for day in range((datetime(year + 1, 1, 1, tzinfo=UTC) - first).days):
        at = first + day * DAY
        n = at.toordinal()
        opened, close = 100 + n % 7, 100 + (n + 1) % 7
        rows.append(f"{int(at.timestamp())},{at:%Y-%m-%d},BTC/USD,{opened},107,99,{close},10,{10 * close}")
    return rows[::-1]


@pytest.mark.parametrize("order", [(2019, 2020, 2021), (2021, 2020, 2019), (2020, 2021, 2019)])
def test_yearly_files_make_one_series_without_a_missing_31_december(
    engine: Engine, tmp_path: Path, order: tuple[int, ...]
) -> None:
    for i, year in enumerate(order):
        ingest(engine, put(tmp_path, year_of_days(year), f"Coinbase_BTCUSD_{year}_d.csv"), day=i)
    with engine.connect() as conn:
        opened = [row.open_time for row in read_candle_rows(conn, series=SERIES)]
    # Nothing follows the last day of 2021 yet.
    assert opened == [datetime(2019, 1, 1, tzinfo=UTC) + i * DAY for i in range(3 * 365)]
    assert "gap" not in findings(engine)
    again = ingest(engine, put(tmp_path, year_of_days(2020), "Coinbase_BTCUSD_2020_d.csv"), day=9)
    assert again.outcome == "unchanged"


def test_an_unfinished_31_december_stays_so(engine: Engine, tmp_path: Path) -> None:
    rows = year_of_days(2020)
    rows[0] = rows[0].rsplit(",", 3)[0] + ",99.5,4,398"
    ingest(engine, put(tmp_path, rows, "Coinbase_BTCUSD_2020_d.csv"))
    ingest(engine, put(tmp_path, year_of_days(2021), "Coinbase_BTCUSD_2021_d.csv"), day=1)
    assert findings(engine)["gap"].first_time == datetime(2020, 12, 31, tzinfo=UTC)
    # A finished file of 2020 takes its place.
    report = ingest(engine, put(tmp_path, year_of_days(2020), "Coinbase_BTCUSD_2020_d.csv"), day=2)
    assert report.rows_new == 1
    assert "gap" not in findings(engine)


def test_yearly_files_make_one_series_and_need_only_the_candles_of_their_year(engine: Engine, tmp_path: Path) -> None:
    for year in (2019, 2021, 2020):
        start = datetime(year, 1, 1, tzinfo=UTC)
        days = (datetime(year + 1, 1, 1, tzinfo=UTC) - start).days
        path = put(tmp_path, lines(start, days), f"Coinbase_BTCUSD_{year}_d.csv")
        assert str(SeriesName.of_file(path)) == SERIES
        assert ingest(engine, path, day=year).rows_new == days
    # A file of one year must hold all stored candles of that year.
    path = put(tmp_path, lines(datetime(2020, 1, 1, tzinfo=UTC), 366)[::2], "Coinbase_BTCUSD_2020_d.csv")
    with pytest.raises(CddFormatChanged, match="2 days apart"):
        ingest(engine, path, day=3000)
    lines_of_2020 = lines(datetime(2020, 1, 1, tzinfo=UTC), 366)
    with pytest.raises(Held, match="lacks 20 of the 366 stored candles"):
        ingest(
            engine,
            put(tmp_path, [*lines_of_2020[:100], *lines_of_2020[120:]], "Coinbase_BTCUSD_2020_d.csv"),
            day=3001,
        )


def test_findings_of_another_years_file_stay_open(engine: Engine, tmp_path: Path) -> None:
    for year in (2020, 2021):
        rows = lines(datetime(year, 1, 1, tzinfo=UTC), 300)
        if year == 2020:
            rows[100] = line(datetime(2020, 1, 1, tzinfo=UTC) + 199 * DAY, low=0.1)
        ingest(engine, put(tmp_path, rows, f"Coinbase_BTCUSD_{year}_d.csv"), day=year)
    assert findings(engine)["wick"].first_time == datetime(2020, 1, 1, tzinfo=UTC) + 199 * DAY


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("Bitstamp_BTCUSD_2021_minute", "Bitstamp_BTCUSD_minute"),
        ("gemini_BTCUSD_2019_1min", "Gemini_BTCUSD_minute"),
        ("gemini_BTCUSD_1hr", "Gemini_BTCUSD_1h"),
        ("gemini_BTCUSD_day", "Gemini_BTCUSD_d"),
        ("BTCUSDT_Binance_futures_data_day", "Binance-futures_BTCUSDT_d"),
        ("BTCUSDT_Binance_futures_data_minute", "Binance-futures_BTCUSDT_minute"),
        ("Bitstamp_BTCUSD_d", "Bitstamp_BTCUSD_d"),
        ("bitstamp_BTCUSD_d", "bitstamp_BTCUSD_d"),
    ],
)
def test_every_form_of_cdds_file_names_gives_a_series(name: str, series: str) -> None:
    assert str(SeriesName.of_file_name(name)) == series
    assert SeriesName.parse(series) == SeriesName.of_file_name(name)


@pytest.mark.parametrize("name", ["prices", "Bitstamp_BTCUSD_2021_week", "../etc_BTCUSD_day", "a..b_BTCUSD_day"])
def test_other_file_names_are_refused(name: str) -> None:
    with pytest.raises(UnknownSeries):
        SeriesName.of_file_name(name)


@pytest.mark.parametrize(
    ("pair", "exchange", "base", "quote"),
    [
        ("BATUSD", "Bitstamp", "BAT", "USD"),
        ("DOTUSD", "Bitfinex", "DOT", "USD"),
        ("ARBUSD", "Binance", "AR", "BUSD"),
        ("BTCTUSD", "Binance", "BTC", "TUSD"),
        ("OPUSDT", "Binance", "OP", "USDT"),
    ],
)
def test_pairs_are_split_into_base_and_quote_as_on_the_exchange(
    pair: str, exchange: str, base: str, quote: str
) -> None:
    name = SeriesName.parse(f"{exchange}_{pair}_d")
    assert (name.base, name.quote) == (base, quote)


def test_a_local_file_with_any_name_can_be_ingested(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", database_url)
    path = tmp_path / "my prices (2).txt"
    path.write_text((CASES / "unix_shortened_by_a_spreadsheet.csv").read_text())
    result = CliRunner().invoke(application(), ["ingest", SERIES, "--file", str(path)])
    assert result.exit_code == 0, result.output
    engine = open_database(database_url)
    with engine.connect() as conn:
        rows = read_candle_rows(conn, series=SERIES)
    engine.dispose()
    assert (len(rows), f"{rows[-1].open_time:%Y-%m-%d %H:%M}") == (59, "2019-10-15 00:00")
    with_two_series = CliRunner().invoke(application(), ["ingest", SERIES, "Bitstamp_BTCUSD_d", "--file", str(path)])
    assert with_two_series.exit_code == 2
    refused = CliRunner().invoke(application(), ["ingest", "Bitstamp_ETHUSD_d", "--file", str(path)])
    assert refused.output.startswith("candlecast: Bitstamp_ETHUSD_d: expected rows of ETHUSD, the file holds 'BTC")


# Other names of a file, by the interval.
OLD_NAMES = {Interval.DAY: "day", Interval.HOUR: "1hr", Interval.MINUTE: "1min"}


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(saved_files(), st.sampled_from(("today's", "yearly", "old", "any")))
def test_a_saved_file_is_ingested_under_any_name_or_a_sentence_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Saved, named: str
) -> None:
    series = saved.known.series
    name = {
        "yearly": f"{series.exchange}_{series.pair}_2021_{OLD_NAMES[series.interval]}",
        "old": f"{series.exchange}_{series.pair}_{OLD_NAMES[series.interval]}",
    }.get(named, str(series))
    folder = Path(mkdtemp(dir=tmp_path))
    path = folder / ("my file" if named == "any" else f"{name}.csv")
    path.write_bytes(saved.data)
    monkeypatch.setenv("CANDLECAST_SOURCE", str(folder))
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", f"sqlite:///{folder / 'candles.db'}")
    arguments = ["--file", str(path)] if named == "any" else []
    result = CliRunner().invoke(application(), ["ingest", name, *arguments])
    engine = open_database(f"sqlite:///{folder / 'candles.db'}")
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT strftime('%s', open_time), open, high, low, close FROM candles")).all()
    engine.dispose()
    stored = {(int(row[0]), *row[1:]) for row in rows}
    prices = zip(*(saved.known.numbers[price] for price in PRICES), strict=True)
    known = {(int(at.timestamp()), *row) for at, row in zip(saved.known.at, prices, strict=True)}
    assert stored <= known, saved.forms
    if stored == known:
        assert result.exit_code == 0, result.output
    else:
        assert result.output.strip(), saved.forms
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code == 0 or not stored


@pytest.mark.parametrize("holes", [False, True])
def test_of_several_pairs_in_a_file_the_wanted_one_is_stored_unless_it_has_holes(
    engine: Engine, tmp_path: Path, holes: bool
) -> None:
    """Rows that name another pair in the days that the wanted one lacks may be its own with a wrong name."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    rows = [line(start + i * DAY, symbol=symbol) for i in range(40) for symbol in ("BTC/USD", "ETH/USD", "LTC/USD")]
    if holes:
        rows = [row for i, row in enumerate(rows) if i // 3 % 4 > 1 or "BTC" not in row]
        with pytest.raises(Held, match="In 80 rows: it is of another pair"):
            ingest(engine, put(tmp_path, rows))
    report = ingest(engine, put(tmp_path, rows), accept=holes)
    assert (report.rows_new, report.rows_quarantined) == (20 if holes else 40, 80)


def sample_lines(n: int, change: Callable[[list[str], datetime], list[str]]) -> list[str]:
    """The sample's newest rows in today's layout; `change` gets the cells and the time of each."""
    rows = []
    for cells in list(csv.reader(SAMPLE.read_text().splitlines()[3:]))[:n]:
        at = datetime.fromisoformat(cells[0]).replace(tzinfo=UTC)
        rows.append(",".join(change([str(int(at.timestamp())), f"{at:%Y-%m-%d %H:%M:%S}", "BTC/USD", *cells[2:]], at)))
    return rows


def without_points(cells: list[str], _: datetime) -> list[str]:
    return [*cells[:3], *(f"{float(price):.2f}".replace(".", "") for price in cells[3:7]), *cells[7:]]


def a_thousand_times(cells: list[str], at: datetime) -> list[str]:
    # No volumes: they would contradict the prices.
    factor = 1000 if at.day % 8 == 0 else 1
    return [*cells[:3], *(str(float(price) * factor) for price in cells[3:7]), "", ""]


def in_new_york(cells: list[str], at: datetime) -> list[str]:
    return ["", f"{at - timedelta(hours=4):%Y-%m-%d %H:%M}", *cells[2:]]


def logarithms(cells: list[str], _: datetime) -> list[str]:
    return [*cells[:3], *(f"{math.log(float(price)):.6f}" for price in cells[3:7]), "", ""]


def prices_of_two_days_before(cells: list[str], at: datetime) -> list[str]:
    """The dates and volumes stay where they are."""
    return [*cells[:3], *PRICES_OF[at - 2 * DAY], *cells[7:]] if at - 2 * DAY in PRICES_OF else cells


def day_numbers_from_1904(cells: list[str], at: datetime) -> list[str]:
    return ["", str((at - datetime(1904, 1, 1, tzinfo=UTC)).days), *cells[2:]]


PRICES_OF = {
    datetime.fromisoformat(cells[0]).replace(tzinfo=UTC): cells[2:6]
    for cells in csv.reader(SAMPLE.read_text().splitlines()[3:])
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_points, "the two volumes of 60 of 60 candles give no price between their low and high"),
        (a_thousand_times, "candles open 5 times above or below the close before, the first on 2019-08-24"),
        (logarithms, "of 60 candles are as narrow as if their prices were logarithms of prices"),
        (prices_of_two_days_before, "or stand in the rows of other times"),
        (day_numbers_from_1904, "2015-08-17..2015-10-15 if it counts from 1900, 2019-08-18..2019-10-16 if from 1904"),
        (in_new_york, "60 of 60 days do not start at midnight but at 20:00 UTC (60), and no unix time says that"),
    ],
)
def test_a_file_that_contradicts_itself_is_held(
    engine: Engine, tmp_path: Path, change: Callable[[list[str], datetime], list[str]], reason: str
) -> None:
    path = put(tmp_path, sample_lines(60, change))
    with pytest.raises(Held, match=re.escape(reason)):
        ingest(engine, path)
    assert count(engine, "candles") == 0
    assert ingest(engine, path, accept=True).rows_new == 60


def hourly(prices: Sequence[float], first: datetime) -> list[str]:
    """Hours that open where the one before closed, oldest first."""
    pairs = list(pairwise(prices))
    return [
        f"{int((first + i * HOUR).timestamp())},{first + i * HOUR:%Y-%m-%d %H:%M:%S},BTC/USD,{opened:.4f},"
        f"{max(opened, close) + 0.1:.4f},{min(opened, close) - 0.1:.4f},{close:.4f},10,{5 * (opened + close):.4f}"
        for i, (opened, close) in enumerate(pairs)
    ]


@pytest.fixture
def prices() -> list[float]:
    """Prices of a random walk of small steps."""
    rng = random.Random(1)
    walk = [100.0]
    for _ in range(200):
        walk.append(walk[-1] * (1 + rng.gauss(0, 0.002)))
    return walk


HOURLY = "Coinbase_BTCUSD_1h"
FIRST = datetime(2020, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("hours", [-1, 1, 5])
def test_hours_that_are_moved_in_a_part_of_a_file_are_held(
    engine: Engine, tmp_path: Path, prices: list[float], hours: int
) -> None:
    """Where the moved part meets the rest, hours stand twice. No clock is changed in June."""
    rows = hourly(prices, FIRST)
    moved = hourly(prices, FIRST + hours * HOUR)
    path = put(tmp_path, [*rows[:60], *moved[60:120], *rows[120:]], f"{HOURLY}.csv")
    with pytest.raises(Held, match=f"{abs(hours)} times have two rows that open at different prices, the first at"):
        ingest(engine, path, HOURLY)
    ingest(engine, path, HOURLY, accept=True)
    # What a person has accepted is not held again the next day.
    ingest(engine, put(tmp_path, [*rows[:60], *moved[60:120], *rows[120:-1], rows[-1]], f"{HOURLY}.csv"), HOURLY, day=1)


@pytest.mark.parametrize("other", ["Bitstamp_BTCUSD_1h", HOURLY])
def test_a_file_that_is_moved_against_stored_candles_is_held(
    engine: Engine, tmp_path: Path, prices: list[float], other: str
) -> None:
    """Its hours look like any others; only those of another source, or its own of before, tell."""
    ingest(engine, put(tmp_path, hourly(prices, FIRST), f"{other}.csv"), other)
    path = put(tmp_path, hourly(prices, FIRST + 4 * HOUR), f"{HOURLY}.csv")
    whose = "the stored candles" if other == HOURLY else f"those of {other}"
    with pytest.raises(Held, match=f"candles from 2020-06-01 .* UTC agree with {whose} of 4 hours earlier"):
        ingest(engine, path, HOURLY, day=1)
    assert ingest(engine, path, HOURLY, day=1, accept=True).outcome == "stored"


def test_a_file_with_prices_in_another_unit_than_those_of_another_source_is_held(
    engine: Engine, tmp_path: Path, prices: list[float]
) -> None:
    ingest(engine, put(tmp_path, hourly(prices, FIRST), "Bitstamp_BTCUSD_1h.csv"), "Bitstamp_BTCUSD_1h")
    cents = [re.sub(",10,[0-9.]+$", ",,", row) for row in hourly([100 * price for price in prices], FIRST)]
    path = put(tmp_path, cents, f"{HOURLY}.csv")
    with pytest.raises(Held, match="the closes are 100 times those of Bitstamp_BTCUSD_1h of the same time"):
        ingest(engine, path, HOURLY)
    # Another market agrees.
    assert ingest(engine, put(tmp_path, hourly(prices, FIRST), f"{HOURLY}.csv"), HOURLY).rows_new == 200


def test_of_another_source_only_the_candles_around_a_file_are_read(
    engine: Engine, tmp_path: Path, prices: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def closes(*arguments: object) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        at, close = _closes(*arguments)  # type: ignore[arg-type]
        read.append(len(at))
        return at, close

    monkeypatch.setattr(agreement, "_closes", closes)
    ingest(engine, put(tmp_path, hourly(prices, FIRST), "Bitstamp_BTCUSD_1h.csv"), "Bitstamp_BTCUSD_1h")
    ingest(engine, put(tmp_path, hourly(prices, FIRST)[70:130], f"{HOURLY}.csv"), HOURLY)
    # 60 closed ones but for the newest, and 14 hours before them and after.
    assert read == [59, 59 + 2 * 14]


def test_candles_that_repeat_the_one_before_are_a_finding(engine: Engine, tmp_path: Path) -> None:
    rows = sample_lines(60, lambda cells, _: cells)
    filled = [",".join([*row.split(",")[:2], *rows[9].split(",")[2:]]) for row in rows[4:9]]
    ingest(engine, put(tmp_path, [*rows[:4], *filled, *rows[9:]]))
    repeat = findings(engine)["repeat"]
    assert (repeat.count, repeat.first_time) == (5, datetime(2019, 10, 8, tzinfo=UTC))
    assert repeat.message == "5 candles repeat every number of the candle before"


def test_rows_of_different_days_mixed_up_are_held(engine: Engine, tmp_path: Path) -> None:
    """The dates are in order, but a third of the prices are those of other days."""
    dates = sample_lines(60, lambda cells, _: cells[:2])
    prices = sample_lines(60, lambda cells, _: [*cells[2:7], "", ""])
    prices[::3] = prices[::3][::-1]
    path = put(tmp_path, [f"{date},{row}" for date, row in zip(dates, prices, strict=True)])
    with pytest.raises(Held, match="candles open far outside the range of the candle before"):
        ingest(engine, path)


def test_days_that_start_at_another_hour_are_a_finding(engine: Engine, tmp_path: Path) -> None:
    def later(cells: list[str], at: datetime) -> list[str]:
        at += timedelta(hours=2)
        return [str(int(at.timestamp())), f"{at:%Y-%m-%d %H:%M:%S}", *cells[2:]]

    assert ingest(engine, put(tmp_path, sample_lines(60, later))).rows_new == 60
    assert "60 days do not start at midnight UTC but at 02:00 UTC (60)" in findings(engine)["day-start"].message


def test_a_jump_to_another_unit_is_a_finding_with_its_day(engine: Engine, tmp_path: Path) -> None:
    def halves(cells: list[str], at: datetime) -> list[str]:
        factor = 1 if at < datetime(2019, 9, 20, tzinfo=UTC) else 1000
        return [*cells[:3], *(str(float(price) * factor) for price in cells[3:7]), "", ""]

    ingest(engine, put(tmp_path, sample_lines(60, halves)))
    jump = findings(engine)["jump"]
    assert (jump.count, jump.first_time) == (1, datetime(2019, 9, 20, tzinfo=UTC))
    assert "1 candles open 5 times above or below the close before: 2019-09-20 (" in jump.message


@pytest.mark.parametrize("quick", [True, False])
def test_dates_of_gemini_without_a_time_are_a_finding(engine: Engine, tmp_path: Path, quick: bool) -> None:
    import pyarrow.csv  # noqa: F401 - now files without oddities are read the quick way, however short they are

    rows = sample_lines(20, lambda cells, at: [f"{at:%Y-%m-%d}" if quick else f"{at:%d-%b-%y}", *cells[2:]])
    path = tmp_path / "Gemini_BTCUSD_d.csv"
    path.write_text("\n".join([HEAD.removeprefix("unix,"), *rows]) + "\n")
    ingest(engine, path, "Gemini_BTCUSD_d")
    assert "in CDD's files of Gemini they start at 04:00 UTC" in findings(engine, "Gemini_BTCUSD_d")["layout"].message


def test_an_hour_that_stands_twice_when_clocks_are_put_back_is_a_finding(engine: Engine, tmp_path: Path) -> None:
    """New York's clocks went back on 2019-11-03: the hour from one to two came twice."""
    start = datetime(2019, 11, 2, tzinfo=UTC)
    hours = [line(start + i * timedelta(hours=1), 100 + i % 5) for i in range(48)]
    hours.insert(26, line(start + timedelta(hours=25), 104))
    ingest(engine, put(tmp_path, hours, "Coinbase_BTCUSD_1h.csv"), "Coinbase_BTCUSD_1h")
    message = findings(engine, "Coinbase_BTCUSD_1h")["local-time"].message
    assert message.startswith("the hour 2019-11-03 01:00 stands in the file twice with different prices")


def test_rows_in_the_future_of_a_local_file_are_set_aside_and_many_hold_it(engine: Engine, tmp_path: Path) -> None:
    rows = lines(NOW - 40 * DAY, 40)
    report = ingest(engine, put(tmp_path, [*[line(NOW + 9000 * DAY + i * DAY) for i in range(3)], *rows]))
    assert (report.rows_new, report.rows_quarantined) == (40, 3)
    assert "it opens in the future" in findings(engine)["quarantine"].message
    path = put(tmp_path, [*[line(NOW + 9000 * DAY + i * DAY) for i in range(20)], *rows])
    with pytest.raises(Held, match="20 of the file's 60 rows are no candles .*In 20 rows: it opens in the future"):
        ingest(engine, path, day=1)


def test_a_file_with_month_names_gives_the_samples_closes(engine: Engine, sample_csv: Path) -> None:
    with (CASES / "month_names.csv").open() as file:
        closes = [float(row["Close"]) for row in csv.DictReader(file)]
    ingest(engine, CASES / "month_names.csv")
    with engine.connect() as conn:
        assert [row.close for row in read_candle_rows(conn, series=SERIES)] == closes[:0:-1]
    assert str(closes[0]) in sample_csv.read_text()
