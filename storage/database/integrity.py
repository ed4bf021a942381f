"""Checks that stored data is undamaged: the database's pages, and the weights against their hashes."""

from typing import NamedTuple

from sqlalchemy import Connection, select

from storage import artifacts
from storage.tables import model_versions

PROBLEMS_SHOWN = 3


def damaged_pages(conn: Connection) -> list[str]:
    """Return what SQLite finds wrong with its file, at most PROBLEMS_SHOWN sentences; it reads every page.

    PostgreSQL looks after its own pages, so nothing is found there. Raises DatabaseUnusable when SQLite
    cannot even look.
    """
    if conn.dialect.name != "sqlite":
        return []
    problems = [str(row[0]) for row in conn.exec_driver_sql(f"PRAGMA integrity_check({PROBLEMS_SHOWN})")]
    return [] if problems == ["ok"] else problems


class DamagedVersion(NamedTuple):
    """A model version whose weights are not those that were registered."""

    id: int
    model: str
    purpose: str


def damaged_weights(conn: Connection, *, series: str | None) -> list[DamagedVersion]:
    """Return the versions of `series` whose stored weights do not have the registered hash, oldest first.

    None asks for the versions that serve every series of an interval. No database notices a bit that flips inside a
    value; this check does. Pruned weights do not count as damage.
    """
    c = model_versions.c
    query = (
        select(c.id, c.model, c.purpose, c.weights, c.weights_sha256)
        .where(c.series.is_(None) if series is None else c.series == series, c.weights.is_not(None))
        .order_by(c.id)
    )
    # Row by row: all weights of a series together may be hundreds of megabytes.
    rows = conn.execute(query.execution_options(yield_per=10))
    return [DamagedVersion(*row[:3]) for row in rows if artifacts.sha256(row.weights) != row.weights_sha256]


def is_intact(conn: Connection, *, version: int) -> bool:
    """Return whether the weights of `version` are stored and those that were registered."""
    c = model_versions.c
    row = conn.execute(select(c.weights, c.weights_sha256).where(c.id == version)).one_or_none()
    return row is not None and row.weights is not None and artifacts.sha256(row.weights) == row.weights_sha256
