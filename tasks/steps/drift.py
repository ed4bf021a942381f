"""The daily check for drift. A drift is a finding, an event in Prefect and a reason to train from scratch."""

from datetime import datetime

import numpy as np
from sqlalchemy import Engine

from models.candles import Finding, Severity
from models.drift import Drift, find_drift
from models.forecasts import BASELINE, ScoreKind
from storage import decisions
from storage.database.engine import reading
from storage.query import ForecastFilter
from storage.scores import read_origin_scores
from tasks.steps.findings import open_findings, record_changes

CODE = "drift"


def check_drift(engine: Engine, *, series: str, now: datetime) -> Drift | None:
    """Check the champion's live one-step scores for drift, record it as a finding, and return it.

    Late scores do not count: those forecasts were stored after their candles had closed. The baseline is not checked,
    because it would be compared with itself. A finding is closed when a later check, perhaps of a newly trained
    champion, finds no drift.
    """
    with reading(engine) as conn:
        serving = decisions.champion(conn, series=series)
        drift = None
        if serving is not None and serving.model != BASELINE:
            ours, naive = (
                {
                    score.origin: score
                    for score in read_origin_scores(conn, ForecastFilter(series, model=model, kind=ScoreKind.LIVE))
                    if score.step == 1
                }
                for model in (serving.model, BASELINE)
            )
            shared = sorted(ours.keys() & naive.keys())
            drift = find_drift(
                np.array([ours[origin].crps for origin in shared]),
                np.array([naive[origin].crps for origin in shared]),
                np.array([ours[origin].pit for origin in shared]),
            )
    record_changes(engine, series=series, codes={CODE}, seen=_findings(drift), now=now)
    return drift


def is_drifting(engine: Engine, *, series: str, since: datetime | None) -> bool:
    """Return whether an open drift finding is newer than `since`, the last training from scratch."""
    open_now = open_findings(engine, series=series, codes={CODE})
    return any(since is None or finding.found_at > since for finding in open_now)


def _findings(drift: Drift | None) -> list[Finding]:
    if drift is None:
        return []
    return [
        Finding(
            CODE,
            Severity.ERROR,
            # Without the day's figures, so that a drift that lasts is one finding.
            "the bands or scores of the champion's live forecasts are worse than chance can explain",
            "nothing: the next training is from scratch. candlecast skill shows the scores; candlecast rollback makes "
            "the previous champion serve again",
        )
    ]
