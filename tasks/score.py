"""Scoring: join matured forecasts to the candles that came, and judge challengers on those scores."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from models import metrics
from models.forecasts import Kind
from models.quantiles import MEDIAN
from models.selection import Decision, WalkForward, judge
from storage import registry
from storage.scores import Matured, OriginScore, Score, insert_scores, read_origin_scores, unscored
from tasks.train import baseline_version

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
    """Score every forecast step whose candle has closed and whose truth is not scored yet; returns how many."""
    stored = 0
    while True:
        with engine.begin() as conn:
            rows = unscored(conn, series=series, limit=BATCH)
            if not rows:
                return stored
            stored += insert_scores(conn, rows=scored(rows), scored_at=now)


def gate(
    engine: Engine, *, series: str, version: int, model: str, baseline: str, start: datetime, now: datetime
) -> Decision:
    """Judge challenger `version` on its family's backfilled scores since `start` and record the decision."""
    with engine.begin() as conn:
        serving = registry.champion(conn, series=series)
        names = {model, baseline} | ({serving.model} if serving else set())
        scores = {
            name: read_origin_scores(conn, series=series, model=name, kind=Kind.BACKFILL, start=start) for name in names
        }
        shared = set.intersection(*({(row.origin, row.step) for row in rows} for rows in scores.values()))
        walks = {
            name: _walk_forward([row for row in rows if (row.origin, row.step) in shared])
            for name, rows in scores.items()
        }
        incumbent = walks[serving.model] if serving and serving.model not in (model, baseline) else None
        renews = serving is not None and serving.model == model
        decision = judge(walks[model], walks[baseline], incumbent, renews=renews)
        registry.decide(
            conn,
            series=series,
            version=version,
            outcome="promoted" if decision.promote else "kept",
            reason=decision.reason,
            evidence=decision.evidence,
            decided_at=now,
        )
    return decision


def _walk_forward(rows: Sequence[OriginScore]) -> WalkForward:
    steps = sorted({row.step for row in rows})

    def by_step(field: str) -> Mapping[int, np.ndarray]:
        return {step: np.array([getattr(row, field) for row in rows if row.step == step]) for step in steps}

    return WalkForward(by_step("crps"), by_step("covered80"), by_step("covered95"))


def ensure_champion(engine: Engine, *, series: str, baseline: str, now: datetime) -> int:
    """Return the champion of `series`; without one the baseline becomes it, so that there is always a forecast."""
    with engine.connect() as conn:
        serving = registry.champion(conn, series=series)
    if serving is not None:
        return serving.model_version
    version = baseline_version(engine, series=series, model=baseline, now=now)
    with engine.begin() as conn:
        registry.decide(
            conn,
            series=series,
            version=version,
            outcome="promoted",
            reason=f"{baseline} serves until a challenger passes the gate",
            evidence={},
            decided_at=now,
        )
    return version


@task(name="score", task_run_name="score-{series}", cache_policy=NO_CACHE)
def score_task(engine: Engine, *, series: str, now: datetime) -> int:
    """Score what has matured."""
    return score_matured(engine, series=series, now=now)


@task(name="gate", task_run_name="gate-{series}", cache_policy=NO_CACHE)
def gate_task(
    engine: Engine, *, series: str, version: int, model: str, baseline: str, start: datetime, now: datetime
) -> Decision:
    """Judge a challenger and record the decision."""
    return gate(engine, series=series, version=version, model=model, baseline=baseline, start=start, now=now)
