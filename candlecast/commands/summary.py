"""What a person sees after a daily run: the forecast, how far to trust it, and what to type next."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime

from candlecast.commands.console import print_note
from candlecast.output import text_table
from flows.settings import Settings
from models.arrivals import usual_words
from models.candles import SeriesName
from models.forecasts import BASELINE, Kind, ScoreKind
from models.waiting import close_words, due_close
from models.wording import after_close, when_stored
from storage.arrivals import read_usual_time
from storage.candles import latest_close_time
from storage.database.engine import disposing, open_for_reading, reading
from storage.forecasts import BandRow, read_bands
from storage.query import ForecastFilter
from storage.scores import SkillRow, read_skill
from tasks.show.charts import chart_path
from tasks.show.publish import forecast_table


def print_summary(settings: Settings, names: list[str]) -> None:
    """Print each series' newest forecast, its model's skill against naive and the chart's path to stdout.

    Where another model serves than the one that was asked for, both are shown.
    """
    with disposing(open_for_reading(settings.database_url)) as engine, reading(engine) as conn:
        for name in names:
            bands = read_bands(conn, ForecastFilter(name, latest=True))
            if not bands:
                print(f"\n{name}: no forecast is stored yet.")
                continue
            origin, serving = bands[0].origin, bands[0].model
            skill = read_skill(conn, ForecastFilter(name))
            _print_forecast(bands, skill)
            if serving != settings.model:
                asked = ForecastFilter(name, origin=origin, model=settings.model, kind=Kind.LIVE)
                if other := read_bands(conn, asked):
                    print(f"\n{serving} serves. The model that was asked for:")
                    _print_forecast(other, skill)
            chart = chart_path(settings.reports, name, origin)
            if chart.exists():
                print(f"\nPlot: {chart}")
    print(_next_steps(settings, names[0]))


def print_what_is_not_published(settings: Settings, names: list[str], *, now: datetime | None = None) -> None:
    """Say on stderr, in one sentence per series, which candle that is due is not stored, and when it usually comes."""
    with disposing(open_for_reading(settings.database_url)) as engine, reading(engine) as conn:
        for name in names:
            interval = SeriesName.parse(name).interval
            due = due_close(now or datetime.now(UTC), interval)
            latest = latest_close_time(conn, series=name)
            if latest is None or latest < due:
                usual = usual_words(read_usual_time(conn, series=name), interval)
                have = "" if latest is None else f"; {close_words(latest, interval)} is the newest stored"
                print_note(f"{name}: {close_words(due, interval)} is not published yet ({usual}){have}")


def _print_forecast(bands: Sequence[BandRow], skill: Sequence[SkillRow]) -> None:
    first = bands[0]
    name = SeriesName.parse(first.series)
    interval = name.interval
    print(f"\n{first.series}: close forecast by {first.model} {after_close(first.origin, interval)}, in {name.quote}\n")
    table = forecast_table(bands)
    print(text_table(tuple(table[0]), [[str(cell) for cell in row.values()] for row in table]))
    print(f"\n{when_stored(first.created_at, first.origin, interval, len(bands))}")
    if first.model == BASELINE:
        # Its skill is measured against itself.
        return
    rows = [row for row in skill if row.model == first.model and row.kind == ScoreKind.BACKFILL and row.naive_crps]
    n_origins = rows[0].n if rows else 0
    print(f"\nSkill of {first.model} against {BASELINE}, walk-forward over {n_origins} past origins")
    print("(backfill; CRPS of log returns x100, lower is better; a band should cover the share in its name):\n")
    columns = ["step", "n", "CRPS", "naive", "better by", "MAE/naive", "80 % band", "95 % band"]
    cells = [
        [
            str(row.step),
            str(row.n),
            f"{100 * row.crps:.3f}",
            f"{100 * row.naive_crps:.3f}",
            f"{100 * (1 - row.crps / row.naive_crps):+.2f} %",
            f"{row.mae / row.naive_mae:.4f}",
            f"{row.coverage80:.0%}",
            f"{row.coverage95:.0%}",
        ]
        for row in rows
    ]
    print(text_table(columns, cells))


def _next_steps(settings: Settings, name: str) -> str:
    command = "candlecast" if shutil.which("candlecast") else ".venv/bin/candlecast"
    steps = [
        (f"{command} forecasts {name}", "the stored forecast, every column"),
        (f"{command} skill {name}", "every model against naive, with p-values"),
        (f"{command} findings", "what is odd about the data"),
        (f"{command} serve", "the schedule, every day from 00:05 UTC"),
        (f"{command} web", "the web page and the HTTP API, at http://127.0.0.1:8000"),
        (f"{command} doctor", "checks the installation and says how to fix what is wrong"),
    ]
    if not settings.source.startswith("http"):
        live = (f"CANDLECAST_SERIES=Bitstamp_BTCUSD_d {command} daily", "forecast a live market")
        steps.insert(3, live)
    width = max(len(what) for what, _ in steps)
    return "\nWhat to type next:\n" + "\n".join(f"  {what:<{width}}   {why}" for what, why in steps)
