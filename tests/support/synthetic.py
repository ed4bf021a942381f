"""Candles of a seeded random walk, for tests that need many or unusual candles."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from models.candles import CANDLE_COLUMNS
from models.frames import CandleFrame

# The series whose candles these are, where a name is needed.
MARKET = "Bitstamp_BTCUSD_d"


def random_walk(
    n: int, *, seed: int = 0, sigma: float = 0.03, start: datetime = datetime(2015, 1, 1, tzinfo=UTC),
    length: timedelta = timedelta(days=1), drop: slice | None = None,
) -> CandleFrame:  # fmt: skip
    """Return `n` candles of a driftless random walk with 24 moves inside each; `drop` cuts rows out (a gap)."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_normal((n, 24)) * sigma / np.sqrt(24)
    path = np.exp(np.cumsum(moves.ravel()).reshape(n, 24)) * 1000
    opens = np.concatenate([[1000.0], path[:-1, -1]])
    volume = rng.gamma(2.0, 50.0, n)
    opened = pd.date_range(start, periods=n, freq=length).as_unit("us")
    frame = pd.DataFrame(
        {
            "open_time": opened,
            "close_time": opened + length,
            "open": opens,
            "high": np.maximum(path.max(axis=1), opens),
            "low": np.minimum(path.min(axis=1), opens),
            "close": path[:, -1],
            "volume_base": volume,
            "volume_quote": volume * path[:, -1],
            "trades": np.full(n, np.nan),
        }
    )[list(CANDLE_COLUMNS)]
    return frame if drop is None else frame.drop(frame.index[drop]).reset_index(drop=True)


def close_times(candles: CandleFrame) -> list[datetime]:
    """Return the close time of each candle."""
    return list(candles["close_time"].dt.to_pydatetime())


def changed_after(candles: CandleFrame, instant: datetime, *, factor: float = 1.7) -> CandleFrame:
    """Return the candles with the prices and volumes of all that close after `instant` multiplied by `factor`."""
    changed = candles.copy()
    later = (candles["close_time"] > instant).to_numpy()
    for column in ("open", "high", "low", "close", "volume_base", "volume_quote"):
        changed.loc[later, column] *= factor
    return changed
