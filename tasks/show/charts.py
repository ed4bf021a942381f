"""Pictures of forecasts: people look before they read."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from models.candles import Interval, SeriesName
from models.forecasts import CENTRAL_BANDS
from models.wording import after_close
from storage.candles import CandleRow, read_candle_rows
from storage.database.engine import reading
from storage.forecasts import BandRow, read_bands
from storage.query import ForecastFilter

CANDLES_SHOWN = 90
# Widest band first, so that the narrower ones are drawn over it; a single hue, darker where likelier.
_BANDS = tuple(zip(reversed(CENTRAL_BANDS), (0.18, 0.28, 0.45), strict=True))


class Drawn(NamedTuple):
    """A picture of a forecast, and the rows that it shows."""

    path: Path
    bands: list[BandRow]


def forecast_chart(engine: Engine, *, series: str, reports: Path) -> Drawn | None:
    """Draw the champion's newest live forecast as PNG under `reports`; returns None without a forecast."""
    with reading(engine) as conn:
        bands = read_bands(conn, ForecastFilter(series, latest=True))
        if not bands:
            return None
        origin, length = bands[0].origin, SeriesName.parse(series).interval.length
        candles = read_candle_rows(conn, series=series, start=origin - CANDLES_SHOWN * length, end=origin - length)
    return Drawn(fan_chart(candles, bands, chart_path(reports, series, origin)), bands)


def chart_path(reports: Path, series: str, origin: datetime) -> Path:
    """Return where the chart of the forecast from `origin` is kept."""
    # Parsed, because the name becomes a folder.
    return reports / str(SeriesName.parse(series)) / f"forecast-{origin:%Y-%m-%dT%H%MZ}.png"


def fan_chart(candles: Sequence[CandleRow], bands: Sequence[BandRow], path: Path) -> Path:
    """Draw the closes of `candles` and the fan of one forecast over them as PNG; returns `path`.

    `bands` are the rows of one forecast by step. A close, and the forecast of one, stands at its day, or at the instant
    of the close where candles are shorter; the fan opens from the last close that the forecast knew.
    """
    # Imported when something is drawn: a day that waits for its candles draws nothing, and keeps little in memory.
    import matplotlib.dates as mdates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    # Fixed margins: a layout that computes them draws everything twice.
    figure = Figure(figsize=(9, 4.8))
    figure.subplots_adjust(left=0.09, right=0.985, bottom=0.09, top=0.93)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    interval = SeriesName.parse(bands[0].series).interval
    # Where a candle that opens at an instant stands: at its day, or at its close.
    shift = timedelta(0) if interval is Interval.DAY else interval.length
    # Numbers, as matplotlib counts days: its type hints do not know that it takes datetimes.
    times: list[float] = mdates.date2num([candle.open_time + shift for candle in candles]).tolist()
    closes = [candle.close for candle in candles]
    axes.plot(times, closes, color="#22313f", linewidth=1.3, label="close")
    fan: list[float] = [times[-1], *mdates.date2num([row.target_time + shift for row in bands]).tolist()]
    for band, alpha in _BANDS:
        lower = [closes[-1], *(getattr(row, band.low) for row in bands)]
        upper = [closes[-1], *(getattr(row, band.high) for row in bands)]
        axes.fill_between(fan, lower, upper, color="#c0582b", alpha=alpha, linewidth=0, label=str(band))
    axes.plot(fan, [closes[-1], *(row.q50 for row in bands)], color="#8c3a15", linewidth=1.3, label="median")
    axes.set_title(f"{bands[0].series}: {bands[0].model} forecast {after_close(bands[0].origin, interval)}")
    axes.set_ylabel("close, quote currency")
    locator = mdates.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", ncols=5, frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
    return path
