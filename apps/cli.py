"""The commands of candlecast. Heavy imports happen inside the commands that need them."""

import gc
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from apps.output import Format, write_rows
from models.candles import SeriesName, UnknownSeries
from models.errors import ModelError
from models.forecasts import Kind
from models.schedule import Mode
from storage.errors import StorageError

if TYPE_CHECKING:
    from flows.settings import Settings
    from storage.forecasts import QuantileRow

app = typer.Typer(
    name="candlecast",
    help="Self-hosted daily forecasts for crypto markets: fetched, made, kept and judged.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

SeriesArgument = Annotated[str, typer.Argument(help="A series, such as Bitstamp_BTCUSD_d.")]
OptionalSeries = Annotated[str | None, typer.Argument(help="A series; all of them without it.")]
SeriesList = Annotated[list[str] | None, typer.Argument(help="Series; those of the settings without any.")]
Start = Annotated[str | None, typer.Option(help="First day or instant, UTC (2025-01-31 or 2025-01-31T12:00).")]
End = Annotated[str | None, typer.Option(help="Last day or instant, UTC; a day is included whole.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How to write the rows.")]
Json = Annotated[bool, typer.Option("--json", help="Rows as JSON; the same as --format json.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file instead of stdout.")]


# What a model costs that makes people wait, said before it is trained.
COSTLY = {
    "tutorial": "each quarter it forecasts is a fit of about a minute and a half of processor time, and one more year "
    "of quarters to calibrate on: about a hundred times lstm's cost"
}


# The commands that only read: they import neither Prefect nor TensorFlow and answer in half a second.
READING = ("forecasts", "candles", "skill", "models", "series", "findings")


class WrongUse(typer.BadParameter):
    """The command line asks for something that cannot be meant; ends with exit code 2."""


def main() -> None:
    """Run the command line; exit 0 when done, 1 when it failed, 2 when it was used wrongly."""
    if sys.argv[1:2] and sys.argv[1] in READING:
        # Such a command is over before there is garbage worth collecting; measured, looking for it while modules are
        # imported takes 15 % of its time.
        gc.disable()
    try:
        app()
    except (StorageError, ModelError) as error:
        fail(str(error))
    except UnknownSeries as error:
        fail(str(error), code=2)
    except BrokenPipeError:
        # The reader of our pipe has seen enough; there is nobody left to tell.
        sys.stderr.close()
        sys.exit(0)


def fail(message: str, code: int = 1) -> NoReturn:
    """Tell `message` on stderr and end."""
    print(f"candlecast: {message}", file=sys.stderr)
    raise SystemExit(code)


def talk(message: str) -> None:
    """Tell a person something that is not a result."""
    print(message, file=sys.stderr)


def warn_of_cost(model: str) -> None:
    """Tell what training `model` costs, if it is much."""
    if model in COSTLY:
        talk(f"candlecast: {model} is slow: {COSTLY[model]}")


def settings() -> "Settings":
    """Return the settings, or end with the reason why they cannot be read."""
    from pydantic import ValidationError

    from flows.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        reasons = "; ".join(
            f"CANDLECAST_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        fail(f"the settings cannot be read: {reasons}", code=2)


def instant(text: str | None, option: str, *, end_of_day: bool = False) -> datetime | None:
    """Return the aware UTC instant that `text` names; a bare day is its start, or its last instant."""
    from storage.times import as_instant

    try:
        return as_instant(text, end_of_day=end_of_day)
    except ValueError as error:
        raise WrongUse(str(error), param_hint=option) from None


def span(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """Return both ends of a span; ends with exit code 2 for garbage and when the end is before the start."""
    from storage.times import as_span

    try:
        return as_span(start, end)
    except ValueError as error:
        raise WrongUse(str(error), param_hint="--start, --end") from None


def _emit(
    columns: tuple[str, ...], rows: list[dict[str, object]], form: Format, json: bool, output: Path | None
) -> None:
    try:
        write_rows(columns, rows, Format.JSON if json else form, output)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    except OSError as error:
        if output is None:
            raise
        fail(f"cannot write {output}: {error.strerror}")


# --- reading -------------------------------------------------------------------------------------------------


BAND_COLUMNS = (
    "series", "model", "kind", "origin", "step", "target_time", "q025", "q05", "q10", "q25", "q50", "q75", "q90",
    "q95", "q975", "forecast_id", "created_at",
)  # fmt: skip
CANDLE_SHOWN = (
    "open_time", "close_time", "open", "high", "low", "close", "volume_base", "volume_quote", "trades", "fetched_at",
)  # fmt: skip


# The hubverse's model-output layout (hubverse.io, read November 2026), the series as location.
HUB_COLUMNS = (
    "origin_date", "location", "target", "horizon", "target_end_date", "output_type", "output_type_id", "value",
)  # fmt: skip


@app.command()
def forecasts(
    series: OptionalSeries = None,
    origin: Annotated[str | None, typer.Option(help="One origin, UTC.")] = None,
    start: Start = None,
    end: End = None,
    model: Annotated[str | None, typer.Option(help="One model, such as naive.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="live, or backfill; never pooled silently.")] = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Stored forecasts; without filters the champion's latest of each series."""
    first, last = span(start, end)
    at = instant(origin, "--origin")
    from storage.engine import open_for_reading
    from storage.forecasts import read_bands, read_quantiles
    from storage.series import require_series

    latest = all(filter is None for filter in (at, first, last, model, kind))
    with open_for_reading(settings().database_url).connect() as conn:
        require_series(conn, name=series)
        if form is Format.HUB and not json:
            quantiles = read_quantiles(
                conn, series=series, origin=at, start=first, end=last, model=model, kind=kind, latest=latest
            )
            _emit(HUB_COLUMNS, [_hub_row(row) for row in quantiles], Format.CSV, False, output)
            return
        rows = read_bands(conn, series=series, origin=at, start=first, end=last, model=model, kind=kind, latest=latest)
    _emit(
        BAND_COLUMNS,
        [{name: getattr(row, name) for name in BAND_COLUMNS} for row in rows],
        form,
        json,
        output,
    )


def _hub_row(row: "QuantileRow") -> dict[str, object]:
    return {
        "origin_date": row.origin.date().isoformat(),
        "location": row.series,
        "target": "close",
        "horizon": row.step,
        "target_end_date": row.target_time.date().isoformat(),
        "output_type": "quantile",
        "output_type_id": row.quantile,
        "value": row.value,
    }


@app.command()
def candles(
    series: SeriesArgument,
    start: Start = None,
    end: End = None,
    as_of: Annotated[str | None, typer.Option(help="Show what was known at this instant, UTC.")] = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Stored closed candles, as known now or at --as-of."""
    first, last = span(start, end)
    known_at = instant(as_of, "--as-of", end_of_day=True)
    from storage.candles import read_candle_rows
    from storage.engine import open_for_reading
    from storage.series import require_series

    with open_for_reading(settings().database_url).connect() as conn:
        require_series(conn, name=series)
        rows = read_candle_rows(conn, series=series, start=first, end=last, as_of=known_at)
    _emit(
        CANDLE_SHOWN,
        [{name: getattr(row, name) for name in CANDLE_SHOWN} for row in rows],
        form,
        json,
        output,
    )


@app.command()
def skill(
    series: OptionalSeries = None,
    start: Start = None,
    end: End = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """How good the forecasts were: per model and step, live and backfill apart, each beside naive."""
    first, last = span(start, end)
    from apps.skill import Judged, judged_skill
    from storage.engine import open_for_reading
    from storage.series import require_series

    with open_for_reading(settings().database_url).connect() as conn:
        require_series(conn, name=series)
        rows = judged_skill(conn, series=series, start=first, end=last)
    _emit(Judged._fields, [row._asdict() for row in rows], form, json, output)


@app.command("models")
def list_models(
    series: OptionalSeries = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Registered model versions and which of them is each series' champion."""
    from storage.engine import open_for_reading
    from storage.registry import list_versions
    from storage.series import require_series

    with open_for_reading(settings().database_url).connect() as conn:
        require_series(conn, name=series)
        rows = list_versions(conn, series=series)
    columns = (
        "id", "series", "model", "purpose", "cutoff", "champion", "init_from", "seed", "device", "seconds",
        "created_at", "code_version", "weights_sha256",
    )  # fmt: skip
    _emit(columns, [{name: getattr(row, name) for name in columns} for row in rows], form, json, output)


@app.command("series")
def list_series(
    available: Annotated[
        str | None,
        typer.Option("--available", metavar="EXCHANGE", help="What CDD has of an exchange, such as Bitstamp."),
    ] = None,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """Stored series and how far their candles reach; with --available, the series that CDD's listing names."""
    configured = settings()
    if available is not None:
        from storage.cdd_listing import available_series

        listed = available_series(
            available,
            api=configured.cdd_api,
            token=configured.cdd_token.get_secret_value() or None,
            ca_bundle=configured.ca_bundle,
        )
        named: list[dict[str, object]] = [
            {"name": str(s), "exchange": s.exchange, "pair": s.pair, "interval": s.interval.value} for s in listed
        ]
        _emit(("name", "exchange", "pair", "interval"), named, form, json, output)
        return
    from storage.engine import open_for_reading
    from storage.series import series_summary

    with open_for_reading(configured.database_url).connect() as conn:
        rows = series_summary(conn)
    columns = ("name", "exchange", "pair", "interval", "candles", "first_open", "last_close")
    _emit(columns, [{name: getattr(row, name) for name in columns} for row in rows], form, json, output)


@app.command("findings")
def list_findings(
    series: OptionalSeries = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Also what later checks no longer saw.")] = False,
    form: FormatOption = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """What is odd about the stored data, how much it matters and what to do about it."""
    from storage.engine import open_for_reading
    from storage.findings import read_findings
    from storage.series import require_series

    with open_for_reading(settings().database_url).connect() as conn:
        require_series(conn, name=series)
        rows = read_findings(conn, series=series, resolved=resolved)
    columns = (
        "series",
        "severity",
        "code",
        "count",
        "first_time",
        "last_time",
        "message",
        "remedy",
        "found_at",
        "resolved_at",
    )
    _emit(columns, [{name: getattr(row, name) for name in columns} for row in rows], form, json, output)


# --- doing ---------------------------------------------------------------------------------------------------


@app.command()
def daily(
    series: SeriesList = None,
    mode: Annotated[Mode, typer.Option(help="How to train, if at all.")] = Mode.AUTO,
) -> None:
    """Run the daily flow now: ingest, train what is due, forecast, score, show."""
    configured = settings()
    names = [str(SeriesName.parse(name)) for name in series] if series else list(configured.series)
    from apps.orchestration import set_prefect_defaults

    set_prefect_defaults()
    from flows.daily import DailyFailed
    from flows.daily import daily as daily_flow

    failure: DailyFailed | None = None
    try:
        daily_flow(series=names, mode=mode)
    except DailyFailed as error:
        failure = error
    from apps.summary import print_summary

    print_summary(configured, names)
    if failure is not None:
        fail(str(failure))


@app.command()
def ingest(
    series: SeriesList = None,
    accept: Annotated[bool, typer.Option("--accept", help="Take a file that was held for a person.")] = False,
    json: Json = False,
) -> None:
    """Fetch, parse, check and store candles now, without forecasting."""
    configured = settings()
    names = [str(SeriesName.parse(name)) for name in series] if series else list(configured.series)
    from flows.sources import cdd_client
    from storage.engine import open_database
    from tasks.ingest import ingest_series

    client, engine = cdd_client(configured), open_database(configured.database_url)
    failures: list[str] = []
    reports = []
    for name in names:
        try:
            reports.append(ingest_series(engine, series=name, client=client, now=datetime.now(UTC), accept=accept))
        except StorageError as error:
            failures.append(f"{name}: {error}")
    columns = (
        "series",
        "outcome",
        "rows_in",
        "rows_new",
        "rows_equal",
        "rows_revised",
        "rows_quarantined",
        "largest_revision",
        "findings",
    )
    if reports:
        rows = [{name: getattr(report, name) for name in columns} for report in reports]
        _emit(columns, rows, Format.TABLE, json, None)
    if failures:
        fail("; ".join(failures))


@app.command()
def train(
    series: SeriesArgument,
    mode: Annotated[Mode, typer.Option(help="auto trains only what is due.")] = Mode.AUTO,
) -> None:
    """Train a challenger now, register it and let the gate judge it."""
    configured = settings()
    from apps.orchestration import set_prefect_defaults
    from storage.engine import open_database
    from storage.series import require_series

    engine = open_database(configured.database_url)
    with engine.connect() as conn:
        require_series(conn, name=series)
    engine.dispose()
    warn_of_cost(configured.model)
    set_prefect_defaults()
    from flows.retrain import retrain

    version = retrain(series=series, mode=mode)
    talk("no training is due" if version is None else f"trained version {version}; see: candlecast models {series}")


@app.command()
def backfill(
    series: Annotated[list[str], typer.Argument(help="Series, such as Bitstamp_BTCUSD_d.")],
    start: Annotated[str, typer.Option(help="First origin day, UTC.")],
    end: Annotated[str, typer.Option(help="Last origin day, UTC, included.")],
    model: Annotated[str | None, typer.Option(help="A model; the settings' model and naive without it.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what is missing and what it would cost.")
    ] = False,
    json: Json = False,
) -> None:
    """Make and score every missing forecast of past origins in start..end."""
    first, last = span(start, end)
    assert first is not None
    assert last is not None
    configured = settings()
    from models.forecasts import BASELINE, MODEL_NAMES

    if model is not None and model not in MODEL_NAMES:
        raise WrongUse(f"unknown model {model!r}; the models are {', '.join(MODEL_NAMES)}")
    from storage.engine import open_database
    from storage.series import require_series

    engine = open_database(configured.database_url)
    with engine.connect() as conn:
        for name in series:
            require_series(conn, name=name)
    if dry_run:
        from apps.backfill_plan import PLAN_COLUMNS, plan

        models = [model] if model else list(dict.fromkeys([BASELINE, configured.model]))
        rows, estimate = plan(engine, series=series, models=models, start=first, end=last, seed=configured.seed)
        _emit(PLAN_COLUMNS, rows, Format.TABLE, json, None)
        talk(estimate)
        return
    engine.dispose()
    warn_of_cost(model or configured.model)
    from apps.orchestration import set_prefect_defaults

    set_prefect_defaults()
    from flows.backfill import BackfillFailed
    from flows.backfill import backfill as backfill_flow

    try:
        done = backfill_flow(series=series, start=first, end=last, models=[model] if model else None)
    except BackfillFailed as error:
        fail(f"some partitions failed, the others are stored; the same command tries them again: {error}")
    columns = ("series", "model", "origins", "stored")
    _emit(columns, [{name: getattr(one, name) for name in columns} for one in done], Format.TABLE, json, None)


@app.command()
def study(
    file: Annotated[
        Path | None,
        typer.Option(help="A CDD file named after its series, such as Bitstamp_BTCUSD_d.csv; the sample without it."),
    ] = None,
    start: Annotated[str, typer.Option(help="First day, UTC.")] = "2014-12-01",
    end: Annotated[str, typer.Option(help="Last day, UTC, included.")] = "2018-05-26",
    batch_size: Annotated[int, typer.Option(min=1, help="Windows a training step.")] = 7,
    window_size: Annotated[int, typer.Option(min=1, help="Days that predict the next.")] = 7,
    other_window_size: Annotated[int, typer.Option(min=1, help="The window it is held against.")] = 3,
    hidden_layers: Annotated[int, typer.Option(min=1, help="Units of the LSTM layer, as the tutorial calls it.")] = 256,
    clip_margin: Annotated[float, typer.Option(help="Greatest global norm of a step's gradient.")] = 4.0,
    learning_rate: Annotated[float, typer.Option(help="Adam's learning rate.")] = 0.001,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training windows.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="How often each is trained.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Three epochs of two seeds: shows that it runs.")] = False,
    json: Json = False,
) -> None:
    """Run the tutorial's recipe in the open, beside naive and blend, and write reports/study; up to ten minutes."""
    first, last = span(start, end)
    for option, value in (("--clip-margin", clip_margin), ("--learning-rate", learning_rate)):
        if not value > 0:
            raise WrongUse(f"expected a number above 0, got {value}", param_hint=option)
    if file is not None:
        SeriesName.parse(file.stem.split("__")[0])
    settings()
    from apps.orchestration import set_prefect_defaults

    set_prefect_defaults()
    from flows.study import study as study_flow

    assert first is not None
    assert last is not None
    chosen = {} if file is None else {"file": file}
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
    rows: list[dict[str, object]] = [line._asdict() for line in done.lines]
    _emit(tuple(rows[0]), rows, Format.TABLE, json, None)
    talk(f"the study, with its figures, is at {done.page}")


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="A model version, as `candlecast models` lists it.")],
) -> None:
    """Make a version its series' champion, whatever the gate thought of it."""
    from storage.engine import open_database
    from storage.registry import promote as promote_version

    with open_database(settings().database_url).begin() as conn:
        series = promote_version(conn, version=version, reason="promoted by hand", decided_at=datetime.now(UTC))
    talk(f"version {version} is now the champion of {series}")


@app.command()
def rollback(series: SeriesArgument) -> None:
    """Make the champion before the present one the champion again."""
    from storage.engine import open_database
    from storage.registry import rollback as roll_back
    from storage.series import require_series

    with open_database(settings().database_url).begin() as conn:
        require_series(conn, name=series)
        version = roll_back(conn, series=series, reason="rolled back by hand", decided_at=datetime.now(UTC))
    talk(f"version {version} is the champion of {series} again")


@app.command()
def replay(
    forecast: Annotated[int, typer.Argument(help="A forecast's number, as `candlecast forecasts` lists it.")],
) -> None:
    """Make a stored forecast again from its lineage; exit 0 only if the numbers are the stored ones."""
    from storage.engine import open_for_reading
    from tasks.replay import replay as replay_forecast

    engine = open_for_reading(settings().database_url)
    found = replay_forecast(engine, forecast=forecast)
    engine.dispose()
    for difference in found.differences:
        talk(f"note: {difference}")
    if not found.matches:
        fail(
            f"forecast {forecast} does not replay: quantiles differ by up to {found.largest_difference:.2g} (relative)"
        )
    said = "bit for bit" if found.exact else f"within {found.largest_difference:.1g} (relative)"
    print(f"forecast {forecast} replays: {said}")


@app.command()
def web(
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback a token is needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve the read-only HTTP API until it is stopped."""
    import ipaddress

    configured = settings()
    token = configured.api_token.get_secret_value()
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not token:
        raise WrongUse(f"--host {host} is reachable from elsewhere: set CANDLECAST_API_TOKEN, which readers must send")
    import uvicorn

    from apps.web import create_app

    talk(f"candlecast: http://{host}:{port}/api/v1/forecasts/latest")
    uvicorn.run(create_app(configured.database_url, token=token), host=host, port=port, log_level="warning")


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The new file to write.")]) -> None:
    """Copy the SQLite database to FILE while others go on using it; the copy is of one instant and checked."""
    from storage.backup import backup as copy

    size = copy(settings().database_url, to=file)
    print(f"{file}: {size:,} bytes")


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="A backup that `candlecast backup` wrote.")]) -> None:
    """Put a backup in the database's place; the replaced database is moved aside, never deleted."""
    from storage.backup import restore as put_back

    replaced = put_back(file, url=settings().database_url, now=datetime.now(UTC))
    print(f"restored from {file}" + (f"; the database before is {replaced}" if replaced else ""))


@app.command()
def doctor(json: Json = False) -> None:
    """Check source, database, Prefect, device and freshness; each trouble comes with a remedy."""
    from apps.doctor import examine

    checks = examine(settings())
    columns = ("check", "ok", "found", "remedy")
    _emit(
        columns,
        [{name: getattr(check, name) for name in columns} for check in checks],
        Format.TABLE,
        json,
        None,
    )
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


NotifyOption = Annotated[
    str | None, typer.Option(help="URL that is sent a JSON `text` about drift, stale data and failed runs.")
]


@app.command()
def setup(notify: NotifyOption = None, json: Json = False) -> None:
    """Give the Prefect server of PREFECT_API_URL its pools, queues, limits and automations; may be repeated."""
    import os

    if not os.environ.get("PREFECT_API_URL"):
        raise WrongUse("PREFECT_API_URL names no server; for one machine `candlecast serve` needs no setup")
    _webhook(notify)
    from apps.orchestration import set_prefect_defaults

    set_prefect_defaults()
    from httpx import HTTPError

    from apps.prefect_setup import Prepared, prepare

    try:
        done = prepare(notify=notify)
    except HTTPError as error:
        fail(f"the Prefect server at {os.environ['PREFECT_API_URL']} did not take the setup: {error}")
    _emit(Prepared._fields, [row._asdict() for row in done], Format.TABLE, json, None)


def _webhook(url: str | None) -> None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise WrongUse(f"expected an http(s) URL, got {url!r}", param_hint="--notify")


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Loopback port of Prefect's server and pages.")] = 4200,
    notify: NotifyOption = None,
) -> None:
    """Run Prefect's server and the daily schedule (00:20 UTC) until it is stopped."""
    settings()
    _webhook(notify)
    from apps.orchestration import set_prefect_defaults

    set_prefect_defaults()
    from apps.serving import serve_schedule

    serve_schedule(port, notify=notify)
