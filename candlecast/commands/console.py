"""Shared by the commands: reading settings and times, printing rows and notes, and ending with an error."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from candlecast.output import Format, Row, write_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from flows.settings import Settings

SeriesArgument = Annotated[str, typer.Argument(help="A series, such as Bitstamp_BTCUSD_d.")]
OptionalSeries = Annotated[str | None, typer.Argument(help="A series; default: all of them.")]
SeriesList = Annotated[list[str] | None, typer.Argument(help="Series; default: those of the settings.")]
Start = Annotated[str | None, typer.Option(help="First day or instant, UTC (2025-01-31 or 2025-01-31T12:00).")]
End = Annotated[str | None, typer.Option(help="Last day or instant, UTC; all of the day is included.")]
OneOrigin = Annotated[str | None, typer.Option("--origin", help="One origin, UTC.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How to write the rows.")]
Json = Annotated[bool, typer.Option("--json", help="Rows as JSON; the same as --format json.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file instead of stdout.")]


class WrongUse(typer.BadParameter):
    """The command line contradicts itself or has a value that cannot be read; ends with exit code 2."""


def fail(message: str, code: int = 1) -> NoReturn:
    """Print `message` on stderr and end with exit code `code`."""
    from storage.redaction import printable

    # The message may contain text that a source sent.
    print(f"candlecast: {printable(message)}", file=sys.stderr)
    raise SystemExit(code)


def print_note(message: str) -> None:
    """Print something that is not a result for the user, on stderr."""
    print(message, file=sys.stderr)


class ProgressLines:
    """A progress callback that prints a line on stderr every few seconds, none for work that takes less."""

    def __init__(self, *, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._printed_at = time.monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Print what is being done and its share of the whole, if the last line is old enough."""
        now = time.monotonic()
        if now - self._printed_at >= self._seconds:
            self._printed_at = now
            print_note(f"{what}: {done / max(total, 1):.0%}")


def settings() -> "Settings":
    """Return the settings; ends with exit code 2 and the reason if they cannot be read."""
    from flows.environment import SettingsUnreadable
    from flows.settings import Settings

    try:
        return Settings()
    except SettingsUnreadable as error:
        fail(f"the settings cannot be read: {error}", code=2)


@contextmanager
def stored_rows(series: str | None = None) -> Iterator["Connection"]:
    """Yield a connection that reads the settings' database; raises NotFound if `series` is given and not stored."""
    from storage.database.engine import disposing, open_for_reading, reading
    from storage.series import require_series

    with disposing(open_for_reading(settings().database_url)) as engine, reading(engine) as conn:
        require_series(conn, name=series)
        yield conn


def instant(text: str | None, option: str, *, end_of_day: bool = False) -> datetime | None:
    """Return `text` as an aware UTC instant; a day is its first instant or, with `end_of_day`, its last.

    Ends with exit code 2, naming `option`, if it cannot be read.
    """
    from models.times import as_instant

    try:
        return as_instant(text, end_of_day=end_of_day)
    except ValueError as error:
        raise WrongUse(str(error), param_hint=option) from None


def span(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """Return both ends of a span; ends with exit code 2 if one cannot be read or the end is before the start."""
    from models.times import as_span

    try:
        return as_span(start, end)
    except ValueError as error:
        raise WrongUse(str(error), param_hint="--start, --end") from None


def emit(
    columns: tuple[str, ...],
    rows: Sequence[Row],
    form: Format,
    json: bool,
    output: Path | None = None,
    caption: str | None = None,
) -> None:
    """Write `rows` in the given format, a table with its `caption`.

    Ends with exit code 2 if the format does not fit, and with 1 if the file cannot be written.
    """
    try:
        write_rows(columns, rows, Format.JSON if json else form, output, caption if rows else None)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    except OSError as error:
        if output is None:
            raise
        fail(f"cannot write {output}: {error.strerror}")
