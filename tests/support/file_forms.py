"""Known candles, and the forms in which people keep files of candles: a form changes the text and keeps the candles."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from models.candles import SeriesName

Row = dict[str, str]
PRICES = ("open", "high", "low", "close")
NUMBERS = (*PRICES, "base", "quote")
# Series, how many decimals its prices have, and where they begin.
MARKETS = {
    "Coinbase_BTCUSD_d": (2, 8162.44),
    "Bitfinex_ETHUSD_d": (4, 181.6),
    "Bitfinex_BTCUSD_1h": (1, 32154.0),
    "Binance_ADAUSDT_1h": (5, 0.94),
    "Kraken_BTCUSD_minute": (1, 61234.5),
}
STEPS = {"d": 0.03, "1h": 0.006, "minute": 0.001}
FETCHED_AT = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Known:
    """The candles of a file, oldest first: open times, and numbers by name as they are written."""

    series: SeriesName
    at: list[datetime]
    numbers: dict[str, list[float]]
    decimals: int

    def __len__(self) -> int:
        return len(self.at)


def walk(name: str, n: int, start: datetime, seed: int) -> Known:
    """Return candles of a random walk, each of which opens near the close before it."""
    series, (decimals, price) = SeriesName.parse(name), MARKETS[name]
    random_numbers = np.random.default_rng(seed)
    step = STEPS[str(series.interval)]
    numbers: dict[str, list[float]] = {column: [] for column in NUMBERS}
    for _ in range(n):
        opened = round(price * (1 + 0.02 * step * random_numbers.normal()), decimals)
        price = close = round(opened * float(np.exp(step * random_numbers.normal())), decimals)
        high = round(max(opened, close) * (1 + step * random_numbers.random()), decimals)
        low = round(min(opened, close) * (1 - step * random_numbers.random()), decimals)
        base = round(float(random_numbers.integers(1_000, 9_000_000)) / min(price, 1000), 4)
        mean = low + (high - low) * (0.3 + 0.4 * random_numbers.random())
        for column, value in zip(NUMBERS, (opened, high, low, close, base, round(base * mean, 3)), strict=True):
            numbers[column].append(value)
    return Known(series, [start + i * series.interval.length for i in range(n)], numbers, decimals)


UNIX: dict[str, Callable[[int], str]] = {
    "unix in s": str,
    "unix in s with .0": lambda t: f"{t}.0",
    "unix in ms": lambda t: f"{t}000",
    "unix in µs": lambda t: f"{t}000000",
    "unix in ns": lambda t: f"{t}000000000",
    "unix in s and ms": lambda t: f"{t}" if t // 86_400 % 9 else f"{t}000",
    "unix with thousands": lambda t: f"{t * 1000:,}",
    "unix of six digits": lambda t: f"{t * 1000:.5E}",
    "unix of six digits, in s": lambda t: f"{t:.5E}",
    "unix of six digits, written out": lambda t: f"{float(f'{t * 1000:.5E}'):.0f}",
    "unix of six digits, with a comma": lambda t: f"{t * 1000:.5E}".replace(".", ","),
    "unix of three digits": lambda t: f"{t * 1000:.2E}",
}
FULL_UNIX = {form for form in UNIX if "digits" not in form}
GERMAN_MONTHS = ("Jan", "Feb", "Mrz", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez")
DAYS: dict[str, Callable[[datetime], str]] = {
    "yyyy-mm-dd": lambda m: f"{m:%Y-%m-%d}",
    "yyyy/m/d": lambda m: f"{m.year}/{m.month}/{m.day}",
    "yyyymmdd": lambda m: f"{m:%Y%m%d}",
    "yyyy年m月d日": lambda m: f"{m.year}年{m.month}月{m.day}日",
    "yy-mm-dd": lambda m: f"{m:%y-%m-%d}",
    "m/d/yyyy": lambda m: f"{m.month}/{m.day}/{m.year}",
    "m/d/yy": lambda m: f"{m.month}/{m.day}/{m:%y}",
    "d/m/yyyy": lambda m: f"{m.day}/{m.month}/{m.year}",
    "dd-mm-yy": lambda m: f"{m:%d-%m-%y}",
    "dd.mm.yyyy": lambda m: f"{m:%d.%m.%Y}",
    "dd-Mon-yy": lambda m: f"{m:%d-%b-%y}",
    "yy-Mon-dd": lambda m: f"{m:%y-%b-%d}",
    "Weekday, Month d, yyyy": lambda m: f"{m:%A, %B} {m.day}, {m.year}",
    "d. Mon yyyy in German": lambda m: f"{m.day}. {GERMAN_MONTHS[m.month - 1]} {m.year}",
}
CLOCKS: dict[str, Callable[[datetime], str]] = {
    "no clock": lambda m: "",
    "h:mm": lambda m: f" {m.hour}:{m:%M}",
    "hh:mm:ss": lambda m: f" {m:%H:%M:%S}",
    "T and Z": lambda m: f"T{m:%H:%M:%S}Z",
    "a zone in numbers": lambda m: f" {m:%H:%M:%S}+00:00",
    "a zone of another place": lambda m: f" {m:%H:%M:%S%z}",
    "AM and PM": lambda m: f" {m.hour % 12 or 12}:{m:%M:%S %p}",
    "hours and a dash": lambda m: f" {m:%I-%p}",
}
ZONES = {"in UTC": UTC, "in New York": timezone(-5 * HOUR), "in India": timezone(5.5 * HOUR)}
CLOCK_COLUMNS: dict[str, Callable[[datetime], str]] = {
    "hh:mm:ss in a column": lambda m: f"{m:%H:%M:%S}",
    "h:mm in a column": lambda m: f"{m.hour}:{m:%M}",
    "AM and PM in a column": lambda m: f"{m.hour % 12 or 12}:{m:%M %p}",
}


def serial(m: datetime) -> str:
    """Return an instant as Excel stores it: days since 1899-12-30."""
    days = (m - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1)
    return f"{days:.10f}".rstrip("0").rstrip(".")


def _german(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".translate(str.maketrans(",.", ".,"))


NUMBER_FORMS: dict[str, Callable[[float, int], str]] = {
    "plain numbers": lambda v, d: repr(v),
    "fixed decimals": lambda v, d: f"{v:.{d}f}",
    "exponents": lambda v, d: f"{v:.12e}",
    "decimal commas": lambda v, d: f"{v:.{d}f}".replace(".", ","),
    "thousands": lambda v, d: f"{v:,.{d}f}",
    "dollars": lambda v, d: f"${v:,.{d}f}",
    "German numbers": _german,
    "French numbers": lambda v, d: f"{v:,.{d}f}".replace(",", "\u202f").replace(".", ","),
    "Swiss numbers": lambda v, d: f"{v:,.{d}f}".replace(",", "'"),
}
SYMBOLS: dict[str, Callable[[SeriesName], str]] = {
    "BTCUSD": lambda s: s.pair,
    "btcusd": lambda s: s.pair.lower(),
    "BTC/USD": lambda s: f"{s.base}/{s.quote}",
    "BTC-USD": lambda s: f"{s.base}-{s.quote}",
    "BTC_USD": lambda s: f"{s.base}_{s.quote}",
    "tBTCUSD": lambda s: f"t{s.pair}",
    "XBT/USD": lambda s: f"{s.base.replace('BTC', 'XBT')}/{s.quote}",
    "BTC/USD:USD": lambda s: f"{s.base}/{s.quote}:{s.quote}",
    "EXCHANGE:BTCUSD": lambda s: f"{s.exchange.upper()}:{s.pair}",
    "BTC": lambda s: s.base,
}
HEADINGS: dict[str, tuple[str, ...]] = {
    "unix": ("unix", "Unix", "Unix Timestamp", "timestamp", "epoch"),
    "date": ("date", "Date", "DATE", "datetime", "Datum"),
    "time": ("time", "Time"),
    "symbol": ("symbol", "Symbol", "PAIR", "tic"),
    "open": ("open", "Open", "OPEN", "Open Price"),
    "high": ("high", "High", "HIGH"),
    "low": ("low", "Low", "LOW"),
    "close": ("close", "Close", "CLOSE", "Close Price"),
    "base": ("Volume {base}", "volume_{base}", "VolumeFrom", "Volume From", "Base Volume"),
    "quote": ("Volume {quote}", "volume_{quote}", "Volume To", "Quote Volume"),
}
# Columns of a person: the heading and the cell of a row.
EXTRAS: dict[str, tuple[str, Callable[[int, Row], str]]] = {
    "trades": ("tradecount", lambda i, row: str(17 + i % 5)),
    "an index": ("", lambda i, row: str(i)),
    "a column of notes": ("my note", lambda i, row: "sold!" if i == 3 else ""),
    "a moving average": ("close_ma20", lambda i, row: row["close"]),
    "an adjusted close": ("Adj Close", lambda i, row: "12.5"),
    "a market cap": ("Market Cap", lambda i, row: str(10**11 + i)),
    "a source": ("source", lambda i, row: "CryptoDataDownload"),
    "a volatility": ("volatility", lambda i, row: "0.02"),
}
COLUMN_ORDERS: dict[str, tuple[str, ...]] = {
    "open, high, low, close": ("unix", "date", "time", "symbol", *NUMBERS),
    "open, close, low, high": ("unix", "date", "time", "symbol", "open", "close", "low", "high", "base", "quote"),
    "prices first": (*PRICES, "quote", "base", "symbol", "date", "time", "unix"),
    "times last": ("symbol", *NUMBERS, "unix", "date", "time"),
    "close first": ("date", "time", "close", "open", "high", "low", "quote", "base", "symbol", "unix"),
}
HEADERS = ("a header", "a banner", "no header", "the header again", "another order below", "the header at the end")
ROW_ORDERS = ("newest first", "oldest first", "shuffled")
COMPANY = ("alone", "other pairs between", "another pair below", "a table beside", "rows twice", "a sum below")
DELIMITERS = {"commas": ",", "semicolons": ";", "tabs": "\t", "bars": "|"}
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
QUOTING = ("bare", "quoted cells", "quoted lines", "runs of semicolons", "padding", "blank lines")
ENCODINGS = {"UTF-8": "utf-8", "UTF-8 with BOM": "utf-8-sig", "UTF-16": "utf-16", "UTF-16-LE": "utf-16-le"}
