"""Which trainings are due, the markets that are fetched for them, and whether these are enough to learn from."""

from collections.abc import Sequence
from datetime import datetime

from prefect import get_run_logger
from sqlalchemy import Engine

from flows.settings import Settings
from flows.sources import cdd_client
from models.candles import SeriesName
from models.schedule import Mode
from tasks.policies import fetch_markets_task
from tasks.steps.elsewhere import InThisProcess
from tasks.steps.train import Due, plan_trainings
from tasks.steps.young import note_untrained


def trainings_due(engine: Engine, settings: Settings, *, series: Sequence[str], mode: Mode, now: datetime) -> list[Due]:
    """Return the trainings that are due for `series` and have enough to learn from."""
    due = plan_trainings(engine, series=series, mode=mode, schedule=settings.schedule)
    if not due:
        get_run_logger().info("no training is due")
        return []
    return _with_enough_to_learn_from(engine, due, settings, now=now)


def _with_enough_to_learn_from(engine: Engine, due: Sequence[Due], settings: Settings, *, now: datetime) -> list[Due]:
    """Fetch the markets of the setting `learn_from`, and return the trainings that have enough to learn from.

    A training is due once a week, so these markets are fetched as often. Nothing here fails a run: a market that cannot
    be fetched is learnt from as it is stored, and a training that lacks candles is due again tomorrow.
    """
    log = get_run_logger()
    intervals = {one.interval for one in due if one.series is None}
    names = [
        name
        for name in settings.learn_from
        if SeriesName.parse(name).interval in intervals and name not in (*settings.series, *settings.learn_except)
    ]
    if names:
        # One try: a training does not wait for further markets.
        client = cdd_client(settings, tries=1)
        fetched = fetch_markets_task(InThisProcess(engine), names=names, client=client, now=now)
        if fetched.stored:
            log.info("fetched %d more series to learn from", len(fetched.stored))
        if fetched.lacking and "://" in settings.source:
            log.warning("%s has no %s to learn from", client.source, ", ".join(fetched.lacking))
        for failure in fetched.failures:
            log.warning("not fetched to learn from: %s", failure)
    enough = []
    for one in due:
        untrained = note_untrained(engine, one, model=settings.model, leave_out=settings.learn_except, now=now)
        if untrained is None:
            enough.append(one)
        else:
            log.info("%s", untrained.message)
    return enough
