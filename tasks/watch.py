"""After each day: is the data stale, has the champion drifted? Prefect is told, whose automations tell people."""

from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from tasks.drift import check_drift
from tasks.events import DRIFT, STALE, tell
from tasks.freshness import note_age


@task(name="watch", task_run_name="watch-{series}", cache_policy=NO_CACHE)
def watch_task(engine: Engine, *, series: str, now: datetime) -> list[str]:
    """Note how old the data is and whether the champion drifts, tell Prefect, and return what is wrong, in words."""
    troubles = []
    stale = note_age(engine, series=series, now=now)
    if stale is not None:
        troubles.append(stale.message)
        tell(STALE, series=series, message=f"{series}: {stale.message}")
    drift = check_drift(engine, series=series, now=now)
    if drift is not None:
        said = f"the champion has drifted: {drift.what} (p = {drift.p_value:.2g})"
        troubles.append(said)
        tell(DRIFT, series=series, message=f"{series}: {said}", p_value=drift.p_value)
    return troubles
