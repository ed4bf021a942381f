"""A forecast as a chart in the terminal: recent closes and the fan that continues them."""

from collections.abc import Sequence
from itertools import groupby
from textwrap import fill

from sqlalchemy import Connection

from models.candles import SeriesName
from models.forecasts import CENTRAL_BANDS, Kind
from models.wording import after_close, close_day, when_stored
from storage.candles import CandleRow, read_candle_rows
from storage.forecasts import BandRow

ROWS = 22
MOST = 6
# Columns per step: with one each, a fan of seven steps would be a line.
STEP_COLUMNS = 3
# Columns that the axis of prices and the frame take.
MARGIN = 12
# From the widest to the narrowest, so that each is drawn over the one before.
BANDS = tuple(zip(reversed(CENTRAL_BANDS), "░▒▓", strict=True))


def fan_charts(conn: Connection, bands: Sequence[BandRow], *, columns: int, colour: bool) -> str:
    """Return the charts of the forecasts in `bands`, one below the other, with the stored candles around them.

    Raises ValueError for more than `MOST` forecasts.
    """
    forecasts = [list(rows) for _, rows in groupby(bands, key=lambda row: row.forecast_id)]
    if len(forecasts) > MOST:
        raise ValueError(f"{len(forecasts)} forecasts are too many to draw: name a series, an --origin and a --model")
    charts = []
    for rows in forecasts:
        length = SeriesName.parse(rows[0].series).interval.length
        start, end = rows[0].origin - columns * length, rows[-1].target_time
        around = read_candle_rows(conn, series=rows[0].series, start=start, end=end)
        charts.append(fan_chart(rows, around, columns=columns, colour=colour))
    return "\n\n".join(charts)


def fan_chart(bands: Sequence[BandRow], candles: Sequence[CandleRow], *, columns: int, colour: bool) -> str:
    """Return the chart of one forecast as text, `columns` wide.

    `bands` are the forecast's steps in order, `candles` those up to and after its origin in time order; the actual
    closes after the origin are drawn over the fan.
    """
    import plotext

    origin, first = bands[0].origin, bands[0]
    interval = SeriesName.parse(first.series).interval
    future = STEP_COLUMNS * len(bands)
    before = [candle for candle in candles if candle.close_time <= origin][-max(columns - MARGIN - future, 20) :]
    actual = {candle.open_time: candle.close for candle in candles if candle.close_time > origin}
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(columns, ROWS)
    plotext.theme("clear")
    now = len(before) - 1
    places = [now + STEP_COLUMNS * row.step for row in bands]
    for band, mark in BANDS:
        for place, row in zip(places, bands, strict=True):
            # In halves: the canvas rounds places to its columns, and no column may stay empty.
            for half in range(2 * STEP_COLUMNS):
                plotext.plot(
                    [place - half / 2] * 2, [getattr(row, band.low), getattr(row, band.high)], marker=mark, color="cyan"
                )
    plotext.plot(range(len(before)), [candle.close for candle in before], marker="braille")
    plotext.scatter(places, [row.q50 for row in bands], marker="●", color="blue")
    of_steps = [(place, actual.get(row.target_time)) for place, row in zip(places, bands, strict=True)]
    actuals = {place: close for place, close in of_steps if close is not None}
    if actuals:
        plotext.scatter(list(actuals), list(actuals.values()), marker="◆", color="red")
    end = origin + bands[-1].step * interval.length
    at = [0, now, places[-1]] if before else [places[-1]]
    named = [before[0].close_time, origin, end] if before else [end]
    plotext.xticks(at, [close_day(close, interval) for close in named])
    plotext.title(f"{first.series}: {first.model}, {first.kind}, {after_close(origin, interval)}")
    drawn = plotext.build()
    key = "  ".join(f"{mark} {band}" for band, mark in BANDS) + "  ● median" + ("  ◆ actual close" if actuals else "")
    stored = "" if first.kind == Kind.BACKFILL else when_stored(first.created_at, origin, interval, len(bands))
    text = f"{drawn.rstrip()}\n{key}" + (f"\n{fill(stored, columns)}" if stored else "")
    return text if colour else plotext.uncolorize(text)
