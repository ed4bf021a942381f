"""Whether a symbol names the pair of a series, by its parts: tBTCUSD, BTC/USDT:USDT, BTC-USD, COINBASE:BTCUSD."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.candles import SeriesName

# Words beside the pair that name no other market.
_SPOT = {"SPOT", ""}


def names_the_pair(text: str, series: SeriesName, volume_currencies: Iterable[str] = ()) -> bool:
    """Return whether a symbol is the pair of `series`; no symbol at all names no other pair.

    The base alone (BTC) is the pair where the names of the volume columns speak of no other quote currency.
    """
    text = text.strip()
    if not text:
        return True
    # Bitfinex puts a t before the symbols that are traded.
    if re.fullmatch(r"t[A-Z0-9]{6,}(:[A-Z0-9]+)?", text):
        text = text[1:]
    # After a colon stands the currency of settlement; before one may stand the exchange.
    market, _, settlement = text.upper().partition(":")
    if _bare(market) == _bare(series.exchange):
        market, settlement = settlement, ""
    parts = [_canonical(part) for part in re.split(r"[^A-Z0-9]+", market)]
    parts = [part for part in parts if part not in _SPOT and part != _bare(series.exchange)]
    spoken_of = {_canonical(currency) for currency in volume_currencies}
    return any(_are(parts, settlement, spoken_of, _canonical(base), _canonical(quote)) for base, quote in series.splits)


def _are(parts: Sequence[str], settlement: str, spoken_of: set[str], base: str, quote: str) -> bool:
    if settlement and _canonical(settlement) not in (base, quote):
        return False
    if len(parts) != 1:
        return parts == [base, quote]
    whole = parts[0].replace("XBT", "BTC")
    if whole == base:
        return not spoken_of - {base, quote}
    # Kraken marks currencies with X (coins) and Z (money).
    return whole in (f"{base}{quote}", f"X{base}Z{quote}", f"XXBTZ{quote}" if base == "BTC" else "")


def other_pair(symbols: Sequence[str], series: SeriesName, volume_currencies: Iterable[str] = ()) -> NDArray[np.bool_]:
    """Return which rows name another pair than that of `series`."""
    named = {text: names_the_pair(text, series, volume_currencies) for text in set(symbols)}
    return np.array([not named[text] for text in symbols], dtype=np.bool_)


def _canonical(currency: str) -> str:
    return "BTC" if currency.upper() == "XBT" else currency.upper()


def _bare(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", text.upper())
