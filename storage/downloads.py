"""What was fetched, when, and what became of it; and the rows that were set aside."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from storage.tables import downloads, quarantine
from storage.tables import series as stored_series


class LastDownload(NamedTuple):
    """What the next conditional request and comparison need of the last file that was taken."""

    id: int
    outcome: str
    sha256: str | None
    etag: str | None
    last_modified: str | None
    file_time: datetime | None
    fetched_at: datetime


def last_download(conn: Connection, *, series: str, file_name: str) -> LastDownload | None:
    """Return the last file of this name that was stored or held for `series`, None before the first.

    A series may come in several files, one a year; an ETag is one file's.
    """
    c = downloads.c
    row = conn.execute(
        select(*(c[name] for name in LastDownload._fields))
        .where(c.series == series, c.outcome.in_(("stored", "held")))
        .where(or_(c.url == file_name, c.url.endswith(f"/{file_name}", autoescape=True)))
        .order_by(c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else LastDownload(*row)


def newest_outcomes(conn: Connection, *, series: Collection[str]) -> dict[str, str]:
    """Return what became of the newest fetch for each of `series` (stored, held, ...), by name.

    A series that was never fetched is left out.
    """
    c, other = downloads.c, downloads.alias("other")
    newest = select(func.max(other.c.id)).where(other.c.series == stored_series.c.name).scalar_subquery()
    query = select(c.series, c.outcome).select_from(stored_series).join(downloads, c.id == newest)
    return dict(conn.execute(query.where(stored_series.c.name.in_(series))).tuples().all())


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
    conn: Connection, *, series: str, download: int, rows: Iterable[tuple[int, str, str]], seen_at: datetime
) -> int:
    """Store rows that are no candles as (line number, raw text, reason); returns how many were given.

    A row that an earlier file, or another line, brought already is kept once, with the newest reason and both times.
    """
    values = {}
    count = 0
    for line, raw, reason in rows:
        count += 1
        # PostgreSQL's text cannot hold a zero character.
        text = raw.replace("\0", "\ufffd")
        values[text] = {
            "download": download,
            "series": series,
            "line_number": line,
            "raw_text": text,
            "reason": reason,
            "created_at": seen_at,
            "last_seen_at": seen_at,
        }
    if values:
        dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(quarantine)
        renewed = {name: statement.excluded[name] for name in ("download", "line_number", "reason", "last_seen_at")}
        statement = statement.on_conflict_do_update(index_elements=["series", "raw_text"], set_=renewed)
        conn.execute(statement, list(values.values()))
    return count
