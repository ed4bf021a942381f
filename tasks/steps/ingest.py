"""Ingesting: fetch a file, parse it, check it, store it whole or not at all."""

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from models.candles import Finding, SeriesName, Severity
from models.times import from_unix
from storage import downloads
from storage.arrivals import read_final_after
from storage.candles import StoreCounts, closed_count, newest_fetch, store_candles
from storage.database.engine import reading, writing
from storage.downloads import LastDownload
from storage.errors import CddDenied, CddFormatChanged, CddNotFound, CddRefused, CddUnavailable, StorageError
from storage.findings import read_findings, record_findings
from storage.health import AGE_CODES, CANDLE_CODES, check_age, check_candles
from storage.series import ensure_series, series_names
from storage.source.client import Fetched, http_date
from storage.source.closing import Learnt, made_at
from storage.source.file import CddFile
from storage.year_ends import close_years
from tasks.steps.file_findings import FILE_CODES, file_findings
from tasks.steps.freshness import note_age
from tasks.steps.holds import Held, hold_for_a_person

_OUTCOMES: dict[type[StorageError], str] = {
    CddNotFound: "not_found",
    CddUnavailable: "unavailable",
    CddDenied: "unavailable",
    CddRefused: "refused",
    CddFormatChanged: "format_changed",
}


class Source(Protocol):
    """Gives the file of a series: the client, or an answer that came before."""

    @property
    def source(self) -> str:
        """Where files come from, as it may be logged."""
        ...

    def fetch(
        self,
        series: SeriesName,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        file_name: str | None = None,
    ) -> Fetched:
        """Return the file of `series`, or that it is unchanged; raises one of the source's errors."""
        ...


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did; rows_in = rows_new + rows_equal + rows_revised + rows_quarantined."""

    series: str
    outcome: str
    rows_in: int = 0
    rows_new: int = 0
    rows_equal: int = 0
    rows_revised: int = 0
    rows_quarantined: int = 0
    largest_revision: float = 0.0
    findings: int = 0

    def __str__(self) -> str:
        if self.outcome == "unchanged":
            return "the source's file is unchanged"
        size = f" (largest {self.largest_revision:.2%})" if self.rows_revised else ""
        return (
            f"{self.rows_in} rows: {self.rows_new} new, {self.rows_equal} equal, {self.rows_revised} revised{size}, "
            f"{self.rows_quarantined} quarantined; {self.findings} findings"
        )


def ingest_series(
    engine: Engine,
    *,
    series: str,
    client: Source,
    now: datetime,
    accept: bool = False,
    file_name: str | None = None,
) -> IngestReport:
    """Fetch, parse, check and store one series in one transaction; `now` is when its candles become known.

    `file_name` names a file that holds a part of the series, such as CDD's yearly ones; without it the file is that of
    the whole series. An unchanged file writes nothing. Raises Held for a file that lacks or moves too much of what is
    stored, or of which too much is no candles (`accept` takes it all the same), and the source's errors as they are;
    both are recorded for a series that is stored.
    """
    name = SeriesName.parse(series)
    whole = f"{series}.csv"
    with reading(engine) as conn:
        known = series in series_names(conn)
        last = downloads.last_download(conn, series=series, file_name=file_name or whole) if known else None
    fetched: Fetched | None = None
    try:
        # A file that is held, or taken against the rules, is looked at again even when it has not changed.
        taken = last if last is not None and last.outcome == "stored" and not accept else None
        fetched = _fetch(client, name, taken, now, file_name or whole)
        if fetched is None:
            note_age(engine, series=series, now=now)
            return IngestReport(series, "unchanged")
        with writing(engine) as conn:
            return _store(conn, name, fetched, now, accept=accept, is_part=file_name not in (None, whole))
    except (Held, CddNotFound, CddUnavailable, CddRefused, CddFormatChanged) as error:
        if known:
            _record_failure(engine, series, client, fetched, now, error)
        raise
    finally:
        if fetched is not None:
            fetched.close()


def _fetch(
    client: Source, name: SeriesName, taken: LastDownload | None, now: datetime, file_name: str
) -> Fetched | None:
    """Return the file of a series, None where it is unchanged since `taken`.

    A file as new as its download does not show that its newest candle had closed. When it is asked for again and has
    not changed, its age shows it: then it is returned once more.
    """
    if taken is None:
        return client.fetch(name, file_name=file_name)
    fetched = client.fetch(name, etag=taken.etag, last_modified=taken.last_modified, file_name=file_name)
    last_modified = http_date(taken.last_modified)
    was_too_new = last_modified is not None and taken.file_time is None and last_modified <= taken.fetched_at
    if fetched.body is None and was_too_new and _made_at(fetched, now, last_modified) is not None:
        fetched = client.fetch(name, file_name=file_name)
    if fetched.sha256 == taken.sha256 and not (was_too_new and _made_at(fetched, now) is not None):
        fetched.close()
    return None if fetched.body is None or fetched.body.closed else fetched


def _made_at(fetched: Fetched, now: datetime, otherwise: datetime | None = None) -> datetime | None:
    """Return when the file was made, as far as its Last-Modified (or else `otherwise`) is a witness of it."""
    return made_at(fetched.file_time or otherwise, answered_at=fetched.answered_at or now, now=now)


def _fetched_at(fetched: Fetched, now: datetime) -> datetime:
    """Return when the file was fetched: the later of the server's clock and ours, as one of them may be slow."""
    return max(fetched.answered_at or now, now)


def _learnt(conn: Connection, series: str, fetched: Fetched, now: datetime) -> Learnt | None:
    """Return what is known of the source's times of publication, which is heard only for a download with a `Date`."""
    if fetched.answered_at is None:
        return None
    after = read_final_after(conn, series=series)
    return None if after is None else Learnt(min(fetched.answered_at, now), after)


def _store(
    conn: Connection, name: SeriesName, fetched: Fetched, now: datetime, *, accept: bool, is_part: bool
) -> IngestReport:
    series = str(name)
    assert fetched.body is not None
    ensure_series(conn, name=name, now=now)
    newest = newest_fetch(conn, series=series)
    if newest is not None and now <= newest:
        # The clock went back: revisions stay in the order in which they came.
        now = newest + timedelta(microseconds=1)
    file = CddFile(
        fetched.body,
        name,
        _made_at(fetched, now),
        fetched.end_known,
        fetched_at=_fetched_at(fetched, now),
        learnt=None if accept else _learnt(conn, series, fetched, now),
    )
    download = downloads.insert_download(
        conn,
        series=series,
        url=fetched.url,
        fetched_at=now,
        etag=fetched.etag,
        last_modified=fetched.last_modified,
        sha256=fetched.sha256,
        bytes=fetched.size,
        http_status=fetched.http_status,
        outcome="stored",
    )
    counts = StoreCounts(stored_before=closed_count(conn, series=series))
    for chunk in file.chunks():
        store_candles(conn, series=series, chunk=chunk, fetched_at=now, download=download, counts=counts)
    if is_part:
        # A part is compared with the stored candles of its span only.
        counts.stored_before = closed_count(conn, series=series, span=counts.span, before_download=download)
        close_years(conn, series=series, span=counts.span, fetched_at=now)
    if not accept:
        given = f" --file {shlex.quote(fetched.url)}" if is_part and fetched.http_status is None else ""
        remedy = f"look at the file; to take it as it is: candlecast ingest {series}{given} --accept"
        hold_for_a_person(conn, file, download=download, counts=counts, remedy=remedy)
    aside = _rows_aside(file, counts)
    downloads.insert_quarantine(conn, series=series, download=download, rows=aside, seen_at=now)
    rows = {
        "rows_in": file.rows_in,
        "rows_new": counts.new,
        "rows_equal": counts.equal,
        "rows_revised": counts.revised,
        "rows_quarantined": len(aside),
    }
    downloads.complete_download(conn, download=download, file_time=file.file_time, rows=rows)
    seen = [
        *file_findings(file, counts),
        *check_candles(conn, series=series, interval=name.interval),
        *check_age(conn, series=series, interval=name.interval, now=now),
    ]
    kept = _of_other_files(conn, series, counts) if is_part else []
    codes = FILE_CODES | CANDLE_CODES | AGE_CODES
    record_findings(conn, series=series, codes=codes, seen=[*seen, *kept], now=now, download=download)
    return IngestReport(series, "stored", largest_revision=counts.largest_move, findings=len(seen), **rows)


def _rows_aside(file: CddFile, counts: StoreCounts) -> list[tuple[int, str, str]]:
    """Return the rows of a file that are not stored as candles: (line number, raw text, reason)."""
    texts = file.texts([line for line, _ in counts.refused]) if counts.refused else {}
    return [
        *((row.line_number, row.raw_text, row.reason) for row in file.set_aside),
        *((line, texts.get(line, ""), reason) for line, reason in counts.refused),
    ]


def _of_other_files(conn: Connection, series: str, counts: StoreCounts) -> list[Finding]:
    """Return the open findings about files that a file of another span says nothing about."""
    first, last = (from_unix(instant) for instant in counts.span)
    return [
        Finding(row.code, Severity(row.severity), row.message, row.remedy, row.count, row.first_time, row.last_time)
        for row in read_findings(conn, series=series)
        if row.code in FILE_CODES
        and (row.first_time is None or row.last_time is None or row.last_time < first or row.first_time > last)
    ]


def _record_failure(
    engine: Engine, series: str, client: Source, fetched: Fetched | None, now: datetime, error: StorageError
) -> None:
    values: dict[str, Any] = {"url": client.source, "outcome": _OUTCOMES.get(type(error), "held")}
    if fetched is not None:
        values |= {
            "url": fetched.url,
            "sha256": fetched.sha256,
            "bytes": fetched.size,
            "http_status": fetched.http_status,
            "file_time": fetched.file_time,
        }
    with writing(engine) as conn:
        downloads.insert_download(conn, series=series, fetched_at=now, reason=str(error), **values)
