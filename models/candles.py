"""The words all layers share about candles: series names, intervals, columns, findings.

Standard library only, so that importing it stays cheap for the commands that read.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path


class Interval(StrEnum):
    """The length of a candle, spelled as CryptoDataDownload spells it in file names."""

    DAY = "d"
    HOUR = "1h"
    MINUTE = "minute"

    @property
    def length(self) -> timedelta:
        """How long a candle of this interval lasts."""
        return _LENGTHS[self]


_LENGTHS = {
    Interval.DAY: timedelta(days=1),
    Interval.HOUR: timedelta(hours=1),
    Interval.MINUTE: timedelta(minutes=1),
}

# Longest first, so that BTCUSDT splits into BTC and USDT rather than BTCUS and DT or BTCUSD and T.
QUOTE_CURRENCIES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USD", "EUR", "GBP", "JPY", "KRW", "TRY", "AUD",
    "CAD", "CHF", "BRL", "SGD", "DAI", "BTC", "XBT", "ETH", "BNB", "EURT", "EURS", "PAX",
)  # fmt: skip
# Quote currencies that are worth the same, except in a crisis of one of them.
DOLLARS = frozenset({"USD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "FDUSD", "DAI", "PAX"})

_NAME = re.compile(
    r"(?P<exchange>[A-Za-z0-9][A-Za-z0-9.-]{0,39})_(?P<pair>[A-Za-z0-9]{4,30})_(?P<interval>d|1h|minute)"
)


# The other names of CDD's files. Yearly: Bitstamp_BTCUSD_2021_minute. Old: gemini_BTCUSD_2019_1min, gemini_BTCUSD_1hr,
# gemini_BTCUSD_day. Futures: BTCUSDT_Binance_futures_data_day. Compiled at their first use: no reading command has one.
_OTHER_NAME = (
    r"(?P<exchange>[A-Za-z0-9][A-Za-z0-9.-]{0,39})_(?P<pair>[A-Za-z0-9]{4,30})"
    r"(?:_(?P<year>20\d{2}))?_(?P<interval>[0-9a-z]+)"
)
_FUTURES_NAME = (
    r"(?P<pair>[A-Za-z0-9]{4,30})_(?P<exchange>[A-Za-z0-9][A-Za-z0-9.-]{0,30})_futures(?:_data)?"
    r"(?:_(?P<year>20\d{2}))?_(?P<interval>[0-9a-z]+)"
)
_OTHER_INTERVALS = {
    "d": Interval.DAY, "1d": Interval.DAY, "day": Interval.DAY, "daily": Interval.DAY,
    "1h": Interval.HOUR, "1hr": Interval.HOUR, "hour": Interval.HOUR, "hourly": Interval.HOUR, "60min": Interval.HOUR,
    "minute": Interval.MINUTE, "1min": Interval.MINUTE, "1m": Interval.MINUTE,
}  # fmt: skip


class UnknownSeries(ValueError):
    """A series name that is not `<Exchange>_<PAIR>_<interval>`."""


@dataclass(frozen=True, slots=True)
class SeriesName:
    """A series, named as CryptoDataDownload names its file: `Bitstamp_BTCUSD_d`."""

    exchange: str
    pair: str
    interval: Interval

    @classmethod
    def parse(cls, text: str) -> "SeriesName":
        """Return the series that `text` names.

        Raises UnknownSeries when the text is not of the form; nothing else of a name can be wrong here,
        and no name that passes can leave a folder or an URL's path, hide a file, or be taken for an option.
        """
        match = _NAME.fullmatch(text)
        if match is None or ".." in text:
            raise UnknownSeries(
                f"expected a series like 'Bitstamp_BTCUSD_d' (exchange, pair, then d, 1h or minute), got {text[:80]!r}"
            )
        return cls(match["exchange"], match["pair"], Interval(match["interval"]))

    @classmethod
    def of_file(cls, file: Path) -> "SeriesName":
        """Return the series a file is named after, what follows a double underscore aside; raises UnknownSeries."""
        return cls.of_file_name(file.stem.split("__")[0])

    @classmethod
    def of_file_name(cls, text: str) -> "SeriesName":
        """Return the series of a file's name without its ending, which may be one of CDD's other names.

        Yearly and old files are parts of the series that CDD serves today: `gemini_BTCUSD_2019_1min` is part of
        `Gemini_BTCUSD_minute`. Futures are a market of their own: `BTCUSDT_Binance_futures_data_day` is
        `Binance-futures_BTCUSDT_d`. Raises UnknownSeries for any other text.
        """
        if _NAME.fullmatch(text):
            return cls.parse(text)
        futures = re.fullmatch(_FUTURES_NAME, text)
        match = futures or re.fullmatch(_OTHER_NAME, text)
        if match is None or match["interval"] not in _OTHER_INTERVALS:
            return cls.parse(text)
        exchange = match["exchange"].capitalize() if match["exchange"].islower() else match["exchange"]
        exchange += "-futures" if futures else ""
        return cls.parse(f"{exchange}_{match['pair']}_{_OTHER_INTERVALS[match['interval']]}")

    @property
    def splits(self) -> list[tuple[str, str]]:
        """The ways to cut the pair into base and quote, the likeliest first: BATUSD is BAT in USD, or BA in TUSD.

        Binance has no plain dollars: ARBUSD is AR in BUSD there. Elsewhere a base of two letters is less likely.
        """
        pair = self.pair.upper()
        fitting = [one for one in QUOTE_CURRENCIES if pair.endswith(one) and len(pair) > len(one) + 1]
        fitting.sort(key=len, reverse=True)
        if self.exchange.casefold() != "binance":
            fitting.sort(key=lambda one: len(pair) - len(one) < 3)
        return [(pair.removesuffix(one), one) for one in fitting] or [(pair[:-3], pair[-3:])]

    @property
    def quote(self) -> str:
        """The currency prices are in, such as USD."""
        return self.splits[0][1]

    @property
    def base(self) -> str:
        """The currency that is priced, such as BTC."""
        return self.splits[0][0]

    def __str__(self) -> str:
        return f"{self.exchange}_{self.pair}_{self.interval}"


# The columns of a candle frame, in order. Instants are aware UTC; `open_time` ascends without repeats;
# prices are in quote currency per unit of base; `volume_base` and `volume_quote` may be NaN where a file
# has only one of them. `trades` is a float, NaN where unknown.
CANDLE_COLUMNS = (
    "open_time",
    "close_time",
    "open",
    "high",
    "low",
    "close",
    "volume_base",
    "volume_quote",
    "trades",
)


class Severity(StrEnum):
    """How much a finding matters to somebody who relies on the data."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about the data that a person may want to know; never an exception.

    `code` is a stable word (`gap`, `duplicate`, `stale`, ...), `count` how many candles it concerns, and
    `first_time`..`last_time` the open times of the first and last of them.
    """

    code: str
    severity: Severity
    message: str
    remedy: str
    count: int = 1
    first_time: datetime | None = None
    last_time: datetime | None = None
