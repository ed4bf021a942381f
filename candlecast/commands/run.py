"""The commands that fetch, train, forecast and backfill."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from candlecast.commands.console import (
    Json,
    SeriesArgument,
    SeriesList,
    WrongUse,
    emit,
    fail,
    print_note,
    settings,
    span,
)
from candlecast.output import Format, columns_of
from models.candles import SeriesName
from models.schedule import Mode
from storage.errors import StorageError, about

app = typer.Typer()


# A warning about the cost, printed before such a model is trained.
COSTLY = {
    # 200 epochs of 1,018 windows took 54 s with a written-out gradient; automatic differentiation takes 1.45 times as
    # long (docs/decisions/0010-tutorial-gradient.md).
    "tutorial": "each quarter, and each of the four quarters before the first, needs a fit of about 80 seconds of "
    "processor time per 1,000 days of history. That is about 150 times lstm's cost"
}


def warn_of_cost(model: str) -> None:
    """Print a warning if training `model` takes long."""
    if model in COSTLY:
        print_note(f"candlecast: {model} is slow: {COSTLY[model]}")


@app.command()
def daily(
    series: SeriesList = None,
    mode: Annotated[Mode, typer.Option(help="How to train; auto trains only if a training is due.")] = Mode.AUTO,
    wait: Annotated[
        bool, typer.Option("--wait", help="Ask again for candles that are not published yet, as a scheduled day does.")
    ] = False,
) -> None:
    """Run the daily flow now: ingest, forecast, score and draw each series, then train what is due."""
    configured = settings()
    names = [str(SeriesName.parse(name)) for name in series] if series else list(configured.series)
    from candlecast.orchestrator.server import orchestrated

    failure = None
    with orchestrated() as ready:
        from candlecast.commands.summary import print_summary, print_what_is_not_published
        from candlecast.orchestrator.preload import import_what_is_due
        from flows.daily import DailyFailed
        from flows.daily import daily as daily_flow
        from storage.database.engine import open_database

        # Report an unusable database here in one sentence; otherwise the flow's first step fails with a traceback.
        open_database(configured.database_url).dispose()
        if not wait:
            import_what_is_due(configured, names)
        ready()
        try:
            daily_flow(series=names, mode=mode, wait=wait)
        except DailyFailed as error:
            failure = str(error)
        print_summary(configured, names)
        print_what_is_not_published(configured, names)
    if failure is not None:
        fail(failure)


@app.command()
def ingest(
    series: Annotated[
        list[str] | None,
        typer.Argument(
            help="Series such as Bitstamp_BTCUSD_d, or files of CDD that hold a part of one, such as "
            "Bitstamp_BTCUSD_2021_minute; default: the series of the settings."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="A file on this machine with candles of SERIES, of any name and span.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Store a file that was held back for a person to check.")
    ] = False,
    json: Json = False,
) -> None:
    """Download and store candles now, without forecasting."""
    configured = settings()
    given = series or list(configured.series)
    names = [SeriesName.of_file_name(name) for name in given]
    if file is not None and len(given) != 1:
        raise WrongUse("expected exactly one series for the file", param_hint="--file")
    from flows.sources import cdd_client
    from storage.database.engine import disposing, open_database
    from storage.source.client import CddClient
    from tasks.steps.ingest import IngestReport, ingest_series

    client = cdd_client(configured) if file is None else CddClient(str(file.parent))
    failures: list[str] = []
    reports = []
    with disposing(open_database(configured.database_url)) as engine:
        for text, name in zip(given, names, strict=True):
            file_name = file.name if file is not None else f"{text}.csv"
            try:
                report = ingest_series(
                    engine, series=str(name), client=client, now=datetime.now(UTC), accept=accept, file_name=file_name
                )
                reports.append(report)
            except StorageError as error:
                failures.append(about(str(name), error))
    if reports:
        emit(columns_of(IngestReport), reports, Format.TABLE, json)
    if failures:
        fail("; ".join(failures))


@app.command()
def train(
    series: SeriesArgument,
    mode: Annotated[Mode, typer.Option(help="auto trains only if a training is due.")] = Mode.AUTO,
) -> None:
    """Train a challenger now and let the gate decide whether it becomes champion."""
    configured = settings()
    from storage.database.engine import disposing, open_database, reading
    from storage.series import require_series

    with disposing(open_database(configured.database_url)) as engine, reading(engine) as conn:
        require_series(conn, name=series)
    warn_of_cost(configured.model)
    from candlecast.orchestrator.server import orchestrated

    with orchestrated() as ready:
        from flows.retrain import retrain

        ready()
        versions = retrain(series=[series], mode=mode)
    for version in versions:
        print_note(f"trained version {version}; see: candlecast models {series}")
    if not versions:
        print_note("no training is due")


def _check_model(name: str) -> None:
    from models.catalog import checked_model

    try:
        checked_model(name)
    except ValueError as error:
        raise WrongUse(str(error), param_hint="--model") from None


@app.command()
def backfill(
    series: Annotated[list[str], typer.Argument(help="Series, such as Bitstamp_BTCUSD_d.")],
    start: Annotated[str, typer.Option(help="First origin day, UTC.")],
    end: Annotated[str, typer.Option(help="Last origin day, UTC, included.")],
    model: Annotated[
        str | None, typer.Option(help="One model; without it, naive and the model of the settings.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what is missing and how long it would take.")
    ] = False,
    json: Json = False,
) -> None:
    """Store and score the missing forecasts of past origins from --start to --end."""
    first, last = span(start, end)
    assert first is not None
    assert last is not None
    configured = settings()
    if model is not None:
        _check_model(model)
    from storage.database.engine import disposing, open_database, reading
    from storage.series import require_series

    with disposing(open_database(configured.database_url)) as engine:
        with reading(engine) as conn:
            for name in series:
                require_series(conn, name=name)
        if dry_run:
            from flows.jobs import backfill_job
            from tasks.steps.backfill_plan import PlannedPartition, plan

            models, now = [model] if model else None, datetime.now(UTC)
            jobs = [
                backfill_job(configured, name, models=models, start=first, end=last, now=now)
                for name in dict.fromkeys(series)
            ]
            rows, estimate = plan(engine, jobs)
            emit(PlannedPartition._fields, rows, Format.TABLE, json)
            print_note(estimate)
            return
    warn_of_cost(model or configured.model)
    from candlecast.orchestrator.server import orchestrated

    with orchestrated() as ready:
        from flows.backfill import BackfillFailed
        from flows.backfill import backfill as backfill_flow

        ready()
        try:
            done = backfill_flow(series=series, start=first, end=last, models=[model] if model else None)
        except BackfillFailed as error:
            fail(f"some partitions failed, the others are stored; the same command tries them again: {error}")
    columns = ("series", "model", "origins", "stored")
    emit(columns, done, Format.TABLE, json)


@app.command()
def study(
    file: Annotated[
        Path | None,
        typer.Option(help="A CDD file named after its series, such as Bitstamp_BTCUSD_d.csv; without it, the sample."),
    ] = None,
    start: Annotated[str, typer.Option(help="First day, UTC.")] = "2014-12-01",
    end: Annotated[str, typer.Option(help="Last day, UTC, included.")] = "2018-05-26",
    batch_size: Annotated[int, typer.Option(min=1, help="Windows per training step.")] = 7,
    window_size: Annotated[int, typer.Option(min=1, help="Days that predict the next day.")] = 7,
    other_window_size: Annotated[int, typer.Option(min=1, help="A second window to compare with.")] = 3,
    hidden_layers: Annotated[
        int, typer.Option(min=1, help="Units of the LSTM layer; the tutorial calls them hidden layers.")
    ] = 256,
    clip_margin: Annotated[float, typer.Option(help="Largest global norm of a step's gradient.")] = 4.0,
    learning_rate: Annotated[float, typer.Option(help="Adam's learning rate.")] = 0.001,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training windows.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="How many times each setup is trained.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Three epochs and two seeds, to show that it runs.")] = False,
    json: Json = False,
) -> None:
    """Run the tutorial's recipe, compare it with naive and blend, and write reports/study; takes up to ten minutes."""
    first, last = span(start, end)
    for option, value in (("--clip-margin", clip_margin), ("--learning-rate", learning_rate)):
        if not value > 0:
            raise WrongUse(f"expected a number above 0, got {value}", param_hint=option)
    if file is not None:
        SeriesName.of_file(file)
    settings()
    from candlecast.orchestrator.server import orchestrated

    assert first is not None
    assert last is not None
    chosen = {} if file is None else {"file": file}
    with orchestrated() as ready:
        from flows.study import study as study_flow

        ready()
        done = study_flow(
            **chosen,
            start=first.date(),
            end=last.date(),
            batch_size=batch_size,
            window_size=window_size,
            other_window_size=other_window_size,
            hidden_layers=hidden_layers,
            clip_margin=clip_margin,
            learning_rate=learning_rate,
            epochs=epochs,
            seeds=seeds,
            quick=quick,
        )
    emit(done.lines[0]._fields, done.lines, Format.TABLE, json)
    print_note(f"the study, with its figures, is at {done.page}")
