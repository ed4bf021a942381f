"""Publishing: what a run shows people, as files and as artifacts in Prefect's UI."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from prefect.artifacts import create_table_artifact
from sqlalchemy import Engine

from models.candles import Interval, SeriesName
from models.forecasts import CENTRAL_BANDS
from models.wording import after_close, close_day, when_stored
from storage.candles import read_candle_rows
from storage.database.engine import reading
from storage.findings import read_findings
from storage.forecasts import BandRow, read_bands
from storage.query import ForecastFilter
from tasks.show.charts import fan_chart
from tasks.show.pictures import show_picture

CANDLES_SHOWN = 90


def forecast_chart(engine: Engine, *, series: str, reports: Path) -> Path | None:
    """Draw the champion's newest live forecast under `reports`; returns the PNG's path, None without one."""
    with reading(engine) as conn:
        bands = read_bands(conn, ForecastFilter(series, latest=True))
        if not bands:
            return None
        length = SeriesName.parse(series).interval.length
        candles = read_candle_rows(
            conn, series=series, start=bands[0].origin - CANDLES_SHOWN * length, end=bands[0].origin
        )
    candles = [candle for candle in candles if candle.close_time <= bands[0].origin]
    return fan_chart(candles, bands, chart_path(reports, series, bands[0].origin))


def chart_path(reports: Path, series: str, origin: datetime) -> Path:
    """Return where the chart of the forecast from `origin` is kept."""
    # Parsed, because the name becomes a folder.
    return reports / str(SeriesName.parse(series)) / f"forecast-{origin:%Y-%m-%dT%H%MZ}.png"


def artifact_key(what: str, series: str) -> str:
    """Return a Prefect artifact key, which allows only lower-case letters, digits and dashes."""
    return "-".join([what, *series.lower().replace(".", "-").split("_")])


def forecast_table(bands: Sequence[BandRow]) -> list[dict[str, str | int]]:
    """Return a forecast as rows for people: which close, its median and central bands."""
    interval = SeriesName.parse(bands[0].series).interval
    which = "close of" if interval is Interval.DAY else "close at"
    return [
        {
            "step": row.step,
            which: close_day(row.target_time + interval.length, interval),
            "median": f"{row.q50:,.6g}",
            **{
                f"{band} band": f"{getattr(row, band.low):,.6g} – {getattr(row, band.high):,.6g}"
                for band in CENTRAL_BANDS
            },
        }
        for row in bands
    ]


def publish(engine: Engine, *, series: str, reports: Path) -> Path | None:
    """Draw the newest forecast and show it, its table and the data's findings in Prefect's UI."""
    chart = forecast_chart(engine, series=series, reports=reports)
    with reading(engine) as conn:
        bands = read_bands(conn, ForecastFilter(series, latest=True))
        findings = read_findings(conn, series=series)
    if bands:
        first, interval = bands[0], SeriesName.parse(series).interval
        stored = when_stored(first.created_at, first.origin, interval, len(bands))
        create_table_artifact(
            forecast_table(bands),
            key=artifact_key("forecast", series),
            description=f"{first.model} forecast of {series} {after_close(first.origin, interval)}. {stored}",
        )
    if chart is not None:
        show_picture(chart, key=artifact_key("fan", series), description=f"Fan chart of {series}")
    create_table_artifact(
        [
            {
                "severity": finding.severity,
                "what": finding.code,
                "count": finding.count,
                "message": finding.message,
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
        key=artifact_key("findings", series),
        description=f"What is odd about the data of {series}",
    )
    return chart
