"""The read-only HTTP API. Its questions are those of the command line; answers are kept until the data changes."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.gzip import GZipMiddleware
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from candlecast.http.answers import PROBLEMS, Problem, problem
from candlecast.http.assets import add_pages, is_page
from candlecast.http.guard import Guard
from candlecast.http.head import HeadAsGet
from candlecast.http.kept_answers import KeptAnswers
from candlecast.http.metrics import metrics
from candlecast.http.questions import add_questions
from candlecast.http.status import series_status
from models.candles import UnknownSeries
from models.errors import NotEnoughCandles
from storage.database.watched import Watched
from storage.errors import DatabaseUnusable, NotFound
from storage.findings import read_findings


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
    add_questions(app, database.connect)
    _add_monitoring(app, database.connect)
    add_pages(app)
    _describe(app, guarded=bool(token))
    return app


def _period(path: str) -> int:
    """Return the number of the minute for answers that depend on the time of day, such as `stale`; 0 for others."""
    # To ask all series takes half a second for a hundred of them, and stale data is hours old.
    minutes = {"/api/v1/series": 1, "/api/v1/glance": 10}
    return int(time.time() // (60 * minutes[path])) if path in minutes else 0


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
