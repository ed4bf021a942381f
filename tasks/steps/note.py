"""The morning note: what a series may do next, what changed since the forecast before, what came, and what is amiss."""

import math
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from models.candles import SeriesName
from models.forecasts import CENTRAL_BANDS
from models.wording import after_close, close_name, price_words
from storage.candles import read_candle_rows
from storage.database.engine import reading
from storage.forecasts import BandRow, read_bands
from storage.query import ForecastFilter
from tasks.steps.glance import attention

# A band whose width changes by less is as wide as before.
SAME_WIDTH = 0.02
# How the sentence begins that says what is amiss.
AMISS = "Needs a person:"


class Note(NamedTuple):
    """The note of one series: its title, its sentences, one thought each, and whether the last says what is amiss."""

    series: str
    title: str
    sentences: list[str]
    is_amiss: bool


def series_note(engine: Engine, *, series: str) -> Note:
    """Return the note of `series` with what the checks of the day have recorded."""
    with reading(engine) as conn:
        return read_note(conn, series=series)


def read_note(conn: Connection, *, series: str, now: datetime | None = None) -> Note:
    """Return the note about the champion's newest live forecast; with `now` it also says whether the data is stale."""
    name = SeriesName.parse(series)
    bands = read_bands(conn, ForecastFilter(series, latest=True))
    trouble = attention(conn, series=series, now=now)
    amiss = [] if trouble is None else [f"{AMISS} {trouble}; see: candlecast findings {series}."]
    if not bands:
        return Note(series, series, ["No model has forecast it yet.", *amiss], bool(amiss))
    first, last = bands[0], bands[-1]
    before = _step_before(conn, first)
    sentences = [_expected(first, name), *([_expected(last, name)] if last is not first else [])]
    if before is not None:
        sentences.append(_change(first, before))
        came = _came(conn, before, name)
        sentences += [] if came is None else [came]
    title = f"{series}, {after_close(first.origin, name.interval)}"
    return Note(series, title, [*sentences, *amiss], bool(amiss))


def _step_before(conn: Connection, first: BandRow) -> BandRow | None:
    """Return step 1 of the same model's forecast from one candle earlier, a live one before a backfilled one."""
    origin = first.origin - SeriesName.parse(first.series).interval.length
    rows = read_bands(conn, ForecastFilter(first.series, origin=origin, model=first.model))
    steps = [row for row in rows if row.step == 1]
    return max(steps, key=lambda row: row.kind, default=None)


def _expected(row: BandRow, name: SeriesName) -> str:
    close = close_name(row.target_time + name.interval.length, name.interval)
    return (
        f"{row.model} expects the {close} between {price_words(row.q10)} and {price_words(row.q90)} {name.quote} "
        f"with a chance of 80 %, median {price_words(row.q50)}."
    )


def _change(first: BandRow, before: BandRow) -> str:
    width = math.log(first.q90 / first.q10) / math.log(before.q90 / before.q10) - 1
    if abs(width) < SAME_WIDTH:
        return "The band one step ahead is as wide as in the forecast before."
    direction = "wider" if width > 0 else "narrower"
    return f"The band one step ahead is {100 * abs(width):.0f} % {direction} than in the forecast before."


def _came(conn: Connection, before: BandRow, name: SeriesName) -> str | None:
    candles = read_candle_rows(conn, series=before.series, start=before.target_time, end=before.target_time)
    if not candles:
        return None
    close = candles[0].close
    holding = [band for band in CENTRAL_BANDS if getattr(before, band.low) <= close <= getattr(before, band.high)]
    where = f"inside the {holding[0]} band" if holding else f"outside the {CENTRAL_BANDS[-1]} band"
    forecast = "" if before.kind == "live" else "backfilled "
    return (
        f"The {close_name(candles[0].close_time, name.interval)} was {price_words(close)} {name.quote}, {where} of the "
        f"{forecast}forecast before."
    )
