"""Measures what a cap on each candle's variance is worth, and what young markets borrow:

python benchmarks/wick.py FILE ... [--start D] [--end D] [--candles FIRST LAST]

For every file (named `<series>.csv` or `<series>__<anything>.csv`) and every variant of the cap, forecasts each day of
the period with range-ewma, and prints by how much its CRPS is better than naive's: the mean over the markets, and the
worst of them. The p-value compares a variant with no cap: markets move together, so a day's scores are added up
over the markets and the days are tested (Diebold-Mariano). A market counts from its 365th candle on; `--candles 60 365`
looks at its first year instead.
"""

import argparse
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tabulate import tabulate
from walkforward import candles_of

from models import metrics, range_ewma, volatility
from models.accuracy import diebold_mariano
from models.frames import CandleFrame
from models.naive import naive_quantiles
from models.range_ewma import range_ewma_quantiles
from models.volatility import ahead

HORIZON, STEPS = 7, (1, 3, 5, 7)
LEAST_ORIGINS = 60
# The cap in running averages, whether a lasting change of level lifts it, and whether a market borrows from others.
VARIANTS = {
    "none": (math.inf, True, True),
    "cap 9": (9.0, False, True),
    "cap 9, lifted": (9.0, True, True),
    "cap 9, lifted, nothing borrowed": (9.0, True, False),
    "cap 16, lifted": (16.0, True, True),
}
NEVER = 10**9
PUBLISHED = volatility.SEASON_PRIOR, range_ewma.PRIOR_SURPRISES

Scores = dict[str, NDArray[np.float64]]
Quantiles = Callable[[CandleFrame, NDArray[np.int64], int], NDArray[np.float64]]


class Market:
    """The candles of one file and the rows to forecast from."""

    def __init__(self, file: Path, start: datetime, end: datetime, numbers: tuple[int, int]) -> None:
        self.name = file.stem
        self.candles = candles_of(file)
        within = self.candles["close_time"].between(start, end).to_numpy()
        rows = np.flatnonzero(within)
        rows = rows[(rows >= numbers[0]) & (rows <= numbers[1])]
        self.rows = rows[rows < len(self.candles) - HORIZON]
        self.days = self.candles["close_time"].to_numpy()[self.rows]

    def crps(self, quantiles: Quantiles) -> NDArray[np.float64]:
        """Return the scores of a model, (n_rows, 7); NaN where the candle of a step is missing."""
        return metrics.crps(ahead(self.candles, HORIZON)[self.rows], quantiles(self.candles, self.rows, HORIZON))


def use(variant: str) -> None:
    """Let the product forecast as `variant` says."""
    cap, lifted, borrows = VARIANTS[variant]
    volatility.VARIANCE_CAP, volatility.LASTING = cap, 3 if lifted else NEVER
    weights = PUBLISHED if borrows else (1e-9, 1e-9)
    volatility.SEASON_PRIOR, range_ewma.PRIOR_SURPRISES = weights


def day_p_values(market_of: dict[str, Market], ours: Scores, theirs: Scores) -> list[str]:
    """Return the p-value of each step, each day's difference summed over the markets."""
    parts = [pd.DataFrame(ours[name] - theirs[name], market_of[name].days) for name in ours]
    by_day = pd.concat(parts).groupby(level=0).sum()
    texts = []
    for step in STEPS:
        difference = by_day[step - 1].to_numpy()
        texts.append(f"{diebold_mariano(difference, np.zeros(len(difference)), step=step).p_value:.3f}")
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--start", default="2018-01-01")
    parser.add_argument("--end", default="2020-12-31")
    parser.add_argument("--candles", type=int, nargs=2, default=(365, NEVER), metavar=("FIRST", "LAST"))
    chosen = parser.parse_args()
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (chosen.start, chosen.end))
    markets = {
        market.name: market for market in (Market(file, start, end, tuple(chosen.candles)) for file in chosen.files)
    }
    markets = {name: market for name, market in markets.items() if len(market.rows) >= LEAST_ORIGINS}
    naive = {name: market.crps(naive_quantiles) for name, market in markets.items()}
    scores: dict[str, Scores] = {}
    rows = []
    for variant in VARIANTS:
        use(variant)
        ours = scores[variant] = {name: market.crps(range_ewma_quantiles) for name, market in markets.items()}
        gains = np.array([100 * (1 - np.nanmean(ours[name], 0) / np.nanmean(naive[name], 0)) for name in markets])
        row: list[object] = [
            variant,
            *(f"{gains[:, step - 1].mean():+.2f} / {gains[:, step - 1].min():+.2f}" for step in STEPS),
        ]
        rows.append([*row, list(markets)[gains[:, 0].argmin()], " ".join(day_p_values(markets, ours, scores["none"]))])
    origins = sum(len(market.rows) for market in markets.values())
    print(f"{len(markets)} markets, {origins} origins, {chosen.start}..{chosen.end}")
    print("% better CRPS than naive: mean of the markets / worst market")
    head = ["variant", *(f"step {step}" for step in STEPS), "worst at step 1", "p against none"]
    print(tabulate(rows, head, "simple", disable_numparse=True))


if __name__ == "__main__":
    main()
