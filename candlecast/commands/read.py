"""The commands that only read: they import neither Prefect nor TensorFlow and answer in half a second."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from candlecast.commands.console import (
    End,
    FormatOption,
    Json,
    OneOrigin,
    OptionalSeries,
    Output,
    SeriesArgument,
    Start,
    WrongUse,
    emit,
    fail,
    instant,
    print_note,
    settings,
    span,
    stored_rows,
)
from candlecast.output import Format, columns_of
from models.forecasts import Kind, ScoreKind

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from candlecast.commands.hub import HubRow
    from storage.forecasts import BandRow
    from storage.query import ForecastFilter

app = typer.Typer()

# Of the one forecast that a question is about.
ChosenModel = Annotated[str | None, typer.Option(help="One model, such as naive; default: the champion.")]
ChosenKind = Annotated[Kind | None, typer.Option(help="live or backfill; default: live where there is one.")]

BAND_COLUMNS = (
    "series", "model", "kind", "origin", "step", "target_time", "before_close", "q025", "q05", "q10", "q25", "q50",
    "q75", "q90", "q95", "q975", "forecast_id", "created_at",
)  # fmt: skip


class AvailableSeries(NamedTuple):
    """A series of CDD's listing."""

    name: str
    exchange: str
    pair: str
    interval: str


def only(name: str) -> typer.Typer:
    """Return the command `name` of this module alone."""
    one = typer.Typer()
    one.registered_commands = [command for command in app.registered_commands if command.name == name]
    return one


@app.command("forecasts")
def forecasts(
    series: OptionalSeries = None,
    origin: OneOrigin = None,
    start: Start = None,
    end: End = None,
    model: Annotated[str | None, typer.Option(help="One model, such as naive.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="live or backfill; default: both, in separate rows.")] = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw each forecast in the terminal.")] = False,
) -> None:
    """Show stored forecasts; without filters, the latest forecast of each series' champion."""
    if plot and (json or output is not None or form is not Format.TABLE):
        raise WrongUse("--plot draws in the terminal; leave out --json, --format and --output")
    first, last = span(start, end)
    from storage.forecasts import read_bands
    from storage.query import ForecastFilter

    wanted = ForecastFilter(series, instant(origin, "--origin"), first, last, model, kind).or_latest()
    with stored_rows(series) as conn:
        if form is Format.HUB and not json:
            _write_hub_file(conn, wanted, output)
            return
        rows = read_bands(conn, wanted)
        if plot:
            _draw(conn, rows)
            return
    from candlecast.commands.captions import of_forecasts

    emit(BAND_COLUMNS, rows, form, json, output, of_forecasts(row.series for row in rows))
    if wanted.latest and form is Format.TABLE and not json:
        _print_when_stored(rows)


def _write_hub_file(conn: "Connection", wanted: "ForecastFilter", output: "Path | None") -> None:
    from candlecast.commands.hub import check_one_model_of_days, hub_row, late_steps
    from storage.forecasts import read_bands, read_quantiles

    rows = read_bands(conn, wanted)
    try:
        check_one_model_of_days(rows)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    if late := late_steps(rows):
        print_note(f"{late} of {len(rows)} steps were stored after their close, so they are no live forecasts")
    _write_hub_rows([hub_row(row) for row in read_quantiles(conn, wanted)], output)


def _write_hub_rows(rows: "list[HubRow]", output: "Path | None") -> None:
    from candlecast.commands.hub import write_hub_file

    try:
        write_hub_file(rows, output)
    except OSError as error:
        if output is None:
            raise
        fail(f"cannot write {output} and its tasks.json: {error.strerror}")


def _print_when_stored(rows: "list[BandRow]") -> None:
    """Print for each live forecast how long before its first close it was stored, or that it was stored after it."""
    from itertools import groupby

    from models.candles import SeriesName
    from models.wording import after_close, when_stored

    for _, steps in groupby(rows, key=lambda row: row.forecast_id):
        first, *later = steps
        interval = SeriesName.parse(first.series).interval
        stored = when_stored(first.created_at, first.origin, interval, 1 + len(later))
        print_note(f"{first.series}, {first.model} {after_close(first.origin, interval)}: {stored}")


def _draw(conn: "Connection", rows: "list[BandRow]") -> None:
    import os
    import shutil
    import sys

    from candlecast.commands.plot import fan_charts

    # Colours only on a terminal, and not where NO_COLOR is set (no-color.org).
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    try:
        print(fan_charts(conn, rows, columns=shutil.get_terminal_size((100, 24)).columns, colour=colour))
    except ValueError as error:
        raise WrongUse(str(error)) from None


@app.command("candles")
def candles(
    series: SeriesArgument,
    start: Start = None,
    end: End = None,
    as_of: Annotated[str | None, typer.Option(help="Show what was known at this instant, UTC.")] = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Show stored closed candles, as known now or at --as-of."""
    first, last = span(start, end)
    known_at = instant(as_of, "--as-of", end_of_day=True)
    from candlecast.commands.captions import of_candles
    from storage.candles import CandleRow, read_candle_rows

    with stored_rows(series) as conn:
        rows = read_candle_rows(conn, series=series, start=first, end=last, as_of=known_at)
    emit(CandleRow._fields, rows, form, json, output, of_candles(series, known_at))


@app.command("skill")
def skill(
    series: OptionalSeries = None,
    kind: Annotated[
        ScoreKind | None, typer.Option(help="live: stored before the close; late: stored after it; or backfill.")
    ] = None,
    reliability: Annotated[
        bool, typer.Option("--reliability", help="Show instead how often events of each stated chance happened.")
    ] = False,
    start: Start = None,
    end: End = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Show the forecasts' scores by model and step, beside naive's; live, late and backfill in separate rows."""
    first, last = span(start, end)
    if reliability and series is None:
        raise WrongUse("--reliability reads every quantile of a series, so name one")
    from candlecast.commands.captions import of_reliability, of_skill
    from storage.query import ForecastFilter

    wanted = ForecastFilter(series, start=first, end=last, kind=kind)
    with stored_rows(series) as conn:
        if reliability:
            from tasks.steps.reliability import ReliabilityRow, reliability_table

            table = reliability_table(conn, wanted)
            caption = of_reliability(conn, (row.series for row in table))
            emit(ReliabilityRow._fields, table, form, json, output, caption)
            return
        from storage.scores import SkillRow
        from tasks.steps.skill import judged_skill

        rows = judged_skill(conn, wanted)
        caption = of_skill(conn, (row.series for row in rows))
    emit(SkillRow._fields, rows, form, json, output, caption)


@app.command("chance")
def chance(
    series: SeriesArgument,
    above: Annotated[float | None, typer.Option(help="Ask for the chance that the close is above this price.")] = None,
    below: Annotated[float | None, typer.Option(help="Ask for the chance that the close is below this price.")] = None,
    chance: Annotated[
        float | None, typer.Option(help="Ask for the price that the close is below with this chance, 0.01 to 0.99.")
    ] = None,
    step: Annotated[int, typer.Option(help="The step; 1 is the candle that opens at the origin.")] = 1,
    origin: OneOrigin = None,
    model: ChosenModel = None,
    kind: ChosenKind = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Say how likely a close above or below a price is, or which price has a given chance, from one stored forecast."""
    if step < 1 or [above, below, chance].count(None) != 2:
        raise WrongUse("give one of --above PRICE, --below PRICE and --chance CHANCE, and a --step from 1 on")
    from candlecast.commands.captions import of_chances
    from tasks.steps.chance import ChanceRow, answered_chance, chance_sentence
    from tasks.steps.chosen import ForecastChoice

    choice = ForecastChoice(series, instant(origin, "--origin"), model, kind)
    with stored_rows() as conn:
        try:
            row = answered_chance(conn, choice, above=above, below=below, chance=chance, step=step)
        except ValueError as error:
            raise WrongUse(str(error)) from None
    if form is Format.TABLE and not json and output is None:
        print(f"{chance_sentence(row)}.")
        return
    emit(ChanceRow._fields, [row], form, json, output, of_chances([row.series]))


@app.command("paths")
def paths(
    series: Annotated[list[str], typer.Argument(help="One series, or several for a basket.")],
    weights: Annotated[
        str | None, typer.Option(help="The basket's amount of each series, such as 0.5,20; default: one of each.")
    ] = None,
    above: Annotated[float | None, typer.Option(help="Ask for the chance of any close above this price.")] = None,
    below: Annotated[float | None, typer.Option(help="Ask for the chance of any close below this price.")] = None,
    samples: Annotated[int, typer.Option(help="How many paths are drawn.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same paths.")] = 0,
    each: Annotated[bool, typer.Option("--each", help="Write every step of every path instead of a summary.")] = False,
    origin: OneOrigin = None,
    model: ChosenModel = None,
    kind: ChosenKind = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Draw sample paths of stored forecasts: the lowest close of the week, the chance to reach a price, baskets."""
    from candlecast.commands.captions import of_path_summary, of_paths
    from tasks.steps.chosen import ForecastChoice
    from tasks.steps.paths import PathQuestion, PathRow, PathSummaryRow, path_rows, path_summary

    start = instant(origin, "--origin")
    with stored_rows() as conn:
        try:
            amounts = tuple(float(part) for part in weights.split(",")) if weights else ()
            choices = tuple(ForecastChoice(name, start, model, kind) for name in series)
            question = PathQuestion(choices, samples, seed, amounts, above, below)
            if form is Format.HUB and not json:
                from candlecast.commands.hub import sample_row

                _write_hub_rows([sample_row(row) for row in path_rows(conn, question)], output)
            elif each:
                emit(PathRow._fields, path_rows(conn, question), form, json, output, of_paths(series))
            else:
                caption = of_path_summary(series)
                emit(PathSummaryRow._fields, path_summary(conn, question), form, json, output, caption)
        except ValueError as error:
            raise WrongUse(str(error)) from None


@app.command("models")
def list_models(
    series: OptionalSeries = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Show the registered model versions and which of them is each series' champion."""
    from storage.registry import list_versions

    with stored_rows(series) as conn:
        rows = list_versions(conn, series=series)
    columns = (
        "id", "series", "interval", "model", "purpose", "cutoff", "champion", "init_from", "seed", "device", "seconds",
        "created_at", "code_version", "weights_sha256", "learnt_from",
    )  # fmt: skip
    emit(columns, rows, form, json, output)


@app.command("series")
def list_series(
    available: Annotated[
        str | None,
        typer.Option("--available", metavar="EXCHANGE", help="Series that CDD has of an exchange, such as Bitstamp."),
    ] = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Show stored series and the times their candles cover; with --available, the series in CDD's listing."""
    configured = settings()
    if available is not None:
        from storage.source.listing import available_series

        listed = available_series(
            available,
            api=configured.cdd_api,
            token=configured.cdd_token or None,
            ca_bundle=configured.ca_bundle,
            user_agent=configured.user_agent,
        )
        named = [AvailableSeries(str(one), one.exchange, one.pair, one.interval.value) for one in listed]
        emit(AvailableSeries._fields, named, form, json, output)
        return
    from storage.series import SeriesRow, series_summary

    with stored_rows() as conn:
        rows = series_summary(conn)
    emit(SeriesRow._fields, rows, form, json, output)


@app.command("findings")
def list_findings(
    series: OptionalSeries = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Also show findings that a later check no longer saw.")
    ] = False,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Show what is odd about the stored data, how serious it is and what to do about it."""
    from storage.findings import FindingRow, read_findings

    with stored_rows(series) as conn:
        rows = read_findings(conn, series=series, resolved=resolved)
    emit(tuple(name for name in columns_of(FindingRow) if name != "id"), rows, form, json, output)
