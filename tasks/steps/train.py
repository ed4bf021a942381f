"""Training: decide what is due, train the missing models as one fleet, register them, and load them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from models.catalog import family, forecaster
from models.code_version import code_version
from models.errors import BadWeights, NotEnoughCandles
from models.forecasts import BASELINE
from models.history import CandleHistory
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.schedule import Mode, Schedule, due_mode
from storage import artifacts, registry
from storage.candles import latest_close_time, read_history
from storage.database.engine import reading, writing
from storage.database.integrity import is_intact
from tasks.steps.drift import is_drifting


@dataclass(frozen=True)
class Due:
    """A training that is due: how, up to when, and from which version's weights (None: from scratch)."""

    mode: Mode
    cutoff: datetime
    init_from: int | None


def plan_training(engine: Engine, *, series: str, mode: Mode, schedule: Schedule) -> Due | None:
    """Return the training that is due for `series`, or None; `mode` other than auto forces one.

    A fine-tuning without sound scratch weights to start from becomes a scratch training. A model that learns nothing
    is registered once, and the baseline is no challenger: it serves until one passes the gate.
    """
    model = schedule.model
    if model == BASELINE:
        return None
    with reading(engine) as conn:
        latest = latest_close_time(conn, series=series)
        if latest is None:
            return None
        scratch = registry.newest_version(conn, series=series, model=model, scratch_only=True)
        newest = registry.newest_version(conn, series=series, model=model)
        unjudged = newest is not None and not registry.is_decided(conn, version=newest.id)
    if not family(model).learns:
        due = newest is None or unjudged or mode is not Mode.AUTO
        return Due(Mode.SCRATCH, latest, None) if due else None
    chosen = mode
    if mode is Mode.AUTO:
        due_by_age = due_mode(
            latest_close=latest,
            scratch_cutoff=scratch.cutoff if scratch else None,
            newest_cutoff=newest.cutoff if newest else None,
            scratch_days=schedule.scratch_days,
            fine_tune_days=schedule.fine_tune_days,
            drifted=is_drifting(engine, series=series, since=scratch.created_at if scratch else None),
        )
        if due_by_age is None and newest is not None and newest.cutoff is not None and unjudged:
            # It was registered by a training that was killed before the gate had decided: that is still to be done.
            how = Mode.SCRATCH if newest.init_from is None else Mode.FINE_TUNE
            return Due(how, newest.cutoff, newest.init_from)
        if due_by_age is None:
            return None
        chosen = due_by_age
    fine_tunes = chosen is Mode.FINE_TUNE and scratch is not None
    if fine_tunes and scratch is not None:
        # Damaged weights would fail every fine-tuning until a training from scratch is due, months later.
        with reading(engine) as conn:
            fine_tunes = is_intact(conn, version=scratch.id)
    return Due(
        Mode.FINE_TUNE if fine_tunes else Mode.SCRATCH,
        latest,
        scratch.id if fine_tunes and scratch is not None else None,
    )


def trained_models(
    engine: Engine,
    *,
    series: str,
    model: str,
    cutoffs: Sequence[datetime],
    purpose: str,
    seed: int,
    now: datetime,
    pool: Sequence[str] = (),
    init_from: int | None = None,
    history: CandleHistory | None = None,
    progress: Progress = silent,
) -> dict[datetime, tuple[int, TrainedModel]]:
    """Return version id and model for each cutoff; the models that are not registered yet are trained as one fleet.

    `pool` names other series to learn from; those that are not stored are left out. `history` holds the candles of
    `series`, if the caller has read them.

    If another process registers a model meanwhile, its model is used instead of ours, so two trainings of one cutoff
    leave one version. Raises NotEnoughCandles or TrainingFailed from the model.
    """
    learns = family(model).learns
    wanted: list[datetime | None] = list(cutoffs) if learns else [None]
    with reading(engine) as conn:
        versions = {
            cutoff: registry.find_version(
                conn, series=series, model=model, purpose=purpose, cutoff=cutoff, seed=seed, init_from=init_from
            )
            for cutoff in wanted
        }
        start = load_trained(conn, version=init_from) if init_from is not None else None
        missing = [cutoff for cutoff, version in versions.items() if version is None]
        # Candles are read only when something is trained.
        histories = (
            {
                name: history if name == series and history else read_history(conn, series=name)
                for name in ((series, *pool) if learns else (series,))
            }
            if missing
            else {}
        )
    # A backfilled model learns from candles as they were known at its cutoff.
    requests = []
    for cutoff in missing:
        known_at = cutoff if purpose == "backfill" else None
        known = {name: history.known_at(known_at) for name, history in histories.items()}
        requests.append(
            TrainRequest(
                known[series],
                cutoff or now,
                seed=seed,
                pool={name: frame for name, frame in known.items() if name != series and len(frame)},
                init_from=start,
            )
        )
    fitted = forecaster(model).train(requests, progress) if requests else []
    registered = _register(engine, fitted, series=series, purpose=purpose, now=now, init_from=init_from)
    with reading(engine) as conn:
        for cutoff, version in versions.items():
            if version is not None:
                registered[cutoff] = version, load_trained(conn, version=version)
    return {cutoff: registered[cutoff if learns else None] for cutoff in cutoffs}


def _register(
    engine: Engine,
    fitted: Sequence[TrainedModel],
    *,
    series: str,
    purpose: str,
    now: datetime,
    init_from: int | None,
) -> dict[datetime | None, tuple[int, TrainedModel]]:
    """Register models that were trained together; returns version id and model by cutoff, as they are stored.

    They are registered in one transaction: models that a killed training had left behind would be missing from the
    next fleet, and the last bit of its other models could differ from an undisturbed training's.
    """
    if not fitted:
        return {}
    packed = [artifacts.pack(trained.weights) if trained.weights else None for trained in fitted]
    with writing(engine) as conn:
        versions = [
            registry.register(
                conn,
                series=series,
                model=trained.model,
                config=trained.config,
                seed=trained.seed,
                cutoff=trained.cutoff,
                data_fingerprint=trained.data_fingerprint,
                device=trained.device,
                seconds=trained.seconds,
                purpose=purpose,
                code_version=code_version(trained.model),
                created_at=now,
                weights=weights,
                init_from=init_from,
            )
            for trained, weights in zip(fitted, packed, strict=True)
        ]
        stored = {row.id: row.weights_sha256 for row in registry.list_versions(conn, series=series)}
        registered: dict[datetime | None, tuple[int, TrainedModel]] = {}
        for trained, weights, version in zip(fitted, packed, versions, strict=True):
            # Another process may have registered this training first, with other weights.
            ours = stored[version] == (artifacts.sha256(weights) if weights is not None else None)
            registered[trained.cutoff] = version, trained if ours else load_trained(conn, version=version)
    return registered


def newest_origin(engine: Engine, *, series: str) -> datetime:
    """Return the origin of a live forecast: when the newest closed candle closed.

    Raises NotEnoughCandles for a series without a closed candle. It may not be stored at all, because its source has
    never answered.
    """
    with reading(engine) as conn:
        latest = latest_close_time(conn, series=series)
    if latest is None:
        raise NotEnoughCandles(f"{series} has no closed candle yet to forecast from")
    return latest


def baseline_version(engine: Engine, *, series: str, model: str, now: datetime) -> int:
    """Return the live version of a model that learns nothing, registering it the first time.

    Raises NotEnoughCandles as `newest_origin` does.
    """
    newest_origin(engine, series=series)
    return trained_models(engine, series=series, model=model, cutoffs=[now], purpose="live", seed=0, now=now)[now][0]


def load_trained(conn: Connection, *, version: int) -> TrainedModel:
    """Return a registered model with its weights, checked against their hash (BadWeights when they differ)."""
    stored = registry.load_version(conn, version=version)
    try:
        weights = artifacts.unpack(stored.weights, stored.weights_sha256) if stored.weights else {}
    except BadWeights as error:
        raise BadWeights(f"version {version} ({stored.model} of {stored.series}): {error}") from None
    return TrainedModel(
        model=stored.model,
        config=stored.config,
        cutoff=stored.cutoff,
        seed=stored.seed,
        data_fingerprint=stored.data_fingerprint,
        weights=weights,
        device=stored.device,
        seconds=stored.seconds,
    )
