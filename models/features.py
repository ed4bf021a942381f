"""Inputs and targets of the networks: 21 causal features and volatility-scaled log returns."""

from collections import deque
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.frames import CandleFrame
from models.volatility import SLOW, START, SURPRISE_CLIP, ahead, candle_seconds, ewma, forecast_volatility, seconds

# Values are cut at this many standard deviations, so that one crash does not dominate a network's input.
CLIP = 5.0
# A volume counts up to this many times the median of the last 30, and down to as small a part of it.
VOLUME_BOUND = 20.0
FEATURE_NAMES = (
    "return", "absolute_return", "negative_return", "range_volatility", "ewma_80", "ewma_94", "ewma_99",
    "sigma_to_past", "sigma_to_year", "close_in_range", "volume_z", "volume_trend", "return_7", "return_30",
    *(f"next_is_{day}" for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")),
)  # fmt: skip


class Features(NamedTuple):
    """One row a candle; n candles, F features, H steps."""

    features: NDArray[np.float32]
    """(n, F): finite, within +-5; row t is known when candle t closes."""
    targets: NDArray[np.float32]
    """(n, H): log return of the next h candles divided by `sigma`, within +-15; NaN where a candle is missing or has
    not closed, and in the first START - 1 rows."""
    sigma: NDArray[np.float64]
    """(n, H): the analytic volatility forecast that scales the targets; NaN in the first START - 1 rows."""


def make_features(candles: CandleFrame, *, horizon: int) -> Features:
    """Return features, targets and scales of every candle.

    Features are ratios to the volatility forecast, so that one network can read any series of any year. A value that is
    not known yet (a 30-candle volume at the third candle) or not in the file is 0, the middle of the range.
    """
    volatility = forecast_volatility(candles, horizon=horizon)
    variance, returns = volatility.variance, volatility.returns
    sigma = np.sqrt(ewma(variance, SLOW))
    sigma[: START - 1] = np.nan
    log_sigma = pd.Series(np.log(sigma))
    close, high, low = (np.log(candles[name].to_numpy(np.float64)) for name in ("close", "high", "low"))
    with np.errstate(divide="ignore", invalid="ignore"):
        in_range = np.where(high > low, (close - low) / (high - low) - 0.5, 0.0)
        log_volume = _bounded(pd.Series(np.log(candles["volume_base"].to_numpy(np.float64))))
    monthly = log_volume.rolling(30, min_periods=10)
    # A smaller spread is rounding of a constant volume.
    spread = monthly.std().clip(lower=1e-3)
    scaled = returns / sigma
    columns = [
        scaled,
        np.abs(scaled),
        np.minimum(scaled, 0),
        np.log(np.sqrt(variance) / sigma),
        *(np.log(np.sqrt(ewma(variance, decay)) / sigma) for decay in (0.80, 0.94, 0.99)),
        (log_sigma - log_sigma.expanding(30).mean()).to_numpy(),
        (log_sigma - log_sigma.rolling(365, min_periods=90).mean()).to_numpy(),
        in_range,
        ((log_volume - monthly.mean()) / spread).to_numpy(),
        (log_volume.rolling(7, min_periods=4).mean() - log_volume.rolling(90, min_periods=30).mean()).to_numpy(),
        *(_past_return(close, span) / (sigma * np.sqrt(span)) for span in (7, 30)),
    ]
    coming = seconds(candles, "open_time") + candle_seconds(candles)
    # 1970-01-01 was a Thursday.
    weekday = np.eye(7)[(coming // 86_400 + 3) % 7]
    features = np.concatenate([np.stack(columns, axis=1), weekday], axis=1)
    features = np.clip(np.nan_to_num(features, nan=0.0, posinf=CLIP, neginf=-CLIP), -CLIP, CLIP)
    targets = np.clip(ahead(candles, horizon) / volatility.sigma, -SURPRISE_CLIP, SURPRISE_CLIP)
    return Features(features.astype(np.float32), targets.astype(np.float32), volatility.sigma)


class RecentFeatures:
    """Keeps the features of the last few frames, so that a backfill computes a frame's features once for all quarters.

    A frame is recognised by its identity, so nobody may change it after the call. Only a few are kept, because a
    backfill over often revised candles sees many frames.
    """

    def __init__(self, horizon: int, frames: int = 4) -> None:
        self._horizon = horizon
        self._recent: deque[tuple[CandleFrame, Features]] = deque(maxlen=frames)

    def of(self, candles: CandleFrame) -> Features:
        """Return `make_features(candles)`, computed only when `candles` is none of the last frames."""
        for frame, features in self._recent:
            if frame is candles:
                return features
        features = make_features(candles, horizon=self._horizon)
        self._recent.append((candles, features))
        return features


def _bounded(log_volume: "pd.Series[float]") -> "pd.Series[float]":
    """Return log volumes within VOLUME_BOUND times the median of the 30 up to each; NaN where there was no trade."""
    log_volume = log_volume.where(np.isfinite(log_volume))
    usual, reach = log_volume.rolling(30, min_periods=10).median(), np.log(VOLUME_BOUND)
    return log_volume.clip(usual - reach, usual + reach)


def _past_return(log_close: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    result = np.full(len(log_close), np.nan)
    result[span:] = log_close[span:] - log_close[:-span]
    return result
