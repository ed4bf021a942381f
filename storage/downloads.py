"""What was fetched, when, and what became of it; and the rows that were set aside."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from storage.tables import downloads, quarantine


class LastDownload(NamedTuple):
    """What the next conditional request and comparison need of the last file that was taken."""

    id: int
    outcome: str
    sha256: str | None
    etag: str | None
    last_modified: str | None
    file_time: datetime | None
    fetched_at: datetime


def last_download(conn: Connection, *, series: str) -> LastDownload | None:
    """Return the last file of `series` that was stored or held, None before the first."""
    c = downloads.c
    row = conn.execute(
        select(*(c[name] for name in LastDownload._fields))
        .where(c.series == series, c.outcome.in_(("stored", "held")))
        .order_by(c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else LastDownload(*row)


def insert_download(conn: Connection, *, series: str, **values: Any) -> int:  # noqa: ANN401 - columns of downloads
    """Store a row of `downloads` and return its number."""
    key = conn.execute(insert(downloads).values(series=series, **values)).inserted_primary_key
    assert key is not None
    number: int = key[0]
    return number


def complete_download(conn: Connection, *, download: int, file_time: datetime | None, rows: Mapping[str, int]) -> None:
    """Write what is known of a download once its rows are stored: the file's time and the row counts."""
    conn.execute(update(downloads).where(downloads.c.id == download).values(file_time=file_time, **rows))


def insert_quarantine(
    conn: Connection, *, series: str, download: int, rows: Iterable[tuple[int, str, str]], created_at: datetime
) -> int:
    """Store rows that are no candles as (line number, raw text, reason); returns how many."""
    values = [
        {
            "download": download,
            "series": series,
            "line_number": line,
            # PostgreSQL's text cannot hold a zero character.
            "raw_text": raw.replace("\0", "\ufffd"),
            "reason": reason,
            "created_at": created_at,
        }
        for line, raw, reason in rows
    ]
    if values:
        conn.execute(insert(quarantine), values)
    return len(values)
