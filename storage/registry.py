"""The model registry: the trained versions of the models, with their lineage and their weights."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, update

from models.candles import SeriesName
from models.catalog import Scope
from storage import artifacts
from storage.database.inserting import insert_or_skip
from storage.errors import NotFound
from storage.tables import model_versions, promotions


class VersionRow(NamedTuple):
    """A registered version without its weights; `series` is None where it serves every series of `interval`."""

    id: int
    series: str | None
    interval: str
    model: str
    purpose: str
    cutoff: datetime | None
    init_from: int | None
    seed: int
    data_fingerprint: str
    code_version: str
    device: str
    seconds: float
    created_at: datetime
    weights_sha256: str | None
    learnt_from: tuple[str, ...]
    """The series whose candles it learnt from; empty for a model that learns nothing."""
    champion: bool
    """Whether it serves: the series asked for, or any series where none was named."""


class StoredVersion(NamedTuple):
    """A registered version with all that a forecast needs; `weights` is None for a model that has no weights."""

    id: int
    series: str | None
    interval: str
    model: str
    config: dict[str, Any]
    seed: int
    cutoff: datetime | None
    init_from: int | None
    data_fingerprint: str
    code_version: str
    device: str
    seconds: float
    weights: bytes | None
    weights_sha256: str | None


def register(
    conn: Connection,
    *,
    scope: Scope,
    model: str,
    config: Mapping[str, Any],
    seed: int,
    cutoff: datetime | None,
    data_fingerprint: str,
    device: str,
    seconds: float,
    purpose: str,
    code_version: str,
    created_at: datetime,
    weights: bytes | None,
    init_from: int | None = None,
    learnt_from: Sequence[str] = (),
) -> int:
    """Store a trained model and return its version, or the version that the same training has already.

    Trainings with the same scope, model, purpose, config, seed, cutoff and `init_from` are the same training: the
    second one returns the version of the first, and its own weights are not stored. `learnt_from` names the series
    that it learnt from.
    """
    text = json.dumps(config, sort_keys=True)
    config_sha256 = hashlib.sha256(text.encode()).hexdigest()
    row = {
        "series": scope.series,
        "interval": str(scope.interval),
        "learnt_from": json.dumps(list(learnt_from)),
        "model": model,
        "purpose": purpose,
        "config": text,
        "config_sha256": config_sha256,
        "seed": seed,
        "init_from": init_from,
        "cutoff": cutoff,
        "data_fingerprint": data_fingerprint,
        "code_version": code_version,
        "device": device,
        "seconds": seconds,
        "created_at": created_at,
        "weights": weights,
        "weights_sha256": artifacts.sha256(weights) if weights is not None else None,
    }
    insert_or_skip(conn, model_versions, [row])
    same_training = [_is(column, row[column.name]) for column in _TRAINING_KEY]
    version: int = conn.execute(select(model_versions.c.id).where(*same_training)).scalar_one()
    return version


_TRAINING_KEY = tuple(
    model_versions.c[name]
    for name in ("series", "interval", "model", "purpose", "config_sha256", "seed", "cutoff", "init_from")
)


def _is(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _of(scope: Scope) -> ColumnElement[bool]:
    c = model_versions.c
    return and_(_is(c.series, scope.series), c.interval == str(scope.interval))


def _serving(series: str) -> ColumnElement[bool]:
    """Return the condition that a version is of `series`, or of all series of its interval."""
    c = model_versions.c
    return or_(c.series == series, and_(c.series.is_(None), c.interval == str(SeriesName.parse(series).interval)))


def serves(conn: Connection, *, version: int, series: str, model: str) -> bool:
    """Return whether `version` is a version of `model` that may forecast `series`."""
    c = model_versions.c
    return conn.execute(select(c.id).where(c.id == version, c.model == model, _serving(series))).first() is not None


def find_version(
    conn: Connection,
    *,
    scope: Scope,
    model: str,
    purpose: str,
    cutoff: datetime | None,
    seed: int,
    init_from: int | None = None,
) -> int | None:
    """Return the newest version of such a training, None if there is none."""
    c = model_versions.c
    return conn.execute(
        select(func.max(c.id)).where(
            _of(scope),
            c.model == model,
            c.purpose == purpose,
            c.seed == seed,
            _is(c.cutoff, cutoff),
            _is(c.init_from, init_from),
        )
    ).scalar()


def newest_version(
    conn: Connection, *, scope: Scope, model: str, scratch_only: bool = False, by: datetime | None = None
) -> VersionRow | None:
    """Return the live version with the newest cutoff, at most `by`; with `scratch_only`, of those from scratch."""
    c = model_versions.c
    conditions = [_of(scope), c.model == model, c.purpose == "live"]
    if scratch_only:
        conditions.append(c.init_from.is_(None))
    if by is not None:
        conditions.append(or_(c.cutoff.is_(None), c.cutoff <= by))
    newest = conn.execute(
        _rows().where(*conditions).order_by(None).order_by(c.cutoff.is_(None), c.cutoff.desc(), c.id.desc()).limit(1)
    ).one_or_none()
    return None if newest is None else _version_row(newest, _champion_versions(conn, series=scope.series))


def load_version(conn: Connection, *, version: int) -> StoredVersion:
    """Return a version with its weights; raises NotFound if there is no such version or its weights were pruned.

    The weights are the stored bytes: `storage.artifacts.unpack` checks them against `weights_sha256`.
    """
    c = model_versions.c
    row = conn.execute(
        select(
            c.id, c.series, c.interval, c.model, c.config, c.seed, c.cutoff, c.init_from, c.data_fingerprint,
            c.code_version, c.device, c.seconds, c.weights, c.weights_sha256,
        ).where(c.id == version)
    ).one_or_none()  # fmt: skip
    if row is None:
        raise NotFound(f"there is no model version {version}; see: candlecast models")
    stored = StoredVersion._make(row)
    if stored.weights is None and stored.weights_sha256 is not None:
        raise NotFound(f"the weights of model version {version} were deleted (CANDLECAST_KEEP_WEIGHTS); train it again")
    return stored._replace(config=json.loads(row.config))


def list_versions(
    conn: Connection, *, series: str | None = None, after: int | None = None, limit: int | None = None
) -> list[VersionRow]:
    """Return the registered versions by number; those of `series` include the ones that serve all of its interval.

    `after` and `limit` select a page: at most `limit` versions that follow the number `after`.
    """
    query = _rows().limit(limit)
    if series is not None:
        query = query.where(_serving(series))
    if after is not None:
        query = query.where(model_versions.c.id > after)
    champions = _champion_versions(conn, series=series)
    return [_version_row(row, champions) for row in conn.execute(query)]


def _rows() -> Select[Any]:
    c = model_versions.c
    return select(
        c.id, c.series, c.interval, c.model, c.purpose, c.cutoff, c.init_from, c.seed, c.data_fingerprint,
        c.code_version, c.device, c.seconds, c.created_at, c.weights_sha256, c.learnt_from,
    ).order_by(c.id)  # fmt: skip


def _version_row(row: Row[Any], champions: set[int]) -> VersionRow:
    values = dict(row._mapping)
    return VersionRow(
        **values | {"learnt_from": tuple(json.loads(values["learnt_from"]))}, champion=row.id in champions
    )


def weights_hashes(conn: Connection, *, versions: Sequence[int]) -> dict[int, str | None]:
    """Return the sha256 of the weights of each of `versions`, None for one without weights."""
    c = model_versions.c
    return dict(conn.execute(select(c.id, c.weights_sha256).where(c.id.in_(versions))).tuples().all())


def _champion_versions(conn: Connection, *, series: str | None) -> set[int]:
    newest = select(func.max(promotions.c.id)).where(promotions.c.outcome != "kept").group_by(promotions.c.series)
    if series is not None:
        newest = newest.where(promotions.c.series == series)
    return set(conn.execute(select(promotions.c.model_version).where(promotions.c.id.in_(newest))).scalars())


def prune_weights(conn: Connection, *, scope: Scope, model: str, keep: int) -> int:
    """Delete the weights of old live versions of `model` and return how many; the rows of lineage stay.

    These versions keep their weights: the newest `keep`, each version that is or was champion of any series, the
    versions that all these were fine-tuned from, and every version that replays a past quarter.
    """
    c = model_versions.c
    of_scope = (_of(scope), c.model == model, c.purpose == "live")
    live = list(conn.execute(select(c.id).where(*of_scope).order_by(c.id.desc())).scalars())
    served = set(
        conn.execute(
            select(promotions.c.model_version).where(
                promotions.c.outcome != "kept", promotions.c.model_version.in_(select(c.id).where(*of_scope))
            )
        ).scalars()
    )
    needed = set(live[:keep]) | served
    starts = conn.execute(select(c.init_from).where(c.id.in_(needed), c.init_from.is_not(None))).scalars()
    old = set(live) - needed - set(starts)
    if not old:
        return 0
    deletion = update(model_versions).where(c.id.in_(old), c.weights.is_not(None)).values(weights=None)
    return conn.execute(deletion).rowcount


def training_seconds(conn: Connection, *, model: str) -> float | None:
    """Return the median seconds of the newest 100 trainings of `model`, of any series; None if there are none."""
    c = model_versions.c
    newest = select(c.seconds).where(c.model == model).order_by(c.id.desc()).limit(100)
    seconds = conn.execute(newest).scalars().all()
    return median(seconds) if seconds else None
