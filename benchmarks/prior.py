"""Prints the numbers of models/prior.py: python benchmarks/prior.py DAILY_FILE ... --hourly FILE ...

The season is the mean over the markets of each one's variance factors, the surprises the mean of each one's quantiles,
from each series' 60th candle on, in 2018-2020. Hourly files give the hours of the day only.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from walkforward import candles_of

from models import prior, volatility
from models.frames import CandleFrame
from models.metrics import LEVELS
from models.range_ewma import WARM_UP
from models.volatility import ahead, bounded_variance, ewma, forecast_volatility, garman_klass, seconds

START, END = datetime(2018, 1, 1, tzinfo=UTC), datetime(2020, 12, 31, tzinfo=UTC)
HORIZON, LEAST_ROWS = 7, 200


def rows_of(candles: CandleFrame) -> NDArray[np.int64]:
    rows = np.flatnonzero(candles["close_time"].between(START, END).to_numpy())
    return rows[rows >= WARM_UP]


def season(candles: CandleFrame, slots: int) -> NDArray[np.float64]:
    """Return one market's variance factors, (slots,)."""
    variance = bounded_variance(garman_klass(candles))
    rows, opened = rows_of(candles), seconds(candles, "open_time")
    ratio = variance[rows] / ewma(variance, volatility.SLOW)[rows - 1]
    slot = (opened // 86_400 + 3) % 7 if slots == 7 else opened % 86_400 // 3600
    capped = np.minimum(ratio, np.quantile(ratio, volatility.SEASON_WINSOR))
    return np.asarray(volatility._factors(capped, slot[rows], slots))


def surprises(candles: CandleFrame) -> NDArray[np.float64]:
    """Return one market's quantiles of surprises, (7, 23), known by END."""
    rows, values = rows_of(candles), ahead(candles, HORIZON) / forecast_volatility(candles, horizon=HORIZON).sigma
    columns = [values[rows[rows + step <= rows[-1]], step - 1] for step in range(1, HORIZON + 1)]
    return np.array([np.quantile(column[np.isfinite(column)], LEVELS) for column in columns])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--hourly", type=Path, nargs="*", default=[])
    chosen = parser.parse_args()
    # The numbers come from the markets alone, not from the numbers before.
    season_prior, volatility.SEASON_PRIOR = volatility.SEASON_PRIOR, 0
    daily = [candles for candles in map(candles_of, chosen.files) if len(rows_of(candles)) >= LEAST_ROWS]
    hourly = [candles for candles in map(candles_of, chosen.hourly) if len(rows_of(candles)) >= LEAST_ROWS]
    weekdays = np.mean([season(candles, 7) for candles in daily], axis=0)
    print(f"{len(daily)} daily and {len(hourly)} hourly files")
    print("WEEKDAYS =", tuple(weekdays.round(3).tolist()))
    if hourly:
        print("HOURS =", tuple(np.mean([season(candles, 24) for candles in hourly], axis=0).round(3).tolist()))
    prior.WEEKDAYS, volatility.SEASON_PRIOR = tuple(weekdays.tolist()), season_prior
    print(
        "SURPRISES =", tuple(map(tuple, np.mean([surprises(candles) for candles in daily], axis=0).round(3).tolist()))
    )


if __name__ == "__main__":
    main()
