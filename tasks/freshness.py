"""How old is the data? Stale data is a finding and an event, whether or not the source answered."""

from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from models.candles import Finding, SeriesName
from storage.findings import read_findings, record_findings
from storage.health import check_age
from tasks.events import STALE, tell


def note_age(engine: Engine, *, series: str, now: datetime) -> Finding | None:
    """Return the finding when the newest closed candle is too old; recorded once, so as a rule this writes nothing."""
    with engine.connect() as conn:
        seen = check_age(conn, series=series, interval=SeriesName.parse(series).interval, now=now)
        noted = any(finding.code == "stale" for finding in read_findings(conn, series=series))
    if bool(seen) != noted:
        with engine.begin() as conn:
            record_findings(conn, series=series, seen=seen, now=now, codes={"stale"})
    return seen[0] if seen else None


@task(name="freshness", task_run_name="freshness-{series}", cache_policy=NO_CACHE)
def freshness_task(engine: Engine, *, series: str, now: datetime) -> Finding | None:
    """Note how old the data is and tell Prefect when it is stale."""
    stale = note_age(engine, series=series, now=now)
    if stale is not None:
        tell(STALE, series=series, message=f"{series}: {stale.message}")
    return stale
