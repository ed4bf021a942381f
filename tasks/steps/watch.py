"""After each day: is the data stale, has the champion drifted or become worse than naive, is a band odd?"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from models.candles import Finding
from models.drift import Drift
from models.gate import Verdict
from tasks.steps.drift import check_drift
from tasks.steps.freshness import note_age
from tasks.steps.gate import watch_champion
from tasks.steps.odd import check_bands


class Watched(NamedTuple):
    """What a look at one series found; None or empty where all is well."""

    stale: Finding | None
    drift: Drift | None
    odd: list[Finding]
    demoted: Verdict | None


def watch(engine: Engine, *, series: str, now: datetime) -> Watched:
    """Record as findings what is wrong with the data, the champion and the newest bands, and return it.

    A champion that is worse than the baseline beyond chance is demoted here, after its drift was noted.
    """
    stale = note_age(engine, series=series, now=now)
    drift = check_drift(engine, series=series, now=now)
    odd = check_bands(engine, series=series, now=now)
    verdict = watch_champion(engine, series=series, now=now)
    return Watched(stale, drift, odd, verdict if verdict is not None and verdict.demote else None)
