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

_NAME = re.compile(
    r"(?P<exchange>[A-Za-z0-9][A-Za-z0-9.-]{0,39})_(?P<pair>[A-Za-z0-9]{4,30})_(?P<interval>d|1h|minute)"
)


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
        return cls.parse(file.stem.split("__")[0])

    @property
    def quote(self) -> str:
        """The currency prices are in, such as USD."""
        pair = self.pair.upper()
        for currency in sorted(QUOTE_CURRENCIES, key=len, reverse=True):
            if pair.endswith(currency) and len(pair) > len(currency) + 1:
                return currency
        return pair[-3:]

    @property
    def base(self) -> str:
        """The currency that is priced, such as BTC."""
        return self.pair.upper().removesuffix(self.quote)

    def __str__(self) -> str:
        return f"{self.exchange}_{self.pair}_{self.interval}"


# The columns of a candle frame, in order. Instants are aware UTC; `open_time` ascends without repeats;
# prices are in quote currency per unit of base; `volume_base` and `volume_quote` may be NaN where a file
# has only one of them, `trades` is a nullable integer.
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
