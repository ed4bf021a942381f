"""What people touch: the command line, the HTTP API, the page and, in this module, the Python API.

    import candlecast
    candlecast.forecasts("Bitstamp_BTCUSD_d", start="2025-01-01", model="blend")

Every function reads the database. All but `chance` and `price` return a pandas frame with the columns of the command of
the same name.
`database` is an SQLAlchemy URL or engine; without it, the database of the settings (CANDLECAST_DATABASE_URL). Times may
be texts (`2025-01-31`, `2025-01-31T12:00`), dates or datetimes. A time without a zone is UTC; a day given as `end` or
`as_of` is included whole.

All of them raise storage.errors.NotFound for a series that is not stored, storage.errors.DatabaseUnusable when there is
no database to read, and ValueError for a time or a kind that cannot be read and for an end before its start.
"""

import sys
from datetime import date, datetime
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

# The functions import what they need: the command line imports this module too, and must start fast.
if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from sqlalchemy import Engine

    Database = str | Engine | None
    Time = str | date | datetime | None

__all__ = ["candles", "chance", "findings", "forecasts", "paths", "price", "reliability", "series", "skill"]


def _import_own_packages() -> None:
    """Import flows, tasks, storage and models from beside this package (docs/decisions/0009-folders.md).

    A folder or file of the same name earlier on the import path hides ours. Raises ImportError that names it, because
    the caller may be using it; but where nothing should come from the working directory (`python -m candlecast`,
    `python -P`), the one in the working directory is passed over.
    """
    home = Path(__file__).resolve().parents[1]
    runs_candlecast = sys.argv[:1] == ["-m"] and any(argument.startswith("candlecast") for argument in sys.orig_argv)
    for name in ("flows", "tasks", "storage", "models"):
        own = home / name / "__init__.py"
        spec = find_spec(name)
        place = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if place == own:
            continue
        hiding = place.parent if place is not None and place.name == "__init__.py" else place
        if hiding is None and name in sys.modules and spec is not None and spec.submodule_search_locations:
            # A folder without an __init__.py has no origin. Any real package comes before it, unless it is in use.
            hiding = Path(next(iter(spec.submodule_search_locations))).resolve()
        if hiding is not None:
            passed_over = hiding.parent == Path.cwd() and (sys.flags.safe_path or runs_candlecast)
            if name in sys.modules or not passed_over:
                raise ImportError(
                    f"{hiding} hides candlecast's own package {name!r}: rename it, or run Python in another folder"
                )
        spec = spec_from_file_location(name, own)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


_import_own_packages()


def forecasts(
    series: str | None = None,
    *,
    database: "Database" = None,
    origin: "Time" = None,
    start: "Time" = None,
    end: "Time" = None,
    model: str | None = None,
    kind: str | None = None,
) -> "pd.DataFrame":
    """Return stored forecasts with the columns of the view `forecast_bands`, one row per step.

    `start` and `end` bound the origin, both included; `kind` is live or backfill. With no filter but `series`: the
    newest live forecast of each champion.
    """
    from candlecast.frames import read_frame
    from storage.forecasts import BandRow, read_bands
    from storage.query import ForecastFilter

    wanted = ForecastFilter.parse(series, origin=origin, start=start, end=end, model=model, kind=kind).or_latest()
    return read_frame(database, BandRow, lambda conn: read_bands(conn, wanted), series=series)


def candles(
    series: str, *, database: "Database" = None, start: "Time" = None, end: "Time" = None, as_of: "Time" = None
) -> "pd.DataFrame":
    """Return the closed candles with start <= open_time <= end with the columns of the view `current_candles`.

    With `as_of`, as they were known at that instant.
    """
    from candlecast.frames import read_frame
    from models.times import as_instant, as_span
    from storage.candles import CandleRow, read_candle_rows

    first, last = as_span(start, end)
    known_at = as_instant(as_of, end_of_day=True)
    frame = read_frame(
        database,
        CandleRow,
        lambda conn: read_candle_rows(conn, series=series, start=first, end=last, as_of=known_at),
        series=series,
    )
    frame.insert(0, "series", series)
    return frame.astype({"series": "str"})


def skill(
    series: str | None = None,
    *,
    database: "Database" = None,
    kind: str | None = None,
    start: "Time" = None,
    end: "Time" = None,
) -> "pd.DataFrame":
    """Return each model's mean scores per step beside naive's, with the skill, its 95 % interval and the p-value.

    `start` and `end` bound the origin, both included. The kinds have separate rows: live (stored before the close),
    late (live forecasts stored after it) and backfill.
    """
    from candlecast.frames import read_frame
    from models.forecasts import ScoreKind
    from storage.query import ForecastFilter
    from storage.scores import SkillRow
    from tasks.steps.skill import judged_skill

    chosen = None if kind is None else ScoreKind(kind)
    wanted = ForecastFilter.parse(series, start=start, end=end, kind=chosen)
    return read_frame(database, SkillRow, lambda conn: judged_skill(conn, wanted), series=series)


def reliability(
    series: str,
    *,
    database: "Database" = None,
    model: str | None = None,
    kind: str | None = None,
    start: "Time" = None,
    end: "Time" = None,
) -> "pd.DataFrame":
    """Return how often events happened whose stated chance was about the same, per model, kind, step and tenth.

    An event is that the close of the step is below one of the 30 newest closes known at the origin. `realised` is the
    share that happened, `realised_low` to `realised_high` its 95 % interval with origins as the unit. `start` and `end`
    bound the origin, both included. The kinds are those of `skill`, and never pooled.
    """
    from candlecast.frames import read_frame
    from models.forecasts import ScoreKind
    from storage.query import ForecastFilter
    from tasks.steps.reliability import ReliabilityRow, reliability_table

    chosen = None if kind is None else ScoreKind(kind)
    wanted = ForecastFilter.parse(series, start=start, end=end, model=model, kind=chosen)
    return read_frame(database, ReliabilityRow, lambda conn: reliability_table(conn, wanted), series=series)


def chance(
    series: str,
    *,
    above: float | None = None,
    below: float | None = None,
    step: int = 1,
    database: "Database" = None,
    origin: "Time" = None,
    model: str | None = None,
    kind: str | None = None,
) -> float:
    """Return the chance, 0.01 to 0.99, that the close of `step` is above or below a price.

    0.01 means at most 1 % and 0.99 at least 99 %: the stored quantiles reach no further, and nothing is made up beyond
    them. The forecast is the champion's newest live one unless `origin`, `model` or `kind` choose another. Raises
    ValueError unless exactly one of `above` and `below` is given, as a positive price, and for a step that the forecast
    lacks; NotFound if there is no such forecast.
    """
    from candlecast.frames import connected
    from tasks.steps.chance import answered_chance
    from tasks.steps.chosen import ForecastChoice

    if (above is None) == (below is None):
        raise ValueError(f"expected one of above and below, got {'neither' if above is None else 'both'}")
    choice = ForecastChoice.parse(series, origin=origin, model=model, kind=kind)
    with connected(database) as conn:
        return answered_chance(conn, choice, above=above, below=below, step=step).chance


def price(
    series: str,
    *,
    chance: float,
    step: int = 1,
    database: "Database" = None,
    origin: "Time" = None,
    model: str | None = None,
    kind: str | None = None,
) -> float:
    """Return the price, in quote currency, below which the close of `step` is with this chance: 0.01 to 0.99.

    The forecast is chosen as in `chance`. Raises ValueError for another chance, and the errors of `chance`.
    """
    from candlecast.frames import connected
    from tasks.steps.chance import answered_chance
    from tasks.steps.chosen import ForecastChoice

    choice = ForecastChoice.parse(series, origin=origin, model=model, kind=kind)
    with connected(database) as conn:
        return answered_chance(conn, choice, chance=chance, step=step).price


def paths(
    series: "str | Sequence[str]",
    *,
    samples: int = 1000,
    seed: int = 0,
    database: "Database" = None,
    origin: "Time" = None,
    model: str | None = None,
    kind: str | None = None,
) -> "pd.DataFrame":
    """Return sample paths over the steps of one forecast, or of one forecast of each series, one row per step.

    The columns are `sample` (from 1), `series`, `model`, `kind`, `origin`, `step`, `target_time` and `close`. Paths of
    several series with the same number belong together. Each step keeps its stored distribution; the steps and series
    are tied together by the ranks of past returns. The same forecast and `seed` give the same paths. The forecasts are
    chosen as in `chance`. Raises ValueError if those of several series differ in their origin, and NotEnoughCandles.
    """
    from candlecast.frames import read_frame
    from tasks.steps.chosen import ForecastChoice
    from tasks.steps.paths import PathQuestion, PathRow, path_rows

    names = [series] if isinstance(series, str) else list(series)
    choices = tuple(ForecastChoice.parse(name, origin=origin, model=model, kind=kind) for name in names)
    question = PathQuestion(choices, samples, seed)
    return read_frame(database, PathRow, lambda conn: path_rows(conn, question))


def series(*, database: "Database" = None) -> "pd.DataFrame":
    """Return the stored series and how far their candles reach, one row per series."""
    from candlecast.frames import read_frame
    from storage.series import SeriesRow, series_summary

    return read_frame(database, SeriesRow, series_summary)


def findings(series: str | None = None, *, database: "Database" = None, resolved: bool = False) -> "pd.DataFrame":
    """Return what is odd about the data: the open findings, with `resolved` also those that later checks closed."""
    from candlecast.frames import read_frame
    from storage.findings import FindingRow, read_findings

    return read_frame(
        database, FindingRow, lambda conn: read_findings(conn, series=series, resolved=resolved), series=series
    )
