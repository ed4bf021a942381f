"""Scoring: compare forecasts whose candles have closed with the actual closes."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Engine

from models import metrics
from models.forecasts import MEDIAN
from storage.database.engine import reading, writing
from storage.scores import Matured, Score, insert_scores, unscored

BATCH = 10_000


def scored(rows: Sequence[Matured]) -> list[Score]:
    """Return the scores of matured steps; CRPS and PIT are on log prices, which is on log returns."""
    actual = np.array([row.actual for row in rows])
    quantiles = np.array([row.values for row in rows])
    crps = metrics.crps(np.log(actual), np.log(quantiles))
    pit = metrics.pit(np.log(actual), np.log(quantiles))
    covered = metrics.covered(actual, quantiles)
    error = np.abs(actual - quantiles[:, MEDIAN])
    return [
        Score(
            forecast=row.forecast,
            step=row.step,
            truth_fetched_at=row.truth_fetched_at,
            actual=row.actual,
            absolute_error=float(error[i]),
            crps=float(crps[i]),
            covered50=bool(covered["coverage50"][i]),
            covered80=bool(covered["coverage80"][i]),
            covered95=bool(covered["coverage95"][i]),
            pit=float(pit[i]),
        )
        for i, row in enumerate(rows)
    ]


def score_matured(engine: Engine, *, series: str, now: datetime) -> int:
    """Score every step whose candle has closed and whose actual close is not scored yet; returns how many."""
    stored = 0
    while True:
        with reading(engine) as conn:
            rows = unscored(conn, series=series, limit=BATCH)
        if not rows:
            return stored
        # Another process may score the same steps meanwhile: what is there already is skipped, and not counted.
        scores = scored(rows)
        with writing(engine) as conn:
            stored += insert_scores(conn, rows=scores, scored_at=now)
