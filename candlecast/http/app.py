"""The read-only HTTP API. Its questions are those of the command line; answers are kept until the data changes."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.gzip import GZipMiddleware
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from candlecast.http.answers import PROBLEMS, Problem, answer, described, problem
from candlecast.http.assets import add_pages, is_page
from candlecast.http.cursors import MOST_CHARACTERS, from_cursor, to_cursor
from candlecast.http.guard import Guard
from candlecast.http.head import HeadAsGet
from candlecast.http.kept_answers import KeptAnswers
from candlecast.http.metrics import metrics
from candlecast.http.status import SeriesStatus, series_status
from candlecast.output import columns_of
from models.candles import SeriesName, UnknownSeries
from models.chance import HIGHEST, LOWEST
from models.errors import NotEnoughCandles
from models.forecasts import Kind, ScoreKind
from models.times import as_instant, as_span
from storage.arrivals import ArrivalRow, read_arrivals
from storage.candles import CandleRow, read_candle_rows
from storage.database.watched import Watched
from storage.decisions import DecisionRow, list_decisions
from storage.errors import DatabaseUnusable, NotFound
from storage.findings import FindingRow, read_findings
from storage.forecasts import BandRow, OriginRow, read_bands, read_origins
from storage.query import ForecastFilter
from storage.registry import VersionRow, list_versions
from storage.scores import PitRow, SkillRow, read_pit
from storage.series import require_series
from tasks.steps.chance import ChanceRow, answered_chance
from tasks.steps.chosen import ForecastChoice
from tasks.steps.glance import GlanceRow, glance
from tasks.steps.paths import MOST_SAMPLES, PathQuestion, PathSummaryRow, path_summary
from tasks.steps.reliability import ReliabilityRow, reliability_table
from tasks.steps.skill import judged_skill

PAGE_ROWS = 1000
MOST_ROWS = 10_000

Series = Annotated[str | None, Query(description="One series, such as Bitstamp_BTCUSD_d.", max_length=100)]
OneSeries = Annotated[str, Query(description="One series, such as Bitstamp_BTCUSD_d.", max_length=100)]
When = Annotated[str | None, Query(description="A day or an instant, UTC.", max_length=40)]
Model = Annotated[str | None, Query(description="One model, such as naive.", max_length=40, pattern="^[a-z-]+$")]
OneKind = Annotated[Kind | None, Query(description="live or backfill; default: both, in separate rows.")]
# Of the one forecast that a question is about.
ChosenModel = Annotated[
    str | None, Query(description="One model; default: the champion.", max_length=40, pattern="^[a-z-]+$")
]
ChosenKind = Annotated[Kind | None, Query(description="live or backfill; default: live where there is one.")]
OneScoreKind = Annotated[
    ScoreKind | None,
    Query(
        description="live (stored before the close), late (stored after) or backfill; default: all, in separate rows."
    ),
]
Price = Annotated[float | None, Query(gt=0, allow_inf_nan=False, description="A price in the quote currency.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of a page.")]
Cursor = Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="`next` of the page before.")]
Format = Annotated[str, Query(pattern="^(json|csv)$", description="json or csv.")]


@dataclass(frozen=True)
class AskedPage:
    """Which page of an answer a client asks for, and in which format."""

    limit: Limit = PAGE_ROWS
    cursor: Cursor = None
    format: Format = "json"

    @property
    def rows(self) -> int:
        """How many rows to read: one more than the page holds, to see whether another page follows."""
        return self.limit + 1

    def after(self, *types: type) -> Any:  # noqa: ANN401 - the types say what it is
        """Return the key of the last row before this page, None for the first page.

        A key of several `types` is a tuple, a key of one type is its value. Raises ValueError for any other cursor.
        """
        if self.cursor is None:
            return None
        key = from_cursor(self.cursor, *types)
        return key if len(types) > 1 else key[0]

    def answer(self, kind: type, read: Sequence[Any], key: Callable[[Any], tuple[Any, ...]]) -> Response:
        """Return the page of `read`, which are rows of type `kind`, at most `rows` of them."""
        rows = read[: self.limit]
        following = to_cursor(key(rows[-1])) if len(read) > self.limit else None
        return answer(columns_of(kind), rows, self.format, following)


Page = Annotated[AskedPage, Depends()]


def create_app(database_url: str, *, token: str = "") -> FastAPI:
    """Return the read-only HTTP application; with `token`, requests for data must send it as a bearer token.

    The database is opened at the first request, so the server starts before the first daily run has made one.
    """
    app = FastAPI(title="candlecast", description="Stored forecasts, read-only.", docs_url=None, redoc_url=None)
    database = Watched(database_url)
    # Level 9, the middleware's own choice, takes three times as long for two hundredths less.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    # Health and metrics are not kept: the age of the data grows by itself.
    app.add_middleware(KeptAnswers, database=database, is_kept=lambda path: path.startswith("/api/v1/"), period=_period)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Guard, token=token, is_open=is_page)
    _add_errors(app)
    _add_questions(app, database.connect)
    _add_monitoring(app, database.connect)
    add_pages(app)
    _describe(app, guarded=bool(token))
    return app


def _period(path: str) -> int:
    """Return the number of the minute for answers that depend on the time of day, such as `stale`; 0 for others."""
    # To ask all series takes half a second for a hundred of them, and stale data is hours old.
    minutes = {"/api/v1/series": 1, "/api/v1/glance": 10}
    return int(time.time() // (60 * minutes[path])) if path in minutes else 0


def _add_questions(app: FastAPI, reading: Callable[[], Connection]) -> None:
    @app.get("/api/v1/series", responses=described(SeriesStatus))
    def series(page: Page) -> Response:
        """Stored series: their candles, whether they are stale, when the source publishes, and who forecasts them."""
        after = page.after(str)
        with reading() as conn:
            rows = series_status(conn, now=datetime.now(UTC), after=after, limit=page.rows)
        return page.answer(SeriesStatus, rows, lambda row: (row.name,))

    @app.get("/api/v1/glance", responses=described(GlanceRow))
    def all_at_a_glance(format: Format = "json") -> Response:
        """Every series: last close, the champion's band one step ahead, its width and skill, what needs a person."""
        with reading() as conn:
            rows = glance(conn, now=datetime.now(UTC))
        return answer(GlanceRow._fields, rows, format, None)

    @app.get("/api/v1/candles", responses=described(CandleRow))
    def candles(
        page: Page,
        series: OneSeries,
        start: When = None,
        end: When = None,
        as_of: When = None,
    ) -> Response:
        """Closed candles with start <= open_time <= end, as known at as_of."""
        first, last = as_span(start, end)
        known = as_instant(as_of, end_of_day=True)
        after = page.after(datetime)
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_candle_rows(
                conn, series=series, start=first, end=last, as_of=known, after=after, limit=page.rows
            )
        return page.answer(CandleRow, rows, lambda row: (row.open_time,))

    @app.get("/api/v1/arrivals", responses=described(ArrivalRow))
    def arrivals(
        page: Page,
        series: Series = None,
        start: When = None,
        end: When = None,
    ) -> Response:
        """Since when the source had each closed candle, and since when it is stored; start and end bound the close."""
        first, last = as_span(start, end)
        after = page.after(str, datetime)
        if after is not None:
            SeriesName.parse(after[0])
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_arrivals(conn, series=series, start=first, end=last, after=after, limit=page.rows)
        return page.answer(ArrivalRow, rows, lambda row: (row.series, row.close_time))

    @app.get("/api/v1/forecasts", responses=described(BandRow))
    def forecasts(
        page: Page,
        series: Series = None,
        origin: When = None,
        start: When = None,
        end: When = None,
        model: Model = None,
        kind: OneKind = None,
    ) -> Response:
        """Stored forecasts, one row per step; start and end bound the origin."""
        wanted = ForecastFilter.parse(series, origin=origin, start=start, end=end, model=model, kind=kind)
        after = page.after(str, datetime, str, str, int)
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_bands(conn, wanted, after=after, limit=page.rows)
        key = lambda row: (row.series, row.origin, row.model, row.kind, row.step)  # noqa: E731 - it is read right here
        return page.answer(BandRow, rows, key)

    @app.get("/api/v1/forecasts/latest", responses=described(BandRow))
    def latest(series: Series = None, format: Format = "json") -> Response:
        """Each champion's newest live forecast, all of it on one page."""
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_bands(conn, ForecastFilter(series, latest=True))
        return answer(BandRow._fields, rows, format, None)

    @app.get("/api/v1/chance", responses=described(ChanceRow))
    def chance(
        series: OneSeries,
        above: Price = None,
        below: Price = None,
        chance: Annotated[
            float | None,
            Query(ge=LOWEST, le=HIGHEST, description="Asks for the price that the close is below with this chance."),
        ] = None,
        step: Annotated[int, Query(ge=1, le=1000, description="1 is the candle that opens at the origin.")] = 1,
        origin: When = None,
        model: ChosenModel = None,
        kind: ChosenKind = None,
        format: Format = "json",
    ) -> Response:
        """The chance to close above or below a price, or the price that has a chance: give exactly one of the three."""
        choice = ForecastChoice.parse(series, origin=origin, model=model, kind=kind)
        with reading() as conn:
            row = answered_chance(conn, choice, above=above, below=below, chance=chance, step=step)
        return answer(ChanceRow._fields, [row], format, None)

    @app.get("/api/v1/paths", responses=described(PathSummaryRow))
    def paths(
        series: Annotated[list[str], Query(min_length=1, description="One series; repeat the parameter for a basket.")],
        weights: Annotated[
            list[float] | None, Query(description="The basket's amount of each series, in the order of the series.")
        ] = None,
        above: Price = None,
        below: Price = None,
        samples: Annotated[int, Query(ge=100, le=MOST_SAMPLES, description="How many paths are drawn.")] = 1000,
        seed: Annotated[int, Query(ge=0, le=2**63 - 1, description="The same seed gives the same paths.")] = 0,
        origin: When = None,
        model: ChosenModel = None,
        kind: ChosenKind = None,
        format: Format = "json",
    ) -> Response:
        """The lowest, highest and last close over the steps, and the chance that any close is beyond a level."""
        choices = tuple(ForecastChoice.parse(name, origin=origin, model=model, kind=kind) for name in series)
        question = PathQuestion(choices, samples, seed, tuple(weights or ()), above, below)
        with reading() as conn:
            rows = path_summary(conn, question)
        return answer(PathSummaryRow._fields, rows, format, None)

    @app.get("/api/v1/origins", responses=described(OriginRow))
    def origins(
        page: Page,
        series: Series = None,
        start: When = None,
        end: When = None,
        model: Model = None,
        kind: OneKind = None,
    ) -> Response:
        """Which forecasts are stored, one row each; start and end bound the origin."""
        wanted = ForecastFilter.parse(series, start=start, end=end, model=model, kind=kind)
        after = page.after(str, datetime, str, str)
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_origins(conn, wanted, after=after, limit=page.rows)
        return page.answer(OriginRow, rows, lambda row: (row.series, row.origin, row.model, row.kind))

    @app.get("/api/v1/skill", responses=described(SkillRow))
    def skill(
        series: Series = None, kind: OneScoreKind = None, start: When = None, end: When = None, format: Format = "json"
    ) -> Response:
        """Every model's scores beside naive's, with p-values; live, late and backfill apart; all on one page."""
        wanted = ForecastFilter.parse(series, start=start, end=end, kind=kind)
        with reading() as conn:
            require_series(conn, name=series)
            rows = judged_skill(conn, wanted)
        return answer(SkillRow._fields, rows, format, None)

    @app.get("/api/v1/calibration", responses=described(PitRow))
    def calibration(
        series: Series = None, kind: OneScoreKind = None, start: When = None, end: When = None, format: Format = "json"
    ) -> Response:
        """How often the actual close fell into each tenth of the forecast distribution; all on one page."""
        wanted = ForecastFilter.parse(series, start=start, end=end, kind=kind)
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_pit(conn, wanted)
        return answer(PitRow._fields, rows, format, None)

    @app.get("/api/v1/reliability", responses=described(ReliabilityRow))
    def reliability(
        series: OneSeries,
        model: Model = None,
        kind: OneScoreKind = None,
        start: When = None,
        end: When = None,
        format: Format = "json",
    ) -> Response:
        """How often events of each stated chance happened, with 95 % intervals; all on one page."""
        wanted = ForecastFilter.parse(series, start=start, end=end, model=model, kind=kind)
        with reading() as conn:
            require_series(conn, name=series)
            rows = reliability_table(conn, wanted)
        return answer(ReliabilityRow._fields, rows, format, None)

    @app.get("/api/v1/models", responses=described(VersionRow))
    def models(page: Page, series: Series = None) -> Response:
        """Registered model versions, and which of them are champions."""
        after = page.after(int)
        with reading() as conn:
            require_series(conn, name=series)
            rows = list_versions(conn, series=series, after=after, limit=page.rows)
        return page.answer(VersionRow, rows, lambda row: (row.id,))

    @app.get("/api/v1/decisions", responses=described(DecisionRow))
    def decisions(page: Page, series: Series = None) -> Response:
        """Every decision about which model serves a series, oldest first."""
        after = page.after(int)
        with reading() as conn:
            require_series(conn, name=series)
            rows = list_decisions(conn, series=series, after=after, limit=page.rows)
        return page.answer(DecisionRow, rows, lambda row: (row.id,))

    @app.get("/api/v1/findings", responses=described(FindingRow))
    def findings(page: Page, series: Series = None, resolved: bool = False) -> Response:
        """What is odd about the data, how much it matters and what to do."""
        after = page.after(str, int)
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_findings(conn, series=series, resolved=resolved, after=after, limit=page.rows)
        return page.answer(FindingRow, rows, lambda row: (row.series, row.id))


def _add_monitoring(app: FastAPI, reading: Callable[[], Connection]) -> None:
    refusals: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (401, 421, 503)}
    healthy = {
        "application/json": {"schema": {"type": "object", "required": ["status", "data_age_s", "stale", "late"]}}
    }

    @app.get("/healthz", responses={200: {"content": healthy}, **refusals})
    def healthz() -> Response:
        """200 while the database answers, with each series' age and which are stale or late (`degraded`); else 503."""
        now = datetime.now(UTC)
        with reading() as conn:
            rows = series_status(conn, now=now)
            late = sorted({row.series for row in read_findings(conn) if row.code == "late"})
        ages = {row.name: None if row.last_close is None else (now - row.last_close).total_seconds() for row in rows}
        stale = [row.name for row in rows if row.stale]
        status = "degraded" if stale or late else "ok"
        body = {"status": status, "data_age_s": ages, "stale": stale, "late": late}
        return Response(json.dumps(body), media_type="application/json")

    lines = {"text/plain": {"schema": {"type": "string"}}}

    @app.get("/metrics", response_class=Response, responses={200: {"content": lines}, **refusals})
    def prometheus() -> Response:
        """Metrics for Prometheus."""
        registry = CollectorRegistry()
        with reading() as conn:
            families = list(metrics(conn, now=datetime.now(UTC)))
        registry.register(_Collected(families))
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


class _Collected:
    def __init__(self, families: Sequence[Any]) -> None:
        self._families = families

    def collect(self) -> Sequence[Any]:
        return self._families


def _add_errors(app: FastAPI) -> None:
    statuses: Mapping[type[Exception], int] = {
        NotFound: 404,
        UnknownSeries: 400,
        ValueError: 400,
        NotEnoughCandles: 400,
        DatabaseUnusable: 503,
    }
    for kind, status in statuses.items():

        def handle(_: Request, error: Exception, status: int = status) -> Response:
            return problem(status, str(error))

        app.add_exception_handler(kind, handle)

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors())
        return problem(400, f"the query cannot be answered: {wrong}")

    def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return problem(error.status_code, str(error.detail), headers)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _describe(app: FastAPI, *, guarded: bool) -> None:
    """Complete OpenAPI: the problem's schema, the token, and no 422, which FastAPI assumes and we answer as 400."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        # Relative to the description's own address, so that it is right below a path of a reverse proxy too.
        schema["servers"] = [{"url": "./"}]
        if guarded:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
