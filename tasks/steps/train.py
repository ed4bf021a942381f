"""Training: decide what is due, train the missing models as one fleet, register them, and load them again."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from models.candles import Interval
from models.catalog import Scope, family, forecaster, scope
from models.code_version import code_version
from models.errors import BadWeights, NotEnoughCandles
from models.forecasts import BASELINE
from models.history import CandleHistory
from models.interface import Progress, TrainedModel, TrainRequest, silent
from models.schedule import Mode, Schedule, due_mode
from storage import artifacts, decisions, registry
from storage.candles import latest_close_time, read_history
from storage.database.engine import reading, writing
from storage.database.integrity import is_intact
from storage.database.locks import locked
from storage.series import names_of_interval
from tasks.steps.drift import is_drifting


@dataclass(frozen=True)
class Due:
    """A training that is due: how, up to when, from which version's weights (None: from scratch), and for whom.

    `judged` are the series whose champion the new version may become. `series` is the one that the version is of, None
    where it serves every series of `interval`.
    """

    mode: Mode
    cutoff: datetime
    init_from: int | None
    interval: Interval
    series: str | None
    judged: tuple[str, ...]

    @property
    def scope(self) -> Scope:
        """Which series the version serves."""
        return Scope(self.interval, self.series)


def plan_trainings(engine: Engine, *, series: Sequence[str], mode: Mode, schedule: Schedule) -> list[Due]:
    """Return the trainings that are due for `series`: one for each that has versions of its own, else one an interval.

    `mode` other than auto forces them. A fine-tuning without sound scratch weights to start from becomes a scratch
    training. A model that learns nothing is registered once, and the baseline is no challenger: it serves until one
    passes the gate.
    """
    if schedule.model == BASELINE:
        return []
    groups: dict[Scope, list[str]] = {}
    for name in dict.fromkeys(series):
        groups.setdefault(scope(schedule.model, name), []).append(name)
    plans = (_plan(engine, who, names, mode=mode, schedule=schedule) for who, names in groups.items())
    return [due for due in plans if due is not None]


def _plan(engine: Engine, who: Scope, names: Sequence[str], *, mode: Mode, schedule: Schedule) -> Due | None:
    model = schedule.model
    with reading(engine) as conn:
        closes = {name: close for name in names if (close := latest_close_time(conn, series=name)) is not None}
        if not closes:
            return None
        scratch = registry.newest_version(conn, scope=who, model=model, scratch_only=True)
        newest = registry.newest_version(conn, scope=who, model=model)
        unjudged = tuple(
            name
            for name in closes
            if newest is not None and not decisions.is_decided(conn, series=name, version=newest.id)
        )
    latest, everyone = max(closes.values()), tuple(closes)

    def due(how: Mode, cutoff: datetime, init_from: int | None, judged: tuple[str, ...]) -> Due:
        return Due(how, cutoff, init_from, who.interval, who.series, judged)

    if not family(model).learns:
        wanted = newest is None or unjudged or mode is not Mode.AUTO
        return due(Mode.SCRATCH, latest, None, everyone) if wanted else None
    chosen = mode
    if mode is Mode.AUTO:
        since = scratch.created_at if scratch else None
        due_by_age = due_mode(
            latest_close=latest,
            scratch_cutoff=scratch.cutoff if scratch else None,
            newest_cutoff=newest.cutoff if newest else None,
            scratch_days=schedule.scratch_days,
            fine_tune_days=schedule.fine_tune_days,
            drifted=any(is_drifting(engine, series=name, since=since) for name in closes),
        )
        if due_by_age is None and newest is not None and newest.cutoff is not None and unjudged:
            # These series are new, or a training that was killed had not judged its version for them yet.
            how = Mode.SCRATCH if newest.init_from is None else Mode.FINE_TUNE
            return due(how, newest.cutoff, newest.init_from, unjudged)
        if due_by_age is None:
            return None
        chosen = due_by_age
    fine_tunes = chosen is Mode.FINE_TUNE and scratch is not None
    if fine_tunes and scratch is not None:
        # Damaged weights would fail every fine-tuning until a training from scratch is due, months later.
        with reading(engine) as conn:
            fine_tunes = is_intact(conn, version=scratch.id)
    init_from = scratch.id if fine_tunes and scratch is not None else None
    return due(Mode.FINE_TUNE if fine_tunes else Mode.SCRATCH, latest, init_from, everyone)


def learns_from(conn: Connection, who: Scope, leave_out: Sequence[str]) -> list[str]:
    """Return the series that a version of `who` may learn from: its own, or all stored ones of the interval."""
    if who.series:
        return [who.series]
    return [name for name in names_of_interval(conn, interval=who.interval) if name not in leave_out]


def trained_models(
    engine: Engine,
    *,
    scope: Scope,
    model: str,
    cutoffs: Sequence[datetime],
    purpose: str,
    seed: int,
    now: datetime,
    leave_out: Sequence[str] = (),
    init_from: int | None = None,
    histories: Mapping[str, CandleHistory] | None = None,
    progress: Progress = silent,
) -> dict[datetime, tuple[int, TrainedModel]]:
    """Return version id and model for each cutoff; the models that are not registered yet are trained as one fleet.

    A version of one series learns from its candles, one of an interval from every stored series of it except
    `leave_out`. `histories` holds those candles that the caller has read, by series.

    Two processes never train the same scope at once: the second waits, and finds the versions of the first. Raises
    NotEnoughCandles or TrainingFailed from the model.
    """
    learns = family(model).learns
    wanted: list[datetime | None] = list(cutoffs) if learns else [None]

    def find() -> dict[datetime | None, int | None]:
        with reading(engine) as conn:
            return {
                cutoff: registry.find_version(
                    conn, scope=scope, model=model, purpose=purpose, cutoff=cutoff, seed=seed, init_from=init_from
                )
                for cutoff in wanted
            }

    versions = find()
    registered: dict[datetime | None, tuple[int, TrainedModel]] = {}
    if None in versions.values():
        with locked(engine, f"train-{model}-{scope.series or scope.interval}") if learns else nullcontext():
            versions = find()
            missing = [cutoff for cutoff, version in versions.items() if version is None]
            requests = _requests(
                engine,
                scope,
                missing,
                purpose=purpose,
                seed=seed,
                now=now,
                leave_out=leave_out,
                init_from=init_from,
                histories=histories or {},
            )
            fitted = forecaster(model).train(requests, progress) if requests else []
            registered = _register(engine, fitted, scope=scope, purpose=purpose, now=now, init_from=init_from)
    with reading(engine) as conn:
        for cutoff, version in versions.items():
            if version is not None:
                registered[cutoff] = version, load_trained(conn, version=version)
    return {cutoff: registered[cutoff if learns else None] for cutoff in cutoffs}


def _requests(
    engine: Engine,
    scope: Scope,
    cutoffs: Sequence[datetime | None],
    *,
    purpose: str,
    seed: int,
    now: datetime,
    leave_out: Sequence[str],
    init_from: int | None,
    histories: Mapping[str, CandleHistory],
) -> list[TrainRequest]:
    """Return one request a cutoff; a backfilled model learns from the candles as they were known at its cutoff."""
    if not cutoffs:
        return []
    with reading(engine) as conn:
        start = load_trained(conn, version=init_from) if init_from is not None else None
        names = learns_from(conn, scope, leave_out)
        read = {name: histories.get(name) or read_history(conn, series=name) for name in names}
    requests = []
    for cutoff in cutoffs:
        known_at = cutoff if purpose == "backfill" else None
        frames = {name: history.known_at(known_at) for name, history in read.items()}
        requests.append(TrainRequest(frames, cutoff or now, seed=seed, init_from=start))
    return requests


def _register(
    engine: Engine,
    fitted: Sequence[TrainedModel],
    *,
    scope: Scope,
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
                scope=scope,
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
                learnt_from=_learnt_from(trained, scope),
            )
            for trained, weights in zip(fitted, packed, strict=True)
        ]
        stored = registry.weights_hashes(conn, versions=versions)
        registered: dict[datetime | None, tuple[int, TrainedModel]] = {}
        for trained, weights, version in zip(fitted, packed, versions, strict=True):
            # Another process may have registered this training first, with other weights.
            ours = stored[version] == (artifacts.sha256(weights) if weights is not None else None)
            registered[trained.cutoff] = version, trained if ours else load_trained(conn, version=version)
    return registered


def _learnt_from(trained: TrainedModel, scope: Scope) -> Sequence[str]:
    if trained.cutoff is None:
        return ()
    names: Sequence[str] = trained.config.get("learnt_from") or [str(scope.series)]
    return names


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
    who = scope(model, series)
    return trained_models(engine, scope=who, model=model, cutoffs=[now], purpose="live", seed=0, now=now)[now][0]


def load_trained(conn: Connection, *, version: int) -> TrainedModel:
    """Return a registered model with its weights, checked against their hash (BadWeights when they differ)."""
    stored = registry.load_version(conn, version=version)
    try:
        weights = artifacts.unpack(stored.weights, stored.weights_sha256) if stored.weights else {}
    except BadWeights as error:
        raise BadWeights(
            f"version {version} ({stored.model} of {stored.series or f'all {stored.interval} series'}): {error}"
        ) from None
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
