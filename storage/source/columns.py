"""Which column of CryptoDataDownload's CSV is what, by its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from models.candles import QUOTE_CURRENCIES, SeriesName
from storage.source.cells import DELIMITERS, filled, split_line

PRICES = ("open", "high", "low", "close")

_TIME_WORDS = {
    "unix", "unixtime", "unixtimestamp", "epoch", "timestamp", "timestampms", "timestamps", "date", "datetime", "time",
    "day", "hour", "ts", "opentime", "utc", "dateutc", "timeutc", "datum",
}  # fmt: skip
# A time that is not the candle's opening.
_OTHER_TIMES = {"close", "closing", "end", "last", "updated", "fetched", "downloaded", "closetime", "modified", "zone"}
_SYMBOL_NAMES = {"symbol", "pair", "market", "ticker", "instrument", "currencypair", "coin", "asset", "tic"}
_TRADES_NAMES = {"tradecount", "trades", "numberoftrades", "numtrades", "tradescount", "count"}
_VOLUME = re.compile(r"(base|quote)?(?:asset)?vol(?:ume)?([a-z0-9]*)")
_SIDES = {"base": "base", "from": "base", "quote": "quote", "to": "quote"}


@dataclass(frozen=True)
class Layout:
    """Which column is what: places from 0, -1 where there is none. `text` is the header as it stands in the file."""

    text: str
    delimiter: str
    width: int
    times: tuple[tuple[str, int], ...] = ()
    """Every column that says when the candle opened, by name."""
    prices: dict[str, int] = field(default_factory=dict)
    symbol: int = -1
    trades: int = -1
    volume_base: int = -1
    volume_quote: int = -1
    currencies: frozenset[str] = frozenset()
    """Currencies that the names of the volume columns speak of."""
    remark: str = ""
    """How the columns were found, where it was not by a header."""

    @property
    def last_needed(self) -> int:
        """The place of the last column that a candle cannot do without."""
        return max([*self.prices.values(), min(place for _, place in self.times)])

    def shifted(self, by: int) -> "Layout":
        """Return the layout of rows that have `by` more columns in front than the header names."""

        def move(place: int) -> int:
            return place + by if place >= 0 else place

        return replace(
            self,
            width=self.width + by,
            times=tuple((name, place + by) for name, place in self.times),
            prices={name: place + by for name, place in self.prices.items()},
            symbol=move(self.symbol),
            trades=move(self.trades),
            volume_base=move(self.volume_base),
            volume_quote=move(self.volume_quote),
        )


def layouts(text: str, series: SeriesName) -> list[Layout]:
    """Return the layouts of the tables that a header line names, side by side; none when the line is no header."""
    lowered = text.casefold()
    if not all(name in lowered for name in PRICES):
        return []
    # The delimiter is the one that cuts the line into the most names that mean something.
    best: list[Layout] = []
    for delimiter in DELIMITERS:
        tables = _with_delimiter(text, delimiter, series) if delimiter in text else []
        if sum(len(one.times) + len(one.prices) for one in tables) > sum(
            len(one.times) + len(one.prices) for one in best
        ):
            best = tables
    return best


def _with_delimiter(text: str, delimiter: str, series: SeriesName) -> list[Layout]:
    names = split_line(text, delimiter)
    names = names[: filled(names)]
    roles = [_role(name, series) for name in names]
    opens = [place for place, role in enumerate(roles) if role == "open"]
    if not opens:
        return []
    # Another table begins with the times and the symbol before its first price.
    starts = [0]
    for place in opens[1:]:
        while roles[place - 1] in ("time", "symbol"):
            place -= 1
        starts.append(place)
    tables = []
    for start, end in zip(starts, [*starts[1:], len(names)], strict=True):
        layout = _table(names, roles, range(start, end), text, delimiter, series)
        if layout is None:
            return []
        tables.append(layout)
    # Tables beside the first one may share its times.
    tables = [one if one.times else replace(one, times=tables[0].times) for one in tables]
    return tables if all(one.times for one in tables) else []


def _table(
    names: Sequence[str], roles: Sequence[str], places: range, text: str, delimiter: str, series: SeriesName
) -> Layout | None:
    prices: dict[str, int] = {}
    times: list[tuple[str, int]] = []
    single = {"symbol": -1, "trades": -1}
    volumes: list[tuple[int, str, str]] = []
    for place in places:
        role = roles[place]
        if role in PRICES:
            if role in prices:
                return None
            prices[role] = place
        elif role == "time":
            times.append((names[place], place))
        elif role in single:
            single[role] = place if single[role] < 0 else single[role]
        elif role == "volume":
            volumes.append((place, *_volume_meaning(names[place], series)))
    if len(prices) < len(PRICES):
        return None
    meanings = {"base": -1, "quote": -1}
    for wanted in ("named", ""):
        for place, meaning, _ in volumes:
            if wanted and meaning and meanings[meaning] < 0:
                meanings[meaning] = place
            elif not wanted and not meaning:
                free = next((name for name in ("base", "quote") if meanings[name] < 0), None)
                if free is not None:
                    meanings[free] = place
    return Layout(
        text.strip().casefold(), delimiter, len(names), tuple(times), prices, single["symbol"], single["trades"],
        meanings["base"], meanings["quote"], frozenset(currency for *_, currency in volumes if currency),
    )  # fmt: skip


def _role(name: str, series: SeriesName) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.sub(r"[^\w]+|_", " ", spaced.casefold()).split()
    compact = "".join(words)
    if not compact:
        return ""
    if compact in _SYMBOL_NAMES:
        return "symbol"
    if compact in _TRADES_NAMES:
        return "trades"
    if _volume_match(name) is not None:
        return "volume"
    plain = [word for word in words if word not in ("price", series.base.casefold(), series.quote.casefold())]
    if len(plain) == 1 and plain[0].removesuffix("price") in PRICES:
        return plain[0].removesuffix("price")
    if ({compact, *words} & _TIME_WORDS or compact.startswith("unix")) and not {compact, *words} & _OTHER_TIMES:
        return "time"
    return ""


def _volume_match(name: str) -> "re.Match[str] | None":
    """Return the parts of a volume column's name: Volume BTC and volume_usd are, volatility and volume_ma20 are not."""
    match = _VOLUME.fullmatch(re.sub(r"[^a-z0-9]+", "", name.casefold()))
    if match is None or match[2] in _SIDES or match[2].upper() in ("", *QUOTE_CURRENCIES):
        return match
    a_word = re.search(rf"(\b|_){match[2]}\b", name, re.IGNORECASE) is not None
    return match if a_word and not re.fullmatch(r"(ma|ema|sma|avg|mean|change|pct|lag)\d*", match[2]) else None


def _volume_meaning(name: str, series: SeriesName) -> tuple[str, str]:
    """Return base, quote or nothing for a volume column's name, and the currency it speaks of."""
    match = _volume_match(name)
    assert match is not None
    currency = match[2].upper().replace("XBT", "BTC")
    for base, quote in series.splits:
        # The two may have the same name in a file that somebody edited; then the base is meant.
        if currency and currency in (base.replace("XBT", "BTC"), quote):
            return ("quote" if currency == quote else "base"), currency
    side = _SIDES.get(match[1] or match[2] or "", "")
    return (side, "") if side else ("", currency)
