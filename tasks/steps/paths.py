"""Sample paths over the steps of stored forecasts, and what they say about a whole week or a basket of series.

Nothing is stored: the forecasts, the candles that were stored when they were, and a seed give the same paths again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from models.candles import SeriesName
from models.chance import HIGHEST, LOWEST
from models.forecasts import BAND_LEVELS, Bound, Chance, Side, target_time
from models.paths import past_returns, sample_paths
from models.times import to_unix_us
from storage.candles import read_history
from storage.forecasts import StoredForecast
from tasks.steps.chosen import ForecastChoice, load_chosen

MOST_SERIES = 50
MOST_SAMPLES = 10_000


@dataclass(frozen=True)
class PathQuestion:
    """Which paths are asked for, and which level, if any, the closes may reach.

    The value of a path is the sum of the closes times `weights`, one a series; without weights each series counts once.
    """

    choices: tuple[ForecastChoice, ...]
    samples: int = 1000
    seed: int = 0
    weights: tuple[float, ...] = ()
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        names = [choice.series for choice in self.choices]
        if not names or len(names) > MOST_SERIES or len(set(names)) < len(names):
            raise ValueError(f"expected 1 to {MOST_SERIES} different series, got {', '.join(names) or 'none'}")
        if not 100 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"expected 100 to {MOST_SAMPLES} samples, got {self.samples}")
        if self.weights and len(self.weights) != len(names):
            raise ValueError(f"expected a weight for each of {len(names)} series, got {len(self.weights)}")
        if self.above is not None and self.below is not None:
            raise ValueError("expected one of above and below, got both")


class PathRow(NamedTuple):
    """One step of one sample path, in quote currency; paths of several series with the same number belong together."""

    sample: int
    series: str
    model: str
    kind: str
    origin: datetime
    step: int
    target_time: datetime
    close: float


class PathSummaryRow(NamedTuple):
    """What the paths say about one quantity: its quantiles, or the chance that a level is reached.

    The quantity is the lowest, highest or last close of the path, of a basket the same of its value; or any close
    beyond `level`, for which `chance` is the share of paths with such a close. `bound` tells whether the chance is
    exact or, as for single steps, at most 0.01 or at least 0.99.
    """

    series: str
    model: str
    kind: str
    origin: datetime
    steps: int
    samples: int
    seed: int
    quantity: str
    level: float | None
    chance: float | None
    bound: str | None
    q025: float | None
    q05: float | None
    q10: float | None
    q25: float | None
    q50: float | None
    q75: float | None
    q90: float | None
    q95: float | None
    q975: float | None


def drawn_paths(conn: Connection, question: PathQuestion) -> tuple[list[StoredForecast], NDArray[np.float64]]:
    """Return the chosen forecasts and their paths: (samples, n_series, horizon).

    Raises NotFound if one is not stored, ValueError if they differ in origin, horizon or interval; NotEnoughCandles.
    """
    stored = [load_chosen(conn, choice) for choice in question.choices]
    for one, other in pairwise(stored):
        for what, of_one, of_other in (
            ("origin", one.forecast.origin, other.forecast.origin),
            ("number of steps", one.forecast.horizon, other.forecast.horizon),
            ("interval", SeriesName.parse(one.series).interval, SeriesName.parse(other.series).interval),
        ):
            if of_one != of_other:
                raise ValueError(
                    f"paths of several series need forecasts of the same {what}: {one.series} has {of_one}, "
                    f"{other.series} has {of_other}"
                )
    returns = past_returns(_known_closes(conn, stored), stored[0].forecast.horizon)
    quantiles = np.stack([each.forecast.values for each in stored])
    return stored, sample_paths(quantiles, returns, n=question.samples, seed=question.seed)


def _known_closes(conn: Connection, stored: Sequence[StoredForecast]) -> NDArray[np.float64]:
    """Return the closes up to the origin as they were known: (n, n_series), NaN where a series lacks one."""
    origin, step = stored[0].forecast.origin, SeriesName.parse(stored[0].series).interval.length
    last, step_us = to_unix_us(origin), step // timedelta(microseconds=1)
    known = []
    for each in stored:
        # Without what was fetched after the forecast was stored, so that later corrections change no path.
        times, closes = read_history(conn, series=each.series).stored_by(each.created_at).closes_at(origin)
        known.append((times[times <= last], closes[times <= last]))
    first = min((int(times[0]) for times, _ in known if len(times)), default=last + step_us)
    table = np.full(((last - first) // step_us + 1, len(stored)), np.nan)
    for number, (times, closes) in enumerate(known):
        place, beside = np.divmod(times - first, step_us)
        table[place[beside == 0], number] = closes[beside == 0]
    return table


def path_rows(conn: Connection, question: PathQuestion) -> list[PathRow]:
    """Return every step of every path, by sample, series and step; raises as `drawn_paths`."""
    stored, paths = drawn_paths(conn, question)
    heads = [
        [
            (each.series, each.model, each.kind.value, each.forecast.origin, step, _target(each, step))
            for step in range(1, each.forecast.horizon + 1)
        ]
        for each in stored
    ]
    return [
        PathRow(sample + 1, *head, close)
        for sample, of_sample in enumerate(paths.tolist())
        for steps, closes in zip(heads, of_sample, strict=True)
        for head, close in zip(steps, closes, strict=True)
    ]


def _target(stored: StoredForecast, step: int) -> datetime:
    return target_time(stored.forecast.origin, step, SeriesName.parse(stored.series).interval)


def path_summary(conn: Connection, question: PathQuestion) -> list[PathSummaryRow]:
    """Return the lowest, highest and last close over the steps and, if a level was given, the chance to reach it.

    Raises as `drawn_paths`.
    """
    stored, paths = drawn_paths(conn, question)
    weights = np.array(question.weights or [1.0] * len(stored))
    values = (paths * weights[:, None]).sum(axis=1)
    same = "+".join(each.series for each in stored), "+".join(dict.fromkeys(each.model for each in stored))
    kinds = "+".join(dict.fromkeys(each.kind.value for each in stored))
    head = (*same, kinds, stored[0].forecast.origin, values.shape[1], question.samples, question.seed)
    none = [None] * len(BAND_LEVELS)
    levels = list(BAND_LEVELS.values())
    rows = [
        PathSummaryRow(*head, quantity, None, None, None, *np.quantile(series, levels).tolist())
        for quantity, series in (
            ("lowest close", values.min(axis=1)),
            ("highest close", values.max(axis=1)),
            ("last close", values[:, -1]),
        )
    ]
    for side, level in ((Side.ABOVE, question.above), (Side.BELOW, question.below)):
        if level is not None:
            beyond = values > level if side is Side.ABOVE else values < level
            chance = _bounded(float(beyond.any(axis=1).mean()))
            rows.append(PathSummaryRow(*head, f"any close {side}", level, chance.value, chance.bound.value, *none))
    return rows


def _bounded(share: float) -> Chance:
    if share < LOWEST:
        return Chance(LOWEST, Bound.AT_MOST)
    return Chance(HIGHEST, Bound.AT_LEAST) if share > HIGHEST else Chance(share, Bound.EXACT)
