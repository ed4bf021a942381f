"""After each day: is the data stale, has the champion drifted?"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from models.candles import Finding
from models.drift import Drift
from storage.database.engine import reading
from storage.findings import FindingRow, read_findings
from tasks.steps.drift import check_drift
from tasks.steps.freshness import note_age


class Watched(NamedTuple):
    """What a look at one series found; None where all is well."""

    stale: Finding | None
    drift: Drift | None


def watch(engine: Engine, *, series: str, now: datetime) -> Watched:
    """Record as findings how old the data is and whether the champion drifts, and return both."""
    return Watched(note_age(engine, series=series, now=now), check_drift(engine, series=series, now=now))


def open_findings(engine: Engine, *, series: str) -> list[FindingRow]:
    """Return the open findings of `series`."""
    with reading(engine) as conn:
        return read_findings(conn, series=series)
