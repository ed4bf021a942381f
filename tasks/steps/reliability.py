"""Whether the stored forecasts' chances came true: a reliability table for each model, kind and step."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection

from models.forecasts import ScoreKind
from storage.candles import read_candle_rows
from storage.forecasts import read_values
from storage.query import ForecastFilter
from storage.scores import read_actuals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.reliability import ReliabilityBin

# Each forecast is asked for the chance to close below each of this many newest closes that it knew.
THRESHOLDS = 30


class ReliabilityRow(NamedTuple):
    """Of the events with a stated chance from `low` to `high`, the share that happened: see ReliabilityBin.

    An event is that the close of the step is below one of the 30 newest closes known at the origin. `n` counts events
    of `origins` forecasts; `stated` is their mean chance, None under 0.01 and over 0.99: only the bound is stated.
    """

    series: str
    model: str
    kind: str
    step: int
    low: float
    high: float
    n: int
    origins: int
    stated: float | None
    realised: float
    realised_low: float
    realised_high: float


def reliability_table(conn: Connection, wanted: ForecastFilter) -> list[ReliabilityRow]:
    """Return the tables of the wanted scores of one series by kind, model, step and chance; kinds are never pooled."""
    assert isinstance(wanted.series, str)
    actuals: dict[tuple[str, str], dict[int, dict[datetime, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in read_actuals(conn, wanted):
        actuals[row.kind, row.model][row.step][row.origin] = row.actual
    if not actuals:
        return []
    thresholds = _thresholds(conn, wanted.series)
    rows = []
    for (kind, model), steps in sorted(actuals.items(), key=lambda item: (item[0][0] != "live", item[0])):
        stored = read_values(conn, replace(wanted, model=model, kind=ScoreKind(kind).stored_as))
        for step, closes in sorted(steps.items()):
            bins = _judged(stored, closes, thresholds, step)
            rows += [ReliabilityRow(wanted.series, model, kind, step, *one) for one in bins]
    return rows


def _thresholds(conn: Connection, series: str) -> "dict[datetime, NDArray[np.float64]]":
    """Return the newest closes known at each close time, NaN where there are fewer: (THRESHOLDS,)."""
    import numpy as np

    candles = read_candle_rows(conn, series=series)
    if not candles:
        return {}
    padded = np.concatenate([np.full(THRESHOLDS - 1, np.nan), [candle.close for candle in candles]])
    windows = np.lib.stride_tricks.sliding_window_view(padded, THRESHOLDS)
    return {candle.close_time: window for candle, window in zip(candles, windows, strict=True)}


def _judged(
    stored: "Mapping[datetime, NDArray[np.float64]]",
    closes: Mapping[datetime, float],
    thresholds: "Mapping[datetime, NDArray[np.float64]]",
    step: int,
) -> "list[ReliabilityBin]":
    import numpy as np

    from models.reliability import reliability

    origins = sorted(origin for origin in closes if origin in stored and origin in thresholds)
    if not origins:
        return []
    return reliability(
        np.stack([stored[origin][step - 1] for origin in origins]),
        np.array([closes[origin] for origin in origins]),
        np.stack([thresholds[origin] for origin in origins]),
        step=step,
    )
