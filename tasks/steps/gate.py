"""Who serves: judge challengers, watch the champion, and let the baseline serve until a challenger passes."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, Engine

from models.candles import Finding, Interval, SeriesName, Severity
from models.forecasts import BASELINE, Kind, ScoreKind
from models.gate import Decision, Verdict, WalkForward, judge, relapse, watch
from storage import decisions
from storage.database.engine import reading, writing
from storage.forecasts import read_values
from storage.query import ForecastFilter
from storage.scores import OriginScore, read_origin_scores
from tasks.steps.findings import record_changes
from tasks.steps.train import baseline_version

DEMOTED = "demoted"
_Key = tuple[datetime, int]


def gate(
    engine: Engine, *, series: str, version: int, model: str, baseline: str, start: datetime, now: datetime
) -> Decision:
    """Judge challenger `version` on its family's out-of-sample scores and record the decision.

    The scores begin at `start` when the family is judged for the first time, and at the same instant ever after: the
    evidence is valid however often it is looked at because its start does not move.
    """
    while True:
        with reading(engine) as conn:
            serving, since = _judged_against(conn, series=series, model=model)
            names = {model, baseline} | ({serving.model} if serving else set())
            walks = _walks(conn, series=series, models=names, start=since or start)
            demotions = decisions.demotions(conn, series=series, model=model)
        incumbent = walks[serving.model] if serving and serving.model not in (model, baseline) else None
        renews = serving is not None and serving.model == model
        decision = judge(walks[model], walks[baseline], incumbent, renews=renews)
        if decision.promote and not renews and demotions:
            complaint = _relapse(walks[model], walks[baseline], demotions, series=series, version=version)
            decision = replace(decision, promote=False, reason=complaint) if complaint else decision
        with writing(engine) as conn:
            # Nobody waits for the write lock while scores are read and judged. Judge again if meanwhile a person made
            # another version champion.
            if _judged_against(conn, series=series, model=model) != (serving, since):
                continue
            decisions.decide(
                conn,
                series=series,
                version=version,
                outcome="promoted" if decision.promote else "kept",
                reason=decision.reason,
                evidence={**decision.evidence, "start": (since or start).isoformat()},
                decided_at=now,
            )
        return decision


def _judged_against(conn: Connection, *, series: str, model: str) -> tuple[decisions.Champion | None, datetime | None]:
    """Return the champion that a version of `model` has to beat, and since when there is evidence about `model`."""
    champion = decisions.champion(conn, series=series)
    return champion, decisions.evidence_start(conn, series=series, model=model)


def _relapse(
    challenger: WalkForward, baseline: WalkForward, demotions: list[decisions.Demotion], *, series: str, version: int
) -> str | None:
    """Return why a model that was demoted does not serve again yet; None if it may."""
    last = demotions[-1]
    if version == last.model_version:
        return f"version {version} itself was demoted; a new training is judged, and candlecast promote brings it back"
    since = _slot(last.at, SeriesName.parse(series).interval)
    return relapse(challenger, baseline, since=since, times=len(demotions))


def watch_champion(engine: Engine, *, series: str, now: datetime) -> Verdict | None:
    """Demote the champion of `series` if it is worse than the baseline beyond chance; None where the baseline serves.

    Judged are its family's live and walk-forward scores since the gate's start or, if it was demoted before, since it
    serves again. The baseline serves from then on, and a finding says so until another champion does.
    """
    with reading(engine) as conn:
        serving = decisions.champion(conn, series=series)
        if serving is None or serving.model == BASELINE:
            return None
        again = decisions.serves_again_since(conn, series=series, model=serving.model)
        start = again or decisions.evidence_start(conn, series=series, model=serving.model)
        walks = _walks(conn, series=series, models=(serving.model, BASELINE), start=start)
    verdict = watch(walks[serving.model], walks[BASELINE], suspected=again is not None)
    if verdict.demote:
        version = baseline_version(engine, series=series, model=BASELINE, now=now)
        with writing(engine) as conn:
            if decisions.champion(conn, series=series) != serving:
                # A person made another version champion meanwhile; the next look judges that one.
                return None
            decisions.decide(
                conn,
                series=series,
                version=version,
                outcome="demoted",
                reason=f"{serving.model} version {serving.model_version} was demoted: {verdict.reason}",
                evidence=verdict.evidence,
                decided_at=now,
            )
    seen = [_finding(serving.model)] if verdict.demote else []
    record_changes(engine, series=series, codes={DEMOTED}, seen=seen, now=now)
    return verdict


def _finding(model: str) -> Finding:
    return Finding(
        DEMOTED,
        Severity.ERROR,
        f"{model} was demoted because it was worse than {BASELINE} beyond chance; {BASELINE} serves",
        "nothing: the next training is judged as usual. The page and /api/v1/decisions show why; candlecast rollback "
        "makes the demoted model serve again",
    )


def _walks(conn: Connection, *, series: str, models: Iterable[str], start: datetime | None) -> dict[str, WalkForward]:
    """Return each model's scores on the origins and steps that all models have.

    An origin's live scores count where all models have them, else its backfilled ones. Late ones never count. Which
    of them counts is known when the origin's forecasts are stored, so nothing is chosen by its outcome.
    """
    names = sorted(set(models))
    interval = SeriesName.parse(series).interval
    chosen: dict[_Key, tuple[dict[str, OriginScore], ScoreKind]] = {}
    quantiles: dict[tuple[str, ScoreKind, datetime], np.ndarray] = {}
    for kind, stored in ((ScoreKind.BACKFILL, Kind.BACKFILL), (ScoreKind.LIVE, Kind.LIVE)):
        scores = {
            name: {
                (row.origin, row.step): row
                for row in read_origin_scores(conn, ForecastFilter(series, model=name, kind=kind, start=start))
            }
            for name in names
        }
        shared = set.intersection(*(set(rows) for rows in scores.values()))
        if not shared:
            continue
        for name in names:
            values = read_values(conn, ForecastFilter(series, model=name, kind=stored, start=start))
            quantiles |= {(name, kind, origin): prices for origin, prices in values.items()}
        chosen |= {key: ({name: scores[name][key] for name in names}, kind) for key in shared}
    steps = sorted({step for _, step in chosen})
    keys = {step: sorted(key for key in chosen if key[1] == step) for step in steps}

    slots = {step: np.array([_slot(origin, interval) for origin, _ in keys[step]], dtype=np.int64) for step in steps}
    quarters = {
        step: np.array([origin.year * 4 + (origin.month - 1) // 3 for origin, _ in keys[step]]) for step in steps
    }

    def walk(name: str) -> WalkForward:
        rows = {step: [chosen[key][0][name] for key in keys[step]] for step in steps}
        return WalkForward(
            crps={step: np.array([row.crps for row in rows[step]]) for step in steps},
            covered80={step: np.array([row.covered80 for row in rows[step]]) for step in steps},
            covered95={step: np.array([row.covered95 for row in rows[step]]) for step in steps},
            pit={step: np.array([row.pit for row in rows[step]]) for step in steps},
            quantiles={
                step: np.log(np.array([quantiles[name, chosen[key][1], key[0]][step - 1] for key in keys[step]]))
                for step in steps
            },
            slots=slots,
            quarters=quarters,
        )

    return {name: walk(name) for name in names}


def _slot(instant: datetime, interval: Interval) -> int:
    """Return the number of candles of this interval between 1970 and `instant`."""
    return int(instant.timestamp() // interval.length.total_seconds())


def ensure_champion(engine: Engine, *, series: str, baseline: str, now: datetime) -> int:
    """Return the champion of `series`; without one the baseline becomes it, so that there is always a forecast."""
    with reading(engine) as conn:
        serving = decisions.champion(conn, series=series)
    if serving is not None:
        return serving.model_version
    version = baseline_version(engine, series=series, model=baseline, now=now)
    with writing(engine) as conn:
        decisions.decide(
            conn,
            series=series,
            version=version,
            outcome="promoted",
            reason=f"{baseline} serves until a challenger passes the gate",
            evidence={},
            decided_at=now,
        )
    return version
