"""The open findings of a series, and how the daily checks record theirs without a write where nothing has changed."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Engine

from models.candles import Finding
from storage.database.engine import reading, writing
from storage.findings import FindingRow, identity, read_findings, record_findings


def open_findings(engine: Engine, *, series: str, codes: Collection[str] | None = None) -> list[FindingRow]:
    """Return the open findings of `series`, all of them or those of `codes`."""
    with reading(engine) as conn:
        return [row for row in read_findings(conn, series=series) if codes is None or row.code in codes]


def record_changes(
    engine: Engine, *, series: str, codes: Collection[str], seen: Sequence[Finding], now: datetime
) -> None:
    """Record what a check that looks for `codes` has seen.

    If the same findings are open already, nothing is written, so nobody waits for the write lock.
    """
    already = {identity(row) for row in open_findings(engine, series=series, codes=codes)}
    if already != {identity(finding) for finding in seen}:
        with writing(engine) as conn:
            record_findings(conn, series=series, codes=codes, seen=seen, now=now)
