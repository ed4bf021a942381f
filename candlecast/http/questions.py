"""The questions of the HTTP API about stored rows: each is answered by a function of `storage` or `tasks/steps`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, Query, Response
from sqlalchemy import Connection

from candlecast.http.answers import answer, described
from candlecast.http.parameters import (
    ChosenKind,
    ChosenModel,
    Format,
    Model,
    OneKind,
    OneScoreKind,
    OneSeries,
    Page,
    Price,
    Series,
    When,
)
from candlecast.http.status import SeriesStatus, series_status
from models.candles import SeriesName
from models.chance import HIGHEST, LOWEST
from models.times import as_instant, as_span
from storage.arrivals import ArrivalRow, read_arrivals
from storage.candles import CandleRow, read_candle_rows
from storage.decisions import DecisionRow, list_decisions
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


def add_questions(app: FastAPI, reading: Callable[[], Connection]) -> None:
    """Add the questions about stored rows to `app`; `reading` gives a connection."""
    _add_candles(app, reading)
    _add_forecasts(app, reading)
    _add_scores(app, reading)
    _add_versions(app, reading)


def _add_candles(app: FastAPI, reading: Callable[[], Connection]) -> None:
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


def _add_forecasts(app: FastAPI, reading: Callable[[], Connection]) -> None:
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


def _add_scores(app: FastAPI, reading: Callable[[], Connection]) -> None:
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


def _add_versions(app: FastAPI, reading: Callable[[], Connection]) -> None:
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
