"""The commands that operate an installation: champions, backups, servers, health."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from candlecast.commands.console import (
    Json,
    ProgressLines,
    SeriesArgument,
    WrongUse,
    emit,
    fail,
    print_note,
    settings,
)
from candlecast.output import Format, columns_of

app = typer.Typer()


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="A model version, as `candlecast models` lists it.")],
    series: Annotated[
        str | None,
        typer.Option(
            help="The series whose champion it becomes; needed for a version that serves all series of an interval."
        ),
    ] = None,
) -> None:
    """Make a model version the champion of a series, whatever the gate decided."""
    from storage.database.engine import disposing, open_database, writing
    from storage.decisions import promote as promote_version
    from storage.series import require_series

    with disposing(open_database(settings().database_url)) as engine, writing(engine) as conn:
        require_series(conn, name=series)
        promoted = promote_version(
            conn, version=version, series=series, reason="promoted by hand", decided_at=datetime.now(UTC)
        )
    print_note(f"version {version} is now the champion of {promoted}")


@app.command()
def rollback(series: SeriesArgument) -> None:
    """Make the previous champion the champion again."""
    from storage.database.engine import disposing, open_database, writing
    from storage.decisions import rollback as roll_back
    from storage.series import require_series

    with disposing(open_database(settings().database_url)) as engine, writing(engine) as conn:
        require_series(conn, name=series)
        version = roll_back(conn, series=series, reason="rolled back by hand", decided_at=datetime.now(UTC))
    print_note(f"version {version} is the champion of {series} again")


@app.command()
def replay(
    forecast: Annotated[
        int, typer.Argument(help="A forecast's number: the column forecast_id of `candlecast forecasts`.")
    ],
) -> None:
    """Make a stored forecast again from its candles and weights; exit 0 only if the numbers are the same."""
    from storage.database.engine import disposing, open_for_reading
    from tasks.steps.replay import replay as replay_forecast

    with disposing(open_for_reading(settings().database_url)) as engine:
        replayed = replay_forecast(engine, forecast=forecast)
    for difference in replayed.differences:
        print_note(f"note: {difference}")
    if not replayed.matches:
        fail(
            f"forecast {forecast} does not replay: quantiles differ by up to {replayed.largest_difference:.2g} "
            "(relative)"
        )
    precision = "bit for bit" if replayed.exact else f"within {replayed.largest_difference:.1g} (relative)"
    print(f"forecast {forecast} replays: {precision}")


@app.command()
def web(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs CANDLECAST_API_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve the web page and the read-only HTTP API until stopped."""
    import ipaddress

    configured = settings()
    token = configured.api_token
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not token:
        raise WrongUse(f"--host {host} is reachable from elsewhere: set CANDLECAST_API_TOKEN, which readers must send")
    import uvicorn

    from candlecast.http.app import create_app

    print_note(f"candlecast: the page is at http://{host}:{port}/, the API's description at http://{host}:{port}/docs")
    uvicorn.run(
        create_app(configured.database_url, token=token),
        host=host,
        port=port,
        log_level="warning",
        timeout_keep_alive=60,
    )


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The new file to write.")]) -> None:
    """Copy the SQLite database to FILE while it is in use; the copy is consistent and checked."""
    from storage.database.backup import backup as copy

    size = copy(settings().database_url, to=file)
    print(f"{file}: {size:,} bytes")


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="A backup that `candlecast backup` wrote.")]) -> None:
    """Restore a backup; the present database is moved aside, never deleted."""
    from storage.database.backup import restore as put_back

    replaced = put_back(file, url=settings().database_url, now=datetime.now(UTC))
    print(f"restored from {file}" + (f"; the database that was there is now {replaced}" if replaced else ""))


@app.command()
def copy(
    to: Annotated[
        str,
        typer.Option(help="URL of an empty database: PostgreSQL if yours is SQLite, SQLite if yours is PostgreSQL."),
    ],
    json: Json = False,
) -> None:
    """Copy everything into an empty database of another kind, and check every row; may be interrupted and repeated."""
    from storage.database.copying import CopiedTable, copy_database

    copied = copy_database(settings().database_url, to=to, progress=ProgressLines())
    emit(columns_of(CopiedTable), copied.tables, Format.TABLE, json)
    done = "already holds all rows of" if copied.was_there else "now holds all rows of"
    print_note(f"{copied.target} {done} {copied.source}: {sum(t.rows for t in copied.tables):,}, with equal hashes")
    print_note("to use it, set CANDLECAST_DATABASE_URL to it wherever candlecast runs")


@app.command()
def doctor(json: Json = False) -> None:
    """Check the installation and say how to fix what is wrong."""
    from candlecast.commands.doctor import Check, examine, lines_of

    checks = []
    for check in examine(settings()):
        checks.append(check)
        if not json:
            # At once: a later check may take long, or end this process.
            print(lines_of(check), flush=True)
    if json:
        emit(columns_of(Check), checks, Format.JSON, json)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


NotifyOption = Annotated[
    str | None,
    typer.Option(help="URL of a webhook for messages about models, late or stale data, failed and unstarted runs."),
]

NotesOption = Annotated[
    bool, typer.Option("--notes", help="Also send the morning note of each series to the URL of --notify.")
]


@app.command()
def setup(notify: NotifyOption = None, notes: NotesOption = False, json: Json = False) -> None:
    """Create pools, queues and automations on the configured Prefect server; may be repeated."""
    from candlecast.orchestrator.configured import configured_url

    url = configured_url()
    if not url:
        raise WrongUse(
            "no Prefect server is configured: set PREFECT_API_URL, or use a Prefect profile that names one; "
            "for one machine `candlecast serve` needs no setup"
        )
    _webhook(notify, notes)
    from httpx import HTTPError

    from candlecast.orchestrator.setup import Prepared, prepare

    try:
        done = prepare(notify=notify, notes=notes)
    except HTTPError as error:
        from storage.redaction import safe_url, without_credentials

        reason = without_credentials(str(error))
        fail(f"the Prefect server at {safe_url(url)} did not take the setup: {reason}")
    emit(Prepared._fields, done, Format.TABLE, json)


def _webhook(url: str | None, notes: bool) -> None:
    if notes and url is None:
        raise WrongUse("--notes needs --notify URL, where the notes are sent")
    from storage.source.urls import checked_web_url

    try:
        checked_web_url(url or "https://none")
    except ValueError as error:
        # Not shown: the path of a webhook is its secret.
        raise WrongUse(str(error), param_hint="--notify") from None


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Loopback port of Prefect's server and pages.")] = 4200,
    notify: NotifyOption = None,
    notes: NotesOption = False,
) -> None:
    """Run Prefect's server, the daily schedule (from 00:05 UTC) and the other deployments until it is stopped."""
    settings()
    _webhook(notify, notes)
    from candlecast.orchestrator.serving import serve_schedule

    serve_schedule(port, notify=notify, notes=notes)
