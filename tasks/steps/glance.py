"""Every series at a glance: its last close, what it may do next, how good its champion is, and what needs a person."""

import math
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from sqlalchemy import Connection

from models.candles import SeriesName, UnknownSeries
from models.forecasts import ScoreKind
from models.freshness import is_stale
from storage.arrivals import read_usual_time
from storage.candles import latest_close_time, read_candle_rows
from storage.downloads import newest_outcome
from storage.findings import FindingRow, read_findings
from storage.forecasts import BandRow, read_bands, read_step_quantiles
from storage.query import ForecastFilter
from storage.registry import champion
from storage.scores import SkillRow, newest_scored, read_skill
from storage.series import SeriesRow, series_summary

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


def glance(conn: Connection, *, now: datetime, only: str | None = None) -> list[GlanceRow]:
    """Return a row for each stored series, or for `only` one, by name."""
    latest = {row.series: row for row in read_bands(conn, ForecastFilter(only, latest=True)) if row.step == 1}
    findings: dict[str, list[FindingRow]] = {}
    for finding in read_findings(conn, series=only):
        findings.setdefault(finding.series, []).append(finding)
    rows = []
    for each in series_summary(conn):
        if only in (None, each.name):
            rows.append(_row(conn, each, latest.get(each.name), findings.get(each.name, []), now))
    return rows


def _row(
    conn: Connection, series: SeriesRow, first: BandRow | None, findings: list[FindingRow], now: datetime
) -> GlanceRow:
    try:
        name = SeriesName.parse(series.name)
    except UnknownSeries:
        # No ingest stores such a name: somebody wrote it by hand, which must not cost the other series their row.
        return GlanceRow(
            series.name, series.interval, "", None, None, False, None, None, None, None, None, None, None, None, None,
            None, None, None, 0, None,
        )  # fmt: skip
    interval = name.interval
    stale = _is_stale(conn, name, series.last_close, now)
    close = None
    if series.last_close is not None:
        opened = series.last_close - interval.length
        close = next((row.close for row in read_candle_rows(conn, series=series.name, start=opened, end=opened)), None)
    serving = champion(conn, series=series.name)
    width = None if first is None else math.log(first.q90 / first.q10)
    skill = None if serving is None else _skill(conn, series.name, serving.model)
    return GlanceRow(
        series=series.name,
        interval=series.interval,
        quote=name.quote,
        last_close=series.last_close,
        close=close,
        stale=stale,
        champion=None if serving is None else serving.model,
        origin=None if first is None else first.origin,
        created_at=None if first is None else first.created_at,
        before_close=None if first is None else first.before_close,
        q10=None if first is None else first.q10,
        q50=None if first is None else first.q50,
        q90=None if first is None else first.q90,
        width=width,
        width_ratio=None if first is None else _width_ratio(conn, first, width),
        skill=None if skill is None else skill.skill,
        skill_kind=None if skill is None else skill.kind,
        skill_n=None if skill is None else skill.n,
        findings=len(findings),
        attention=_attention(conn, series.name, stale, findings),
    )


def _width_ratio(conn: Connection, first: BandRow, width: float | None) -> float | None:
    wanted = ForecastFilter(first.series, start=first.origin - YEAR, end=_before(first), model=first.model)
    widths = [math.log(high / low) for low, high in read_step_quantiles(conn, wanted, step=1, levels=(0.1, 0.9))]
    if width is None or len(widths) < LEAST_WIDTHS:
        return None
    return width / median(widths)


def _before(first: BandRow) -> datetime:
    return first.origin - SeriesName.parse(first.series).interval.length


def _skill(conn: Connection, series: str, model: str) -> SkillRow | None:
    """Return the champion's scores of one step ahead over the newest year that has any, live before backfilled."""
    for kind in (ScoreKind.LIVE, ScoreKind.BACKFILL):
        newest = newest_scored(conn, series=series, model=model, kind=kind)
        if newest is not None:
            rows = read_skill(conn, ForecastFilter(series, start=newest - YEAR, model=model, kind=kind), step=1)
            return rows[0] if rows else None
    return None


def attention(conn: Connection, *, series: str, now: datetime | None = None) -> str | None:
    """Return what needs a person about one series, None for nothing; without `now`, whatever the checks recorded."""
    stale = now is not None and _is_stale(conn, SeriesName.parse(series), latest_close_time(conn, series=series), now)
    return _attention(conn, series, stale, read_findings(conn, series=series))


def _is_stale(conn: Connection, name: SeriesName, closed: datetime | None, now: datetime) -> bool:
    return is_stale(closed, name.interval, now, read_usual_time(conn, series=str(name)))


def _attention(conn: Connection, series: str, stale: bool, findings: list[FindingRow]) -> str | None:
    if newest_outcome(conn, series=series) == "held":
        return "a file is held"
    urgent = [row for row in findings if row.severity == "error" or row.code in URGENT_CODES]
    if urgent:
        more = f", and {len(urgent) - 1} more" if len(urgent) > 1 else ""
        return f"{urgent[0].code.replace('-', ' ')}{more}"
    return "stale" if stale else None
