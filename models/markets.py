"""Which markets the pooled models learn from: sound ones, and each coin once."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np

from models.candles import SeriesName
from models.frames import CandleFrame, closed_by
from models.volatility import candle_seconds

# A market's own averages settle over its first 60 candles, and a chunk of training is 90 candles long.
LEAST_CANDLES = 200
# A market that hardly moves (a stable coin) or that mostly stands still (a dead listing) has nothing to teach.
LEAST_DAILY_MOVE = 0.002
MOST_STILL = 0.2
# Quote currencies that are money: a coin's price in one of them is the same market, but for the exchange rate.
_CRYPTO_QUOTES = frozenset({"BTC", "XBT", "ETH", "BNB"})


def markets_to_learn_from(markets: Mapping[str, CandleFrame], cutoff: datetime) -> list[str]:
    """Return the names of the series to learn from at `cutoff`, in alphabetical order.

    A coin that several exchanges list moves almost equally on all of them and would count several times. So of all
    series of one coin the one with the most closed candles by `cutoff` is chosen; the first name decides a tie. A
    series that fails the data check (`is_sound`) is left out. `markets`: candles by series, all of one interval.
    """
    longest: dict[str, tuple[int, str]] = {}
    for name in sorted(markets):
        closed = closed_by(markets[name], cutoff)
        if is_sound(closed) and len(closed) > longest.get(coin(name), (0, ""))[0]:
            longest[coin(name)] = len(closed), name
    return sorted(name for _, name in longest.values())


def is_sound(candles: CandleFrame) -> bool:
    """Return whether a market is long, lively and volatile enough to learn from.

    It needs 200 candles, a price range in at least 80 % of them, and a median move of .2 % a day (over a shorter
    candle: of .2 % times the square root of its share of a day).
    """
    if len(candles) < LEAST_CANDLES:
        return False
    still = np.mean(candles["high"].to_numpy(np.float64) <= candles["low"].to_numpy(np.float64))
    move = np.median(np.abs(np.diff(np.log(candles["close"].to_numpy(np.float64)))))
    days = timedelta(seconds=candle_seconds(candles)) / timedelta(days=1)
    return bool(still <= MOST_STILL and move >= LEAST_DAILY_MOVE * np.sqrt(days))


def coin(series: str) -> str:
    """Return the coin of a series: BTC for every pair of bitcoin and money, ETH/BTC for a pair of two coins."""
    name = SeriesName.parse(series)
    base = "BTC" if name.base == "XBT" else name.base
    return f"{base}/{name.quote}" if name.quote in _CRYPTO_QUOTES else base
