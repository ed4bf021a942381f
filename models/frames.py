"""Candle frames: the pandas form of candles, how they are cut in time and how they are named."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

import numpy as np
import pandas as pd

from models.candles import CANDLE_COLUMNS

# A frame with exactly CANDLE_COLUMNS, one closed candle a row, open_time ascending without repeats,
# times as datetime64 in UTC, everything else float64 (NaN where unknown).
CandleFrame: TypeAlias = pd.DataFrame


def empty_candles() -> CandleFrame:
    """Return a candle frame without rows, with the dtypes that every candle frame has."""
    times = pd.Series([], dtype="datetime64[us, UTC]")
    columns = {name: times if name.endswith("_time") else pd.Series([], dtype=float) for name in CANDLE_COLUMNS}
    return pd.DataFrame(columns)


def closed_by(candles: CandleFrame, instant: datetime) -> CandleFrame:
    """Return the candles that had closed at `instant` (aware UTC): all that a forecast from it may see."""
    return candles[candles["close_time"] <= instant].reset_index(drop=True)


def fingerprint(candles: CandleFrame) -> str:
    """Return the sha256 that names these exact candles: 64 hexadecimal digits.

    It covers open times in microseconds and the six numbers a model may read, in row order, so two frames
    with equal fingerprints give a deterministic model the same forecast.
    """
    return fingerprints(candles, [len(candles)])[0]


def fingerprints(candles: CandleFrame, counts: Sequence[int]) -> list[str]:
    """Return the fingerprint of the first so many candles, for each of `counts`; the numbers are prepared once."""
    columns = [candles["open_time"].to_numpy("datetime64[us]").astype("<i8")]
    for name in ("open", "high", "low", "close", "volume_base", "volume_quote"):
        values = candles[name].to_numpy(np.float64)
        # One bit pattern for every NaN, and for both zeros.
        columns.append((np.where(np.isnan(values), np.nan, values) + 0.0).astype("<f8"))
    hashes = []
    for count in counts:
        digest = hashlib.sha256()
        for column in columns:
            digest.update(column[:count].tobytes())
        hashes.append(digest.hexdigest())
    return hashes
