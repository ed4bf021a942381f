"""Forecast quality over many markets at once, for `python benchmarks/quality.py FILE FILE ...`.

Trains `blend` up to the start of every quarter on all the markets, as the product's backfill does, forecasts every day
of the quarter for each of them, all in memory, and compares with naive and range-ewma. Markets move together, so a
day's scores are added up over the markets and the days are tested (Diebold-Mariano).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tabulate import tabulate
from walkforward import candles_of

from models import metrics
from models.accuracy import diebold_mariano
from models.candles import SeriesName
from models.catalog import family, forecaster
from models.forecasts import Forecast
from models.frames import CandleFrame
from models.interface import Progress, TrainedModel, TrainRequest
from models.schedule import by_quarter
from models.volatility import ahead

HORIZON, STEPS = 7, (1, 3, 5, 7)
BASES = ("naive", "range-ewma")
PUBLISHED = "blend"
# A market of fewer candles than this is young: what it forecasts is shown in a table of its own.
OLD = 365
LEAST_ORIGINS = 60


class Scored(NamedTuple):
    """A market's scores by model; n origins, NaN where the candle of a step is missing."""

    number: NDArray[np.int64]
    """(n,): how many candles the market had before the origin's."""
    day: NDArray[np.datetime64]
    """(n,): the origin."""
    crps: Mapping[str, NDArray[np.float64]]
    """(n, 7) by model."""
    covered: NDArray[np.float64]
    """(n, 7): whether the published model's 80 % band held the close."""

    def part(self, chosen: NDArray[np.bool_]) -> "Scored":
        crps = {model: values[chosen] for model, values in self.crps.items()}
        return Scored(self.number[chosen], self.day[chosen], crps, self.covered[chosen])


def name_of(file: Path) -> str:
    """Return the name of a file's market: two files of one series, of different days, are two markets."""
    return file.stem


def walk_forward(files: Sequence[Path], start: datetime, end: datetime, progress: Progress) -> dict[str, Scored]:
    """Return the scores of every market from its 60th candle on, with origins in start..end."""
    markets = {name_of(file): candles_of(file) for file in files}
    origins = {name: _origins(candles, start, end) for name, candles in markets.items()}
    quarters = sorted({quarter for chosen in origins.values() for quarter in by_quarter(chosen)})
    model = forecaster(PUBLISHED)
    to_learn_from = {str(SeriesName.of_file(file)): markets[name_of(file)] for file in files}
    trained = model.train([TrainRequest(to_learn_from, quarter) for quarter in quarters], progress)
    by_cutoff = dict(zip(quarters, trained, strict=True))
    print("learnt from at the last quarter:", ", ".join(trained[-1].config["learnt_from"]))
    return {
        name: _scored(candles, origins[name], by_cutoff)
        for name, candles in markets.items()
        if len(origins[name]) >= LEAST_ORIGINS
    }


def _origins(candles: CandleFrame, start: datetime, end: datetime) -> list[datetime]:
    closes = [close.to_pydatetime() for close in candles["close_time"]]
    return [close for close in closes[family(PUBLISHED).min_candles - 1 : -HORIZON] if start <= close <= end]


def _scored(candles: CandleFrame, origins: Sequence[datetime], trained: Mapping[datetime, TrainedModel]) -> Scored:
    row_of = {close.to_pydatetime(): row for row, close in enumerate(candles["close_time"])}
    rows = np.array([row_of[origin] for origin in origins])
    actual, close = ahead(candles, HORIZON)[rows], candles["close"].to_numpy()[rows]

    def log_quantiles(forecasts: Sequence[Forecast]) -> NDArray[np.float64]:
        return np.asarray(np.log(np.array([forecast.values for forecast in forecasts]) / close[:, None, None]))

    quantiles = {}
    for name in BASES:
        base = forecaster(name)
        (learnt,) = base.train([TrainRequest({"": candles}, origins[0])])
        quantiles[name] = log_quantiles(base.forecast(learnt, candles, origins))
    model = forecaster(PUBLISHED)
    quantiles[PUBLISHED] = log_quantiles(
        [
            forecast
            for quarter, group in by_quarter(origins).items()
            for forecast in model.forecast(trained[quarter], candles, group)
        ]
    )
    covered = np.where(np.isnan(actual), np.nan, metrics.covered(actual, quantiles[PUBLISHED])["coverage80"])
    crps = {name: metrics.crps(actual, values) for name, values in quantiles.items()}
    return Scored(rows, np.array(candles["close_time"].to_numpy()[rows]), crps, covered)


def gains(scored: Scored, base: str) -> NDArray[np.float64]:
    """Return by how much the published model's mean CRPS is better than that of `base`, (7,), in percent."""
    return np.asarray(100 * (1 - np.nanmean(scored.crps[PUBLISHED], 0) / np.nanmean(scored.crps[base], 0)))


def tested(markets: Mapping[str, Scored], base: str) -> list[str]:
    """Return the gain over `base` of all markets together at each of STEPS, with the p-value of the days' sums."""
    ours, theirs = (_by_day(markets, model) for model in (PUBLISHED, base))
    texts = []
    for step in STEPS:
        a, b = ours[step - 1].to_numpy(), theirs[step - 1].to_numpy()
        p_value = diebold_mariano(a, b, step=step).p_value
        texts.append(f"{100 * (1 - a.sum() / b.sum()):+.2f} ({p_value:.3f})")
    return texts


def _by_day(markets: Mapping[str, Scored], model: str) -> pd.DataFrame:
    """Return the sum over the markets of a day's scores; a step that one market lacks is missing from both models."""
    return pd.concat([pd.DataFrame(one.crps[model], one.day) for one in markets.values()]).groupby(level=0).sum()


def report(markets: Mapping[str, Scored], judged: Sequence[str]) -> None:
    """Print all tables. `judged` are the markets whose days count together; every market is shown by itself."""
    old = {name: one.part(one.number >= OLD) for name, one in markets.items()}
    old = {name: one for name, one in old.items() if len(one.day) >= LEAST_ORIGINS}
    together = {name: one for name, one in old.items() if name in judged}
    young = {name: one.part(one.number < OLD) for name, one in markets.items()}
    young = {name: one for name, one in young.items() if len(one.day) >= LEAST_ORIGINS}
    head = ["", *(f"step {step}" for step in STEPS)]
    for what, chosen in (("markets from their 365th candle on", together), ("markets in their first year", young)):
        if not chosen:
            continue
        print(f"\n{len(chosen)} {what}, {sum(len(one.day) for one in chosen.values())} origins: {PUBLISHED}, % better")
        _show([[f"over {base}", *tested(chosen, base)] for base in BASES], head)
        _show([_worst(chosen, base) for base in BASES], ["worst market", *head[1:]])
        _show(_coverage(chosen), ["80 % band", *head[1:]])
    print(f"\neach market: {PUBLISHED}, % better (p)")
    _show(
        [[name, base, *tested({name: one}, base)] for name, one in old.items() for base in BASES],
        ["", "over", *head[1:]],
    )
    print("\nyear by year, together")
    _show(_years(together), ["", "over", *head[1:]])


def _worst(markets: Mapping[str, Scored], base: str) -> list[str]:
    by_market = {name: gains(one, base) for name, one in markets.items()}
    row = [f"over {base}"]
    for step in STEPS:
        name = min(by_market, key=lambda name: by_market[name][step - 1])
        row.append(f"{by_market[name][step - 1]:+.2f} {name}")
    return row


def _coverage(markets: Mapping[str, Scored]) -> list[list[str]]:
    whole = np.nanmean(np.concatenate([one.covered for one in markets.values()]), 0)
    each = np.array([np.nanmean(one.covered, 0) for one in markets.values()])
    return [
        [label, *(f"{values[step - 1]:.3f}" for step in STEPS)]
        for label, values in (("all", whole), ("lowest market", each.min(0)), ("highest market", each.max(0)))
    ]


def _years(markets: Mapping[str, Scored]) -> "list[list[object]]":
    years = sorted({int(year) for one in markets.values() for year in pd.DatetimeIndex(one.day).year})
    rows: list[list[object]] = []
    for year in years:
        parts = {name: one.part(np.asarray(pd.DatetimeIndex(one.day).year == year)) for name, one in markets.items()}
        parts = {name: one for name, one in parts.items() if len(one.day)}
        rows += [[year, base, *tested(parts, base)] for base in BASES]
    return rows


def _show(rows: "Sequence[Sequence[object]]", head: list[str]) -> None:
    print(tabulate(rows, head, "simple", disable_numparse=True))
