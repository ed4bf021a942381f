"""Pictures of forecasts: people look before they read."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.dates as mdates
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.forecasts import CENTRAL_BANDS
from storage.candles import CandleRow
from storage.forecasts import BandRow

# Widest band first, so that the narrower ones are drawn over it; a single hue, darker where likelier.
_BANDS = tuple(zip(reversed(CENTRAL_BANDS), (0.18, 0.28, 0.45), strict=True))


def fan_chart(candles: Sequence[CandleRow], bands: Sequence[BandRow], path: Path) -> Path:
    """Draw the closes of `candles` and the fan of one forecast over them as PNG; returns `path`.

    `bands` are the rows of one forecast by step. A close is drawn at its candle's close time, and a step at
    the time its own candle closes, so the fan opens from the last close.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Fixed margins: a layout that looks for its own draws everything twice.
    figure = Figure(figsize=(9, 4.8))
    figure.subplots_adjust(left=0.09, right=0.985, bottom=0.09, top=0.93)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # Numbers, as matplotlib counts days: its hints do not know that it takes datetimes.
    times: list[float] = mdates.date2num([candle.close_time for candle in candles]).tolist()
    closes = [candle.close for candle in candles]
    axes.plot(times, closes, color="#22313f", linewidth=1.3, label="close")
    length = candles[-1].close_time - candles[-1].open_time
    fan: list[float] = [times[-1], *mdates.date2num([row.target_time + length for row in bands]).tolist()]
    for band, alpha in _BANDS:
        lower = [closes[-1], *(getattr(row, band.low) for row in bands)]
        upper = [closes[-1], *(getattr(row, band.high) for row in bands)]
        axes.fill_between(fan, lower, upper, color="#c0582b", alpha=alpha, linewidth=0, label=str(band))
    axes.plot(fan, [closes[-1], *(row.q50 for row in bands)], color="#8c3a15", linewidth=1.3, label="median")
    axes.set_title(f"{bands[0].series}: {bands[0].model} forecast from {bands[0].origin:%Y-%m-%d %H:%M} UTC")
    axes.set_ylabel("close, quote currency")
    locator = mdates.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", ncols=5, frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
    return path
