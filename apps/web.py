"""The HTTP side: read-only, no state of its own; every answer is a query that the command line makes too."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.gzip import GZipMiddleware
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Connection, Engine
from starlette.exceptions import HTTPException

from apps.metrics import metrics
from apps.skill import Judged, judged_skill
from models.candles import UnknownSeries
from models.forecasts import Kind
from storage.candles import CandleRow, read_candle_rows
from storage.engine import open_for_reading
from storage.errors import DatabaseUnusable, NotFound
from storage.findings import FindingRow, read_findings
from storage.forecasts import BandRow, read_bands
from storage.registry import VersionRow, list_versions
from storage.series import SeriesRow, require_series, series_summary
from storage.times import as_instant, as_span

PAGE_ROWS = 1000
MOST_ROWS = 10_000
# Nothing but this server's own data may be loaded, run or framed.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

Series = Annotated[str | None, Query(description="One series, such as Bitstamp_BTCUSD_d.", max_length=100)]
When = Annotated[str | None, Query(description="A day or an instant, UTC.", max_length=40)]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows a page.")]
Cursor = Annotated[int, Query(ge=0, le=10**12, description="`next` of the page before.")]
Format = Annotated[str, Query(pattern="^(json|csv)$", description="json or csv.")]


def create_app(database_url: str, *, token: str = "") -> FastAPI:
    """Return the read-only HTTP application; with `token`, every request must send it as a bearer token.

    The database is opened at the first request, so the server starts before the first daily run has made one.
    """
    app = FastAPI(title="candlecast", description="Stored forecasts, read-only.", docs_url=None, redoc_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    opened: list[Engine] = []

    def reading() -> Connection:
        if not opened:
            opened.append(open_for_reading(database_url))
        return opened[0].connect()

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Any]) -> Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        # Bytes, because compare_digest takes no text beyond ASCII.
        if token and not compare_digest(given.encode(), token.encode()):
            answer: Response = problem(401, "a bearer token is needed: Authorization: Bearer ...")
            answer.headers["WWW-Authenticate"] = "Bearer"
        else:
            answer = await call_next(request)
        answer.headers.update(HEADERS)
        return answer

    _add_errors(app)

    @app.get("/api/v1/series")
    def series(request: Request, limit: Limit = PAGE_ROWS, cursor: Cursor = 0, format: Format = "json") -> Response:
        """Stored series and the reach of their candles."""
        with reading() as conn:
            return page(request, SeriesRow._fields, series_summary(conn), limit, cursor, format)

    @app.get("/api/v1/candles")
    def candles(
        request: Request,
        series: Annotated[str, Query(max_length=100)],
        start: When = None,
        end: When = None,
        as_of: When = None,
        limit: Limit = PAGE_ROWS,
        cursor: Cursor = 0,
        format: Format = "json",
    ) -> Response:
        """Closed candles with start <= open_time <= end, as known at as_of."""
        first, last = as_span(start, end)
        with reading() as conn:
            require_series(conn, name=series)
            known = as_instant(as_of, end_of_day=True)
            rows = read_candle_rows(conn, series=series, start=first, end=last, as_of=known)
        return page(request, CandleRow._fields, rows, limit, cursor, format)

    @app.get("/api/v1/forecasts")
    def forecasts(
        request: Request,
        series: Series = None,
        origin: When = None,
        start: When = None,
        end: When = None,
        model: Annotated[str | None, Query(max_length=40)] = None,
        kind: Kind | None = None,
        limit: Limit = PAGE_ROWS,
        cursor: Cursor = 0,
        format: Format = "json",
    ) -> Response:
        """Stored forecasts, a row a step; start and end bound the origin."""
        first, last = as_span(start, end)
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_bands(
                conn, series=series, origin=as_instant(origin), start=first, end=last, model=model, kind=kind
            )
        return page(request, BandRow._fields, rows, limit, cursor, format)

    @app.get("/api/v1/forecasts/latest")
    def latest(request: Request, series: Series = None, format: Format = "json") -> Response:
        """Each champion's newest live forecast."""
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_bands(conn, series=series, latest=True)
        return page(request, BandRow._fields, rows, MOST_ROWS, 0, format)

    @app.get("/api/v1/skill")
    def skill(
        request: Request, series: Series = None, start: When = None, end: When = None, format: Format = "json"
    ) -> Response:
        """Every model's scores beside naive's, with p-values; live and backfill apart."""
        first, last = as_span(start, end)
        with reading() as conn:
            require_series(conn, name=series)
            rows = judged_skill(conn, series=series, start=first, end=last)
        return page(request, Judged._fields, rows, MOST_ROWS, 0, format)

    @app.get("/api/v1/models")
    def models(
        request: Request, series: Series = None, limit: Limit = PAGE_ROWS, cursor: Cursor = 0, format: Format = "json"
    ) -> Response:
        """Registered versions, the champions marked."""
        with reading() as conn:
            require_series(conn, name=series)
            rows = list_versions(conn, series=series)
        return page(request, VersionRow._fields, rows, limit, cursor, format)

    @app.get("/api/v1/findings")
    def findings(
        request: Request, series: Series = None, resolved: bool = False, limit: Limit = PAGE_ROWS, cursor: Cursor = 0,
        format: Format = "json",
    ) -> Response:  # fmt: skip
        """What is odd about the data."""
        with reading() as conn:
            require_series(conn, name=series)
            rows = read_findings(conn, series=series, resolved=resolved)
        return page(request, tuple(FindingRow.__slots__), rows, limit, cursor, format)

    @app.get("/healthz")
    def healthz() -> Response:
        """200 while the database answers, with each series' age of data in seconds; 503 otherwise."""
        now = datetime.now(UTC)
        with reading() as conn:
            ages = {
                row.name: None if row.last_close is None else (now - row.last_close).total_seconds()
                for row in series_summary(conn)
            }
        return Response(json.dumps({"status": "ok", "data_age_s": ages}), media_type="application/json")

    @app.get("/metrics")
    def prometheus() -> Response:
        """Metrics for Prometheus."""
        registry = CollectorRegistry()
        with reading() as conn:
            found = list(metrics(conn, now=datetime.now(UTC)))
        registry.register(_Collected(found))
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


class _Collected:
    def __init__(self, found: Sequence[Any]) -> None:
        self._found = found

    def collect(self) -> Sequence[Any]:
        return self._found


def page(request: Request, columns: Sequence[str], rows: Sequence[Any], limit: int, cursor: int, form: str) -> Response:
    """Return rows cursor..cursor+limit as JSON or CSV with an ETag; 304 when the client has them already.

    JSON is {"rows": [...], "next": cursor of the next page or null}; in CSV the next page's cursor is a header.
    """
    shown = [{name: _plain(getattr(row, name)) for name in columns} for row in rows[cursor : cursor + limit]]
    following = cursor + limit if cursor + limit < len(rows) else None
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(shown)
        body, media = text.getvalue().encode(), "text/csv; charset=utf-8"
    else:
        body, media = json.dumps({"rows": shown, "next": following}).encode(), "application/json"
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag} | ({} if following is None else {"X-Next-Cursor": str(following)})
    if request.headers.get("If-None-Match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media, headers=headers)


def _plain(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime | date) else value


def problem(status: int, detail: str) -> Response:
    """Return an error as application/problem+json (RFC 9457)."""
    body = {"type": "about:blank", "title": detail.split(":")[0][:80], "status": status, "detail": detail}
    return Response(json.dumps(body), status, media_type="application/problem+json")


def _add_errors(app: FastAPI) -> None:
    statuses: Mapping[type[Exception], int] = {
        NotFound: 404,
        UnknownSeries: 400,
        ValueError: 400,
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
        return problem(error.status_code, str(error.detail))

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
