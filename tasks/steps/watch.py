"""After each day: is the data stale, has the champion drifted?"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from models.candles import Finding
from models.drift import Drift
from tasks.steps.drift import check_drift
from tasks.steps.freshness import note_age


class Watched(NamedTuple):
    """What a look at one series found; None where all is well."""

    stale: Finding | None
    drift: Drift | None


def watch(engine: Engine, *, series: str, now: datetime) -> Watched:
    """Record as findings how old the data is and whether the champion drifts, and return both."""
    return Watched(note_age(engine, series=series, now=now), check_drift(engine, series=series, now=now))
