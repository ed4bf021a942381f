"""The analytic volatility forecast: range-based, exponentially weighted, with a season of the week or the day.

Everything here is causal: row t depends on candles 0..t only.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models import prior
from models.frames import CandleFrame

# Decays of the two averages. They and the other constants here were chosen on 2018-2020 alone (docs/forecasting.md
# counts the variants tried).
SLOW, FAST = 0.97, 0.85
# The fast average's weight in the geometric blend at step 1; it falls linearly to nothing at step 7.
FAST_WEIGHT = 0.5
FAST_STEPS = 7
# The season is estimated from the last SEASON_WINDOW candles, and again every SEASON_EVERY candles. Values above the
# SEASON_WINSOR quantile are cut to it. The season of many markets counts as much as SEASON_PRIOR candles.
SEASON_WINDOW = 730
SEASON_EVERY = 7
SEASON_WINSOR = 0.95
SEASON_PRIOR = 200
# A flat day of an outage has no range. This floor keeps its logarithm finite and is far below any market's variance.
LEAST_VARIANCE = 1e-10
# One bad print must not own the volatility, so a candle's variance counts up to VARIANCE_CAP times the slow average
# before it. A lasting change of level counts: the cap is never below the lowest of the last LASTING variances. A wrong
# close makes two of them large, its own and the next, so three are the fewest that one candle cannot lift.
VARIANCE_CAP = 9.0
LASTING = 3
# A return over its forecast volatility counts up to this. Real markets went further, but no wrong close may own what a
# network or a young market learns from a few of them.
SURPRISE_CLIP = 15.0
# The first averages have nothing to be compared with. The first START variances count up to VARIANCE_CAP times their
# median, which is known at the last of them, so no volatility is forecast before it.
START = 20

Floats = NDArray[np.float64]


class Volatility(NamedTuple):
    """Volatility forecasts from each candle, in units of log return; n candles, H steps."""

    sigma: Floats
    """(n, H): standard deviation of the return over the next h candles, up to one factor common to a series.

    NaN in the first START - 1 rows, where too few candles are known."""
    variance: Floats
    """(n,): Garman-Klass variance of each candle, from the previous close, cut by `bounded_variance`."""
    returns: Floats
    """(n,): log return from the previous close; NaN for the first candle and over a gap."""


def log_returns(candles: CandleFrame, *, step: int = 1) -> Floats:
    """Return the log return over the last `step` candles up to each candle, (n,); NaN where one of them is missing."""
    close = np.log(candles["close"].to_numpy(np.float64))
    opened = seconds(candles, "open_time")
    result = np.full(len(close), np.nan)
    if len(close) > step:
        whole = opened[step:] - opened[:-step] == step * candle_seconds(candles)
        result[step:] = np.where(whole, close[step:] - close[:-step], np.nan)
    return result


def ahead(candles: CandleFrame, horizon: int) -> Floats:
    """Return the log return from each close to the close h candles later, (n, horizon); NaN where there is none yet."""
    result = np.full((len(candles), horizon), np.nan)
    for step in range(1, horizon + 1):
        if len(candles) > step:
            result[:-step, step - 1] = log_returns(candles, step=step)[step:]
    return result


def garman_klass(candles: CandleFrame) -> Floats:
    """Return each candle's variance from its range, (n,): ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2.

    Garman and Klass, 1980, "On the estimation of security price volatilities from historical data", Journal of
    Business 53(1). O is the previous close, and H and L are widened to include it: in these files the open often
    differs from the previous close (by over 0.2 % on 232 days of Bitstamp's bitcoin).
    """
    o, h, low, c = (np.log(candles[name].to_numpy(np.float64)) for name in ("open", "high", "low", "close"))
    if len(c):
        # After a gap the previous close is too old, so the candle's own open stays.
        known = np.isfinite(log_returns(candles)[1:])
        o[1:] = np.where(known, c[:-1], o[1:])
    h, low = np.maximum(h, o), np.minimum(low, o)
    return np.asarray(np.maximum((h - low) ** 2 / 2 - (2 * np.log(2) - 1) * (c - o) ** 2, LEAST_VARIANCE))


def bounded_variance(variance: Floats) -> Floats:
    """Return the variances, (n,), each cut to VARIANCE_CAP times the slow average of the cut ones before it.

    Where the lowest of the LASTING variances before it is higher than that, it is the bound. Candles that did not move
    count in no average: after an outage every market would seem absurd. Row t depends on the rows 0..max(t, START - 1).
    """
    bounded: list[float] = []
    moved = variance[:START][variance[:START] > LEAST_VARIANCE]
    first = VARIANCE_CAP * np.median(moved) if len(moved) else np.inf
    total, weight = 0.0, 0.0
    # Each bound depends on the one before, hence the loop.
    for row, (value, lasting) in enumerate(zip(variance.tolist(), _lasting(variance).tolist(), strict=True)):
        usual = VARIANCE_CAP * total / weight if weight else np.inf
        bounded.append(min(value, first if row < START else max(usual, lasting)))
        if value > LEAST_VARIANCE:
            total, weight = SLOW * total + bounded[-1], SLOW * weight + 1
    return np.array(bounded)


def _lasting(variance: Floats) -> Floats:
    """Return the lowest of the LASTING variances before each row, (n,); 0 in the first rows."""
    result = np.zeros(len(variance))
    if len(variance) > LASTING:
        result[LASTING:] = np.lib.stride_tricks.sliding_window_view(variance[:-1], LASTING).min(axis=1)
    return result


def ewma(values: Floats, decay: float) -> Floats:
    """Return the exponentially weighted mean of `values` up to each row, (n,); weights decay by `decay` a candle."""
    # adjust=True divides by the sum of the weights so far, so the first rows need no starting value.
    return np.asarray(pd.Series(values).ewm(alpha=1 - decay, adjust=True).mean().to_numpy(np.float64))


def forecast_volatility(candles: CandleFrame, *, horizon: int) -> Volatility:
    """Return the volatility forecasts from every candle.

    sigma_h^2 = blend_h(EWMA 0.97, EWMA 0.85 of the Garman-Klass variance) x sum of the season's factors of the next h
    candles. The blend is geometric: half slow and half fast at step 1, all slow from step 7 on.
    """
    variance = bounded_variance(garman_klass(candles))
    slow, fast = ewma(variance, SLOW), ewma(variance, FAST)
    weight = FAST_WEIGHT * np.clip((FAST_STEPS - np.arange(1, horizon + 1)) / (FAST_STEPS - 1), 0, 1)
    blended = slow[:, None] ** (1 - weight) * fast[:, None] ** weight
    season = np.cumsum(_season(candles, variance, slow, horizon), axis=1)
    sigma = np.sqrt(blended * season)
    sigma[: START - 1] = np.nan
    return Volatility(sigma, variance, log_returns(candles))


def _season(candles: CandleFrame, variance: Floats, slow: Floats, horizon: int) -> Floats:
    """Return the variance factors, mean one, of the next `horizon` candles as estimated at each: (n, horizon).

    The season goes by weekday for daily candles and by hour of the day for shorter ones. It is estimated from the
    trailing SEASON_WINDOW candles, winsorised, every SEASON_EVERY candles of the calendar, so that the first candle of
    a file does not decide on which days. A young market borrows the season of many markets.
    """
    n, length = len(candles), candle_seconds(candles)
    opened = seconds(candles, "open_time")
    day = 86_400
    slots = 7 if length >= day else 24

    # 1970-01-01 was a Thursday.
    def slot_of(instant: NDArray[np.int64]) -> NDArray[np.int64]:
        return (instant // day + 3) % 7 if slots == 7 else instant % day // 3600

    slot = slot_of(opened)
    ratio = np.ones(n)
    ratio[1:] = variance[1:] / slow[:-1]
    due = np.flatnonzero(opened // length % SEASON_EVERY == 0)
    due = due[due >= 1]
    factors = np.tile(prior.season(slots), (n, 1))
    caps = _caps(ratio, due)
    for i, row in enumerate(due):
        past = slice(max(row + 1 - SEASON_WINDOW, 1), row + 1)
        until = due[i + 1] if i + 1 < len(due) else n
        factors[row:until] = _factors(np.minimum(ratio[past], caps[i]), slot[past], slots)
    coming = slot_of(opened[:, None] + length * np.arange(1, horizon + 1))
    return np.take_along_axis(factors, coming, axis=1)


def _caps(ratio: Floats, rows: NDArray[np.int64]) -> Floats:
    """Return the winsor quantile of the trailing window up to each of `rows`; full windows are computed together."""
    full = rows - SEASON_WINDOW + 1 >= 1
    caps = np.array([np.quantile(ratio[1 : row + 1], SEASON_WINSOR) for row in rows[~full]])
    if full.any():
        windows = np.lib.stride_tricks.sliding_window_view(ratio, SEASON_WINDOW)
        starts = rows[full] - SEASON_WINDOW + 1
        # np.quantile copies each window, so only some 500 are computed at a time.
        parts = np.array_split(starts, len(starts) // 500 + 1)
        caps = np.concatenate([caps, *(np.quantile(windows[part], SEASON_WINSOR, axis=1) for part in parts)])
    return caps


def _factors(capped: Floats, slot: NDArray[np.int64], slots: int) -> Floats:
    """Return the factors of a season, (slots,), mean one; those of many markets count SEASON_PRIOR candles."""
    count = np.bincount(slot, minlength=slots)
    total = np.bincount(slot, weights=capped, minlength=slots)
    mean = np.where(count > 0, total / np.maximum(count, 1), capped.mean())
    own = len(capped) / (len(capped) + SEASON_PRIOR)
    return np.asarray(own * mean / mean.mean() + (1 - own) * prior.season(slots))


def seconds(candles: CandleFrame, column: str) -> NDArray[np.int64]:
    """Return a time column in unix seconds, (n,)."""
    return np.asarray(candles[column].to_numpy("datetime64[s]").astype(np.int64))


def candle_seconds(candles: CandleFrame) -> int:
    """Return how long a candle of the frame lasts, in seconds; a day for a frame without rows."""
    if not len(candles):
        return 86_400
    return int((candles["close_time"].iloc[0] - candles["open_time"].iloc[0]).total_seconds())
