"""The words all layers share about forecasts: quantile levels, steps, target times.

Standard library only, so that importing it stays cheap for the commands that read.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from models.candles import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The levels forecast hubs ask for (hubverse; the COVID-19 and influenza hubs), stored for every step.
QUANTILE_LEVELS = (
    0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99,
)  # fmt: skip

# The median's place among the levels.
MEDIAN = QUANTILE_LEVELS.index(0.5)

# The levels the wide views show, and the names of their columns.
BAND_LEVELS = {
    "q025": 0.025,
    "q05": 0.05,
    "q10": 0.1,
    "q25": 0.25,
    "q50": 0.5,
    "q75": 0.75,
    "q90": 0.9,
    "q95": 0.95,
    "q975": 0.975,
}


class CentralBand(NamedTuple):
    """A band that should hold `percent` % of the actual closes; `low` and `high` are its edges' columns."""

    percent: int
    low: str
    high: str

    def __str__(self) -> str:
        return f"{self.percent} %"


# The bands that are drawn, listed and scored, from the narrowest to the widest.
CENTRAL_BANDS = (CentralBand(50, "q25", "q75"), CentralBand(80, "q10", "q90"), CentralBand(95, "q025", "q975"))

# Every other model is shown beside this one.
BASELINE = "naive"
# Forecast and backfilled every day, whichever model is champion, so the champion can always be compared with them.
REFERENCES = (BASELINE, "range-ewma")


class Kind(StrEnum):
    """How a forecast was stored: by a run for its newest candle, or by a backfill for a past one."""

    LIVE = "live"
    BACKFILL = "backfill"


class ScoreKind(StrEnum):
    """How a score counts; the three are never pooled.

    A step of a live forecast is `live` only if the forecast was stored before the candle of that step closed. The other
    steps of live forecasts are `late`: the actual close could have been known when they were stored.
    """

    LIVE = "live"
    LATE = "late"
    BACKFILL = "backfill"

    @property
    def stored_as(self) -> Kind:
        """The kind of the forecasts that these scores belong to."""
        return Kind.BACKFILL if self is ScoreKind.BACKFILL else Kind.LIVE


class Side(StrEnum):
    """On which side of a level the close is to be."""

    ABOVE = "above"
    BELOW = "below"


class Bound(StrEnum):
    """How a chance is to be read: as it is, or as the bound beyond which no quantile is stored."""

    EXACT = "exact"
    AT_MOST = "at most"
    AT_LEAST = "at least"


class Chance(NamedTuple):
    """A chance in [0.01, 0.99]; at the ends `bound` tells whether it is at most 0.01 or at least 0.99."""

    value: float
    bound: Bound


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """One forecast of one series: quantiles of the close price for steps 1..horizon.

    `origin` is the close_time of the last candle used (aware UTC). `values`: (horizon, 23), read-only; row h - 1 holds
    the quantiles at QUANTILE_LEVELS for step h, in quote currency; within a step they never decrease, and all are
    positive. `data_fingerprint` names the exact candles the forecast was computed from.
    """

    origin: datetime
    values: "NDArray[np.float64]"
    data_fingerprint: str

    def __post_init__(self) -> None:
        self.values.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same origin and candles, and equal numbers."""
        if not isinstance(other, Forecast):
            return NotImplemented
        if (self.origin, self.data_fingerprint) != (other.origin, other.data_fingerprint):
            return False
        return self.values.shape == other.values.shape and bool((self.values == other.values).all())

    @property
    def horizon(self) -> int:
        """How many steps the forecast has."""
        return len(self.values)


def target_time(origin: datetime, step: int, interval: Interval) -> datetime:
    """Return the open time of the candle that `step` forecasts; step 1 opens at the origin."""
    return origin + (step - 1) * interval.length
