"""Findings: what is odd about the data. A finding is open while its check sees it, and closed afterwards."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection, insert, select, tuple_, update

from models.candles import Finding
from storage.tables import findings


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A stored finding."""

    id: int
    series: str
    severity: str
    code: str
    count: int
    first_time: datetime | None
    last_time: datetime | None
    message: str
    remedy: str
    found_at: datetime
    resolved_at: datetime | None


def identity(finding: Finding | FindingRow) -> tuple[str, str, datetime | None, datetime | None]:
    """Return what makes two findings of one series the same."""
    return finding.code, finding.message, finding.first_time, finding.last_time


def record_findings(
    conn: Connection,
    *,
    series: str,
    codes: Collection[str],
    seen: Sequence[Finding],
    now: datetime,
    download: int | None = None,
) -> int:
    """Store the result of checks that look for `codes` in the whole series; returns how many findings are new.

    A finding that is open already is left as it is. An open one of `codes` that is no longer seen is marked resolved;
    those of other codes belong to other checks and stay as they are. Raises ValueError for a finding of another code.
    """
    foreign = {finding.code for finding in seen} - set(codes)
    if foreign:
        raise ValueError(f"the checks look for {', '.join(sorted(codes))}, not for {', '.join(sorted(foreign))}")
    open_rows = {identity(row): row.id for row in read_findings(conn, series=series) if row.code in codes}
    by_identity = {identity(finding): finding for finding in seen}
    gone = [number for key, number in open_rows.items() if key not in by_identity]
    if gone:
        conn.execute(update(findings).where(findings.c.id.in_(gone)).values(resolved_at=now))
    new = [finding for key, finding in by_identity.items() if key not in open_rows]
    if new:
        conn.execute(
            insert(findings),
            [
                {
                    "series": series,
                    "found_at": now,
                    "code": finding.code,
                    "severity": finding.severity.value,
                    "message": finding.message,
                    "remedy": finding.remedy,
                    "count": finding.count,
                    "first_time": finding.first_time,
                    "last_time": finding.last_time,
                    "download": download,
                }
                for finding in new
            ],
        )
    return len(new)


def read_findings(
    conn: Connection,
    *,
    series: str | None = None,
    resolved: bool = False,
    after: tuple[str, int] | None = None,
    limit: int | None = None,
) -> list[FindingRow]:
    """Return open findings, with `resolved` also those no longer seen, by series and in the order they were found.

    `after` and `limit` ask for a page: at most `limit` findings after this series and number.
    """
    c = findings.c
    query = select(*(c[field.name] for field in fields(FindingRow))).order_by(c.series, c.id).limit(limit)
    if after is not None:
        query = query.where(tuple_(c.series, c.id) > after)
    if series is not None:
        query = query.where(c.series == series)
    if not resolved:
        query = query.where(c.resolved_at.is_(None))
    return [FindingRow(*row) for row in conn.execute(query)]


def open_findings(conn: Connection) -> dict[str, list[FindingRow]]:
    """Return the open findings of each series by name, in the order they were found; a series without is left out."""
    return {name: list(rows) for name, rows in groupby(read_findings(conn), key=attrgetter("series"))}
