"""Every series at a glance: its last close, what it may do next, how good its champion is, and what needs a person."""

import math
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from sqlalchemy import Connection

from models.arrivals import UsualTime
from models.candles import SeriesName
from models.forecasts import ScoreKind
from models.freshness import is_stale
from storage.arrivals import read_usual_time, read_usual_times
from storage.candles import CandleRow, latest_close_time, newest_candles
from storage.decisions import champions
from storage.downloads import newest_outcomes
from storage.findings import FindingRow, open_findings, read_findings
from storage.forecasts import BandRow, read_bands, read_step_quantiles
from storage.query import ForecastFilter, names_by_value
from storage.scores import SkillRow, newest_scored, read_skill
from storage.series import parsed_names, series_intervals

YEAR = timedelta(days=365)
# Fewer forecasts do not say what is usual.
LEAST_WIDTHS = 30
# Findings that ask for a decision, besides those that are errors.
URGENT_CODES = frozenset({"late", "odd-band", "stale"})


class GlanceRow(NamedTuple):
    """A series, and its champion's newest live forecast one step ahead; None where there is none yet.

    Prices are in `quote`. `width` is the log of q90 / q10, and `width_ratio` that over the median of the same model's
    forecasts of the year before. `skill` is against naive over that year, of the kind `skill_kind`: live, or backfill
    where no live step is scored. `attention` says what needs a person, and is None where nothing does.
    """

    series: str
    interval: str
    quote: str
    last_close: datetime | None
    close: float | None
    stale: bool
    champion: str | None
    origin: datetime | None
    created_at: datetime | None
    before_close: bool | None
    q10: float | None
    q50: float | None
    q90: float | None
    width: float | None
    width_ratio: float | None
    skill: float | None
    skill_kind: str | None
    skill_n: int | None
    findings: int
    attention: str | None


class _Stored(NamedTuple):
    """What is stored about the series, by name: without a series where there is nothing of it."""

    newest: dict[str, CandleRow]
    usual: dict[str, UsualTime]
    outcomes: dict[str, str]
    findings: dict[str, list[FindingRow]]
    champions: dict[str, str]
    first: dict[str, BandRow]
    """Step 1 of the champion's newest live forecast."""
    usual_widths: dict[str, float]
    skills: dict[str, SkillRow]


def glance(conn: Connection, *, now: datetime) -> list[GlanceRow]:
    """Return a row for each stored series, by name."""
    intervals = series_intervals(conn)
    names = parsed_names(intervals)
    stored = _read(conn, names)
    return [
        _row(names[name], stored, now) if name in names else _row_of_unknown(name, interval)
        for name, interval in intervals.items()
    ]


def _row_of_unknown(name: str, interval: str) -> GlanceRow:
    return GlanceRow(
        name, interval, "", None, None, False, None, None, None, None, None, None, None, None, None, None, None, None,
        0, None,
    )  # fmt: skip


def _read(conn: Connection, names: Collection[str]) -> _Stored:
    """Ask for all series at once: to build a question for each would cost more than the answers."""
    serving = {name: one.model for name, one in champions(conn, series=names).items()}
    first = {row.series: row for row in read_bands(conn, ForecastFilter(latest=True)) if row.step == 1}
    return _Stored(
        newest=newest_candles(conn, series=names),
        usual=read_usual_times(conn, series=names),
        outcomes=newest_outcomes(conn, series=names),
        findings=open_findings(conn),
        champions=serving,
        first=first,
        usual_widths=_usual_widths(conn, {name: row for name, row in first.items() if name in names}),
        skills=_skills(conn, serving),
    )


def _row(parsed: SeriesName, stored: _Stored, now: datetime) -> GlanceRow:
    name = str(parsed)
    newest, first = stored.newest.get(name), stored.first.get(name)
    skill, findings = stored.skills.get(name), stored.findings.get(name, [])
    closed = None if newest is None else newest.close_time
    stale = is_stale(closed, parsed.interval, now, stored.usual.get(name))
    width = None if first is None else _width(first.q10, first.q90)
    usual = stored.usual_widths.get(name)
    return GlanceRow(
        series=name,
        interval=parsed.interval.value,
        quote=parsed.quote,
        last_close=closed,
        close=None if newest is None else newest.close,
        stale=stale,
        champion=stored.champions.get(name),
        origin=None if first is None else first.origin,
        created_at=None if first is None else first.created_at,
        before_close=None if first is None else first.before_close,
        q10=None if first is None else first.q10,
        q50=None if first is None else first.q50,
        q90=None if first is None else first.q90,
        width=width,
        width_ratio=None if width is None or usual is None else width / usual,
        skill=None if skill is None else skill.skill,
        skill_kind=None if skill is None else skill.kind,
        skill_n=None if skill is None else skill.n,
        findings=len(findings),
        attention=_attention(stale, findings, stored.outcomes.get(name)),
    )


def _width(low: float, high: float) -> float:
    return math.log(high / low)


def _usual_widths(conn: Connection, first: Mapping[str, BandRow]) -> dict[str, float]:
    """Return the median width of the forecasts of the year before each of `first`, by the same model, by series."""
    spans = {name: (row.model, row.origin - YEAR, _before(row)) for name, row in first.items()}
    usual: dict[str, float] = {}
    for (model, start, end), names in names_by_value(spans).items():
        wanted = ForecastFilter(tuple(names), start=start, end=end, model=model)
        for name, bands in read_step_quantiles(conn, wanted, step=1, levels=(0.1, 0.9)).items():
            if len(bands) >= LEAST_WIDTHS:
                usual[name] = median(_width(low, high) for low, high in bands)
    return usual


def _before(first: BandRow) -> datetime:
    return first.origin - SeriesName.parse(first.series).interval.length


def _skills(conn: Connection, serving: Mapping[str, str]) -> dict[str, SkillRow]:
    """Return the champions' scores of one step ahead over the newest year that has any, live before backfilled.

    `serving` is the champion's model, and the scores are, by series.
    """
    skills: dict[str, SkillRow] = {}
    unscored = dict(serving)
    for kind in (ScoreKind.LIVE, ScoreKind.BACKFILL):
        for model, of_model in names_by_value(unscored).items():
            newest = newest_scored(conn, series=of_model, model=model, kind=kind)
            for origin, names in names_by_value(newest).items():
                wanted = ForecastFilter(tuple(names), start=origin - YEAR, model=model, kind=kind)
                skills |= {row.series: row for row in read_skill(conn, wanted, step=1)}
            unscored = {name: one for name, one in unscored.items() if name not in newest}
    return skills


def attention(conn: Connection, *, series: str, now: datetime | None = None) -> str | None:
    """Return what needs a person about one series, None for nothing; without `now`, whatever the checks recorded."""
    stale = now is not None and is_stale(
        latest_close_time(conn, series=series),
        SeriesName.parse(series).interval,
        now,
        read_usual_time(conn, series=series),
    )
    return _attention(stale, read_findings(conn, series=series), newest_outcomes(conn, series=[series]).get(series))


def _attention(stale: bool, findings: list[FindingRow], outcome: str | None) -> str | None:
    if outcome == "held":
        return "a file is held"
    urgent = [row for row in findings if row.severity == "error" or row.code in URGENT_CODES]
    if urgent:
        more = f", and {len(urgent) - 1} more" if len(urgent) > 1 else ""
        return f"{urgent[0].code.replace('-', ' ')}{more}"
    return "stale" if stale else None
