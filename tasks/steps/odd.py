"""Odd bands: the newest live forecast is several times wider or narrower than naive's or the model's previous one."""

import math
from datetime import datetime

from sqlalchemy import Engine

from models.candles import Finding, SeriesName, Severity
from models.forecasts import BASELINE, Kind
from models.gate import ODD
from models.wording import after_close
from storage.database.engine import reading
from storage.forecasts import BandRow, read_bands, read_origins
from storage.query import ForecastFilter
from tasks.steps.findings import record_changes

CODE = "odd-band"


def check_bands(engine: Engine, *, series: str, now: datetime) -> list[Finding]:
    """Record which of the newest live forecasts have an odd 80 % band as findings of their day, and return them.

    The forecasts stay stored, because the market itself may be odd. The finding is closed when the next band is normal.
    """
    with reading(engine) as conn:
        of_naive = read_origins(conn, ForecastFilter(series, model=BASELINE, kind=Kind.LIVE))
        origins = [row.origin for row in of_naive][-2:]
        if not origins:
            return []
        wanted = ForecastFilter(series, kind=Kind.LIVE, start=origins[0])
        bands = {(row.model, row.origin, row.step): row for row in read_bands(conn, wanted)}
    newest, before = origins[-1], origins[0]
    interval = SeriesName.parse(series).interval
    seen = []
    for model in sorted({model for model, origin, _ in bands if origin == newest}):
        steps = sorted(step for name, origin, step in bands if (name, origin) == (model, newest))
        own = [] if before == newest else [("in the forecast before", (model, before))]
        others = [*own, *([(f"{BASELINE}'s", (BASELINE, newest))] if model != BASELINE else [])]
        complaints = [
            f"step {step} is {fold:.2g} times as wide as {name}"
            for step in steps
            for name, key in others
            if (*key, step) in bands
            and not 1 / ODD < (fold := _width(bands[model, newest, step]) / _width(bands[*key, step])) < ODD
        ]
        if complaints:
            seen.append(
                Finding(
                    CODE,
                    Severity.WARNING,
                    f"the 80 % band of {model} {after_close(newest, interval)} is odd: {complaints[0]}",
                    "look at the newest candles and at candlecast forecasts; the forecast is stored and will be scored",
                    first_time=newest,
                    last_time=newest,
                )
            )
    record_changes(engine, series=series, codes={CODE}, seen=seen, now=now)
    return seen


def _width(row: BandRow) -> float:
    return max(math.log(row.q90 / row.q10), 1e-12)
