"""Quantiles of forecast distributions, and how quantiles of log returns become forecasts of prices."""

from bisect import insort
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.errors import NotEnoughCandles
from models.forecasts import MEDIAN, Forecast
from models.frames import CandleFrame, fingerprints
from models.metrics import LEVELS


def centred(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles of log returns shifted so that the median is zero: the point forecast is the last close.

    `quantiles`: (..., 23). No model here has a point forecast worth more: the best mean absolute error measured is
    0.998 times that of the last close.
    """
    return quantiles - quantiles[..., MEDIAN : MEDIAN + 1]


def expanding_quantiles(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the quantiles of the first so many `values`, for each of `counts`: (n_counts, 23); NaN for none.

    Linear between order statistics, as np.quantile. A backfill asks for thousands of counts, so the values are kept
    sorted: in a fifth of the time that a call of np.quantile a count takes.
    """
    result = np.full((len(counts), len(LEVELS)), np.nan)
    ordered: list[float] = []
    for place in np.argsort(counts, kind="stable").tolist():
        new = values[len(ordered) : counts[place]].tolist()
        if len(new) > len(ordered):
            ordered = sorted(ordered + new)
        else:
            for value in new:
                insort(ordered, value)
        if ordered:
            at = LEVELS * (len(ordered) - 1)
            low = at.astype(np.int64)
            below = np.array([ordered[i] for i in low.tolist()])
            above = np.array([ordered[i] for i in np.minimum(low + 1, len(ordered) - 1).tolist()])
            result[place] = below + (above - below) * (at - low)
    return result


def symmetric(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles, (..., 23), made symmetric around 0: each becomes the mean of itself and its mirror image."""
    return (quantiles - quantiles[..., ::-1]) / 2


def origin_rows(candles: CandleFrame, origins: Sequence[datetime], needed: int) -> NDArray[np.int64]:
    """Return the row of the last candle each origin may see: the candle that closes at the origin.

    Raises NotEnoughCandles for an origin with fewer than `needed` candles, ValueError for an origin at which no candle
    closes; both name the origin.
    """
    closes = {instant: row for row, instant in enumerate(candles["close_time"].dt.to_pydatetime())}
    rows = []
    for origin in origins:
        row = closes.get(origin)
        if row is None:
            raise ValueError(f"expected an origin at which a candle closes, got {origin.isoformat()}")
        if row + 1 < needed:
            raise NotEnoughCandles(
                f"{needed} closed candles are needed for a forecast, there are {row + 1} by {origin.isoformat()}"
            )
        rows.append(row)
    return np.array(rows, dtype=np.int64)


def forecasts_from_log_returns(
    candles: CandleFrame, origins: Sequence[datetime], rows: NDArray[np.int64], quantiles: NDArray[np.float64]
) -> list[Forecast]:
    """Return forecasts of prices from quantiles of log returns since each origin's close.

    `rows`: (n_origins,), the origins' rows from `origin_rows`; `quantiles`: (n_origins, horizon, 23). Quantiles are
    sorted within a step, so that none cross, and exponentiated, so that every price is positive.
    """
    prices = candles["close"].to_numpy()[rows][:, None, None] * np.exp(np.sort(quantiles, axis=-1))
    data_fingerprints = fingerprints(candles, [row + 1 for row in rows.tolist()])
    return [Forecast(*forecast) for forecast in zip(origins, prices, data_fingerprints, strict=True)]
