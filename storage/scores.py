"""Scores: the forecast steps that have matured (their candles have closed), their scores, and how models compare."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    Text,
    and_,
    case,
    column,
    exists,
    func,
    literal,
    select,
    table,
    text,
    type_coerce,
)
from sqlalchemy.types import NullType

from models.forecasts import BASELINE, CENTRAL_BANDS, QUANTILE_LEVELS, ScoreKind
from storage.database.inserting import insert_or_skip
from storage.database.times import UtcDateTime, unix_us
from storage.query import EVERY_FORECAST, ForecastFilter
from storage.tables import MEDIAN_LEVEL, forecast_values, forecasts, model_versions, scores
from storage.tables import series as stored_series

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_candles = table(
    "current_candles",
    column("series", Text),
    column("open_time", UtcDateTime()),
    column("close", Float),
    column("fetched_at", UtcDateTime(precise=True)),
)
_scores = table(
    "current_scores",
    column("series", Text),
    column("model", Text),
    column("kind", Text),
    column("forecast_kind", Text),
    column("origin", UtcDateTime()),
    column("model_version", Integer),
    column("step", Integer),
    column("actual", Float),
    column("absolute_error", Float),
    column("crps", Float),
    *(column(f"covered{band.percent}", Boolean) for band in CENTRAL_BANDS),
    column("pit", Float),
)

PIT_PARTS = 10

# By model, kind and step, and then by origin: the absolute error, the CRPS, whether each of CENTRAL_BANDS held the
# actual close, and more.
StepScores: TypeAlias = dict[tuple[str, str, int], dict[Any, Sequence[Any]]]


class Matured(NamedTuple):
    """A forecast step whose candle has closed: its quantiles at QUANTILE_LEVELS and the actual close."""

    forecast: int
    step: int
    truth_fetched_at: datetime
    actual: float
    values: tuple[float, ...]


class Score(NamedTuple):
    """The scores of one matured step; see the columns of the table `scores`."""

    forecast: int
    step: int
    truth_fetched_at: datetime
    actual: float
    absolute_error: float
    crps: float
    covered50: bool
    covered80: bool
    covered95: bool
    pit: float


class SkillRow(NamedTuple):
    """A model's mean scores at one step beside naive's on the same origins, and how significant the difference is.

    `skill` is 1 - crps / naive_crps, above zero better than naive; `p_value` is two-sided, for the CRPS of both being
    equal (Diebold-Mariano with overlapping steps accounted for), and `skill_low`..`skill_high` the 95 % interval of
    `skill` by the same test, naive's own CRPS taken as known. These three are None where nothing was tested.
    """

    series: str
    model: str
    kind: str
    step: int
    n: int
    mae: float
    crps: float
    coverage50: float
    coverage80: float
    coverage95: float
    naive_mae: float
    naive_crps: float
    skill: float | None = None
    skill_low: float | None = None
    skill_high: float | None = None
    p_value: float | None = None


class PitRow(NamedTuple):
    """How many actual closes fell into one tenth of the forecast distribution; a calibrated model has even counts."""

    series: str
    model: str
    kind: str
    step: int
    part: int
    n: int


class OriginScore(NamedTuple):
    """The score of one step of one origin, for tests over time."""

    origin: datetime
    step: int
    crps: float
    covered80: bool
    covered95: bool
    pit: float


class ActualRow(NamedTuple):
    """The actual close of one scored step of one forecast, in quote currency."""

    series: str
    model: str
    kind: str
    origin: datetime
    step: int
    actual: float


def unscored(conn: Connection, *, series: str, limit: int) -> list[Matured]:
    """Return at most `limit` matured steps that are not scored against the newest revision of their actual close.

    Forecasts of a model that was trained on data after their origin are never scored.
    """
    v = forecast_values.alias()
    scored = exists().where(
        scores.c.forecast == v.c.forecast,
        scores.c.step == v.c.step,
        scores.c.truth_fetched_at == _candles.c.fetched_at,
    )
    in_sample = and_(model_versions.c.cutoff.is_not(None), model_versions.c.cutoff > forecasts.c.origin)
    steps = (
        # Selected as a number: as a datetime it would be parsed 23 times per step.
        select(v.c.forecast, v.c.step, unix_us(_candles.c.fetched_at).label("fetched_us"), _candles.c.close)
        .join(forecasts, forecasts.c.id == v.c.forecast)
        .join(model_versions, model_versions.c.id == forecasts.c.model_version)
        .join(_candles, and_(_candles.c.series == forecasts.c.series, _candles.c.open_time == v.c.target_time))
        .where(forecasts.c.series == series, v.c.quantile == MEDIAN_LEVEL, ~scored, ~in_sample)
        .limit(limit)
        .subquery()
    )
    query = (
        select(steps, forecast_values.c.value)
        .join(
            forecast_values,
            and_(forecast_values.c.forecast == steps.c.forecast, forecast_values.c.step == steps.c.step),
        )
        .order_by(steps.c.forecast, steps.c.step, forecast_values.c.quantile)
    )
    rows = conn.execute(query).all()
    width = len(QUANTILE_LEVELS)
    return [
        Matured(
            rows[i].forecast,
            rows[i].step,
            _EPOCH + timedelta(microseconds=rows[i].fetched_us),
            rows[i].close,
            tuple(row.value for row in rows[i : i + width]),
        )
        for i in range(0, len(rows), width)
    ]


def insert_scores(conn: Connection, *, rows: Iterable[Score], scored_at: datetime) -> int:
    """Store scores, one per step and revision of the actual close; returns how many were new."""
    return insert_or_skip(conn, scores, [{**row._asdict(), "scored_at": scored_at} for row in rows])


def newest_scored(conn: Connection, *, series: Collection[str], model: str, kind: ScoreKind) -> dict[str, datetime]:
    """Return the newest origin of each of `series` of which step 1 is scored and of this kind, by name.

    A series without one is left out.
    """
    c, name = _scores.c, stored_series.c.name
    conditions = _conditions(_scores, ForecastFilter(model=model, kind=kind))
    newest = (
        select(c.origin)
        .where(*conditions, c.series == name, c.step == 1)
        .order_by(c.origin.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = conn.execute(select(name, newest).where(name.in_(series))).tuples()
    return {one: origin for one, origin in rows if origin is not None}


def read_skill(conn: Connection, wanted: ForecastFilter = EVERY_FORECAST, *, step: int | None = None) -> list[SkillRow]:
    """Return the mean scores by series, kind, model and step, or of one `step`, on origins that naive shares.

    Live, late and backfilled scores are never pooled. The rows have no interval and no p-value: see
    tasks/steps/skill.py.
    """
    s, b = _scores.alias("s"), _scores.alias("b")
    # The view computes a score's kind for each row and each use of it. Where one kind is wanted, it is known.
    kinds = [s.c.kind] if wanted.kind is None else []
    kind = s.c.kind if wanted.kind is None else literal(ScoreKind(wanted.kind).value)
    columns: list[ColumnElement[Any]] = [
        s.c.series,
        s.c.model,
        kind,
        s.c.step,
        func.count().label("n"),
        func.avg(s.c.absolute_error),
        func.avg(s.c.crps),
        *(func.avg(s.c[f"covered{band.percent}"].cast(Integer)) for band in CENTRAL_BANDS),
        func.avg(b.c.absolute_error),
        func.avg(b.c.crps),
    ]
    query = (
        select(*columns)
        .join(
            b,
            and_(
                b.c.series == s.c.series,
                b.c.forecast_kind == s.c.forecast_kind,
                b.c.origin == s.c.origin,
                b.c.step == s.c.step,
                b.c.model == BASELINE,
            ),
        )
        .group_by(s.c.series, s.c.model, *kinds, s.c.step)
        .order_by(s.c.series, *(each.desc() for each in kinds), s.c.model, s.c.step)
    )
    if step is not None:
        query = query.where(s.c.step == step)
    rows = conn.execute(query.where(*_conditions(s, wanted)))
    return [_with_skill(SkillRow(*row[:5], *(float(value) for value in row[5:]))) for row in rows]


def _with_skill(row: SkillRow) -> SkillRow:
    return row._replace(skill=1 - row.crps / row.naive_crps) if row.naive_crps else row


def read_pit(conn: Connection, wanted: ForecastFilter = EVERY_FORECAST) -> list[PitRow]:
    """Count the probability integral transforms in each tenth of the distribution; part 0 is below the first decile.

    A tenth without any has no row.
    """
    c = _scores.c
    # By comparisons, because the databases cast a float to an integer in different ways.
    upper = [(c.pit < (part + 1) / PIT_PARTS, part) for part in range(PIT_PARTS - 1)]
    part = case(*upper, else_=PIT_PARTS - 1).label("part")
    keys = (c.series, c.model, c.kind, c.step)
    query = (
        select(*keys, part, func.count())
        .group_by(*keys, text("part"))
        .order_by(c.series, c.kind.desc(), c.model, c.step, text("part"))
    )
    query = query.where(*_conditions(_scores, wanted))
    return [PitRow(*row) for row in conn.execute(query)]


def read_origin_scores(conn: Connection, wanted: ForecastFilter) -> list[OriginScore]:
    """Return the score of each step and origin of the wanted forecasts, which are one model's of one kind, in order."""
    c = _scores.c
    query = (
        select(c.origin, c.step, c.crps, c.covered80, c.covered95, c.pit)
        .where(*_conditions(_scores, wanted))
        .order_by(c.origin, c.step)
    )
    return [OriginScore(*row) for row in conn.execute(query).all()]


def read_step_scores(conn: Connection, wanted: ForecastFilter) -> StepScores:
    """Return the scores of the wanted forecasts, which are of one series, by model, kind and step, and then by origin.

    An origin is as the database itself has it, because only the order of origins matters, and thousands are read.
    """
    c = _scores.c
    held = (c[f"covered{band.percent}"] for band in CENTRAL_BANDS)
    origin = type_coerce(c.origin, NullType())
    query = select(c.absolute_error, c.crps, *held, c.model, c.kind, c.step, origin)
    by_step: StepScores = defaultdict(dict)
    for row in conn.execute(query.where(*_conditions(_scores, wanted))).all():
        # The row itself is kept: to cut its end off would take as long as to group it.
        model_kind_step: Any = row[5:8]
        by_step[model_kind_step][row[8]] = row
    return by_step


def read_actuals(conn: Connection, wanted: ForecastFilter) -> list[ActualRow]:
    """Return the actual close of each scored step of the wanted forecasts, by series, kind, model, origin and step."""
    c = _scores.c
    query = (
        select(*(c[name] for name in ActualRow._fields))
        .where(*_conditions(_scores, wanted))
        .order_by(c.series, c.kind, c.model, c.origin, c.step)
    )
    return [ActualRow(*row) for row in conn.execute(query)]


def _conditions(source: FromClause, wanted: ForecastFilter) -> list[ColumnElement[bool]]:
    assert not wanted.latest
    conditions = wanted.conditions(source)
    if wanted.kind is not None:
        kind = ScoreKind(wanted.kind)
        # The view computes a score's kind for each row; the stored kind is indexed, so it is a condition as well.
        conditions += [source.c.kind == kind.value, source.c.forecast_kind == kind.stored_as.value]
    return conditions
