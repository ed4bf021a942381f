"""The morning note of a series: its forecast, what changed in it, the last close, and what needs a person."""

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
# How the sentence about what needs a person begins.
NEEDS_A_PERSON = "Needs a person:"


class Note(NamedTuple):
    """The note of one series: its title, its sentences, and whether the last of them says what needs a person."""

    series: str
    title: str
    sentences: list[str]
    needs_a_person: bool


def series_note(engine: Engine, *, series: str) -> Note:
    """Return the note of `series` with what the checks of the day have recorded."""
    with reading(engine) as conn:
        return read_note(conn, series=series)


def read_note(conn: Connection, *, series: str, now: datetime | None = None) -> Note:
    """Return the note about the champion's newest live forecast; with `now` it also says whether the data is stale."""
    name = SeriesName.parse(series)
    bands = read_bands(conn, ForecastFilter(series, latest=True))
    trouble = attention(conn, series=series, now=now)
    needs = [] if trouble is None else [f"{NEEDS_A_PERSON} {trouble}; see: candlecast findings {series}."]
    if not bands:
        return Note(series, series, ["No model has forecast it yet.", *needs], bool(trouble))
    first, last = bands[0], bands[-1]
    before = _step_before(conn, first)
    sentences = [_expected(first, name), *([_expected(last, name)] if last is not first else [])]
    if before is not None:
        sentences.append(_change(first, before))
        last_close = _last_close(conn, before, name)
        sentences += [] if last_close is None else [last_close]
    title = f"{series}, {after_close(first.origin, name.interval)}"
    return Note(series, title, [*sentences, *needs], bool(trouble))


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


def _last_close(conn: Connection, before: BandRow, name: SeriesName) -> str | None:
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
