"""Who serves: judge challengers on their stored walk-forward scores, and let the baseline serve until one passes."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Engine

from models.forecasts import ScoreKind
from models.gate import Decision, WalkForward, judge
from storage import registry
from storage.database.engine import reading, writing
from storage.scores import OriginScore, read_origin_scores
from tasks.steps.train import baseline_version


def gate(
    engine: Engine, *, series: str, version: int, model: str, baseline: str, start: datetime, now: datetime
) -> Decision:
    """Judge challenger `version` on its family's backfilled scores since `start` and record the decision."""
    kind = ScoreKind.BACKFILL
    with writing(engine) as conn:
        serving = registry.champion(conn, series=series)
        names = {model, baseline} | ({serving.model} if serving else set())
        scores = {name: read_origin_scores(conn, series=series, model=name, kind=kind, start=start) for name in names}
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
    with reading(engine) as conn:
        serving = registry.champion(conn, series=series)
    if serving is not None:
        return serving.model_version
    version = baseline_version(engine, series=series, model=baseline, now=now)
    with writing(engine) as conn:
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
