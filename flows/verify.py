"""Replay some stored forecasts every night, to check that they can still be reproduced."""

import random

from prefect import flow, get_run_logger

from flows.settings import Settings
from storage.database.engine import disposing, open_for_reading, reading
from storage.forecasts import replayable
from tasks.policies import replay_task
from tasks.steps.replay import Replayed


class DoesNotReplay(RuntimeError):
    """A replay gave other numbers than the stored forecasts; the message names them."""


@flow(name="verify")
def verify(count: int = 10, seed: int | None = None) -> list[Replayed]:
    """Replay `count` stored forecasts chosen at random; raises DoesNotReplay, naming those that differ.

    With `seed` the same forecasts are chosen again; without it, others in every run.
    """
    log = get_run_logger()
    with disposing(open_for_reading(Settings().database_url)) as engine:
        with reading(engine) as conn:
            known = replayable(conn)
        chosen = random.Random(seed).sample(known, min(count, len(known)))  # noqa: S311 - a sample, no secret
        replays = [replay_task(engine, forecast=number) for number in chosen]
    log.info("%d of %d forecasts replay bit for bit", sum(one.exact for one in replays), len(replays))
    bad = [one for one in replays if not one.matches]
    if bad:
        raise DoesNotReplay(
            "; ".join(
                f"forecast {one.forecast}: {one.largest_difference:.2g} {'; '.join(one.differences)}" for one in bad
            )
        )
    return replays
