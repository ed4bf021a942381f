"""Candles in which one is absurd, as a wrong price or volume in a file makes it."""

import numpy as np

from models.frames import CandleFrame

PRICES = ["open", "high", "low", "close"]
FIELDS = (*PRICES, "every price", "volume_base")


def with_bad_print(candles: CandleFrame, row: int, field: str, factor: float) -> CandleFrame:
    """Return a copy whose candle `row` has `field` times `factor`; its other prices give way, so it stays a candle."""
    changed = candles.copy()
    if field == "every price":
        changed.loc[row, PRICES] *= factor
        return changed
    changed.loc[row, field] *= factor
    if field in PRICES:
        o, h, low, c = changed.loc[row, PRICES].to_numpy(np.float64)
        if field == "high":
            o, c, low = min(o, h), min(c, h), min(low, h)
        elif field == "low":
            o, c, h = max(o, low), max(c, low), max(h, low)
        changed.loc[row, PRICES] = [o, max(o, h, low, c), min(o, h, low, c), c]
    return changed
