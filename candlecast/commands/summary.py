"""What a person sees after a daily run: the forecast, how far to trust it, and what to type next."""

import shutil

from tabulate import tabulate

from flows.settings import Settings
from models.forecasts import BASELINE, Kind
from storage.database.engine import open_for_reading, reading
from storage.forecasts import read_bands
from storage.query import ForecastFilter
from storage.scores import read_skill
from tasks.show.publish import chart_path, forecast_table


def print_summary(settings: Settings, names: list[str]) -> None:
    """Print each series' newest forecast, its model's skill against naive and the chart's path to stdout."""
    engine = open_for_reading(settings.database_url)
    with reading(engine) as conn:
        for name in names:
            bands = read_bands(conn, ForecastFilter(name, latest=True))
            if not bands:
                print(f"\n{name}: no forecast is stored yet.")
                continue
            first = bands[0]
            print(f"\n{name}: close forecast by {first.model} from {first.origin:%Y-%m-%d %H:%M} UTC\n")
            print(tabulate(forecast_table(bands), "keys", "simple", disable_numparse=True))
            rows = [
                row
                for row in read_skill(conn, series=name)
                if row.model == first.model and row.kind == Kind.BACKFILL and row.naive_crps
            ]
            n_origins = rows[0].n if rows else 0
            print(f"\nSkill of {first.model} against {BASELINE}, walk-forward over {n_origins} past origins")
            print("(backfill; CRPS of log returns x100, lower is better; a band should cover what its name says):\n")
            print(
                tabulate(
                    [
                        [
                            row.step,
                            row.n,
                            f"{100 * row.crps:.3f}",
                            f"{100 * row.naive_crps:.3f}",
                            f"{100 * (1 - row.crps / row.naive_crps):+.2f} %",
                            f"{row.mae / row.naive_mae:.4f}",
                            f"{row.coverage80:.0%}",
                            f"{row.coverage95:.0%}",
                        ]
                        for row in rows
                    ],
                    ["step", "n", "CRPS", "naive", "better by", "MAE/naive", "80 % band", "95 % band"],
                    "simple",
                    disable_numparse=True,
                )
            )
            chart = chart_path(settings.reports, name, first.origin)
            if chart.exists():
                print(f"\nPlot: {chart}")
    engine.dispose()
    print(_next_steps(settings, names[0]))


def _next_steps(settings: Settings, name: str) -> str:
    command = "candlecast" if shutil.which("candlecast") else ".venv/bin/candlecast"
    steps = [
        (f"{command} forecasts {name}", "the stored forecast, every column"),
        (f"{command} skill {name}", "every model against naive, with p-values"),
        (f"{command} findings", "what is odd about the data"),
        (f"{command} serve", "the schedule, every day at 00:20 UTC"),
        (f"{command} web", "a page to look at, and the HTTP API, at http://127.0.0.1:8000"),
        (f"{command} doctor", "is everything in order?"),
    ]
    if not settings.source.startswith("http"):
        live = (f"CANDLECAST_SERIES=Bitstamp_BTCUSD_d {command} daily", "forecast a live market")
        steps.insert(3, live)
    width = max(len(what) for what, _ in steps)
    return "\nWhat to type next:\n" + "\n".join(f"  {what:<{width}}   {why}" for what, why in steps)
