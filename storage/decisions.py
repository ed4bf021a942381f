"""The decisions about the champion of each series: which version serves, since when and why. None is ever changed."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select

from models.candles import SeriesName
from storage.errors import NotFound
from storage.registry import load_version, serves
from storage.tables import model_versions, promotions
from storage.tables import series as stored_series


class DecisionRow(NamedTuple):
    """A decision about a version: its outcome (promoted, kept, rolled_back or demoted), when and why."""

    id: int
    series: str
    decided_at: datetime
    outcome: str
    model_version: int
    model: str
    previous: int | None
    reason: str


class Champion(NamedTuple):
    """The version that serves a series, and since when."""

    model_version: int
    model: str
    since: datetime
    cutoff: datetime | None


class Demotion(NamedTuple):
    """A decision that demoted a version, by its id, and when it was made."""

    decision: int
    model_version: int
    at: datetime


def list_decisions(
    conn: Connection, *, series: str | None = None, after: int | None = None, limit: int | None = None
) -> list[DecisionRow]:
    """Return the decisions about champions, oldest first.

    `after` and `limit` select a page: at most `limit` decisions that follow the number `after`.
    """
    c = promotions.c
    query = (
        select(c.id, c.series, c.decided_at, c.outcome, c.model_version, model_versions.c.model, c.previous, c.reason)
        .join(model_versions, model_versions.c.id == c.model_version)
        .order_by(c.id)
        .limit(limit)
    )
    if series is not None:
        query = query.where(c.series == series)
    if after is not None:
        query = query.where(c.id > after)
    return [DecisionRow(*row) for row in conn.execute(query)]


def champion(conn: Connection, *, series: str) -> Champion | None:
    """Return the champion of `series`, None before the first promotion."""
    return champions(conn, series=[series]).get(series)


def champions(conn: Connection, *, series: Collection[str]) -> dict[str, Champion]:
    """Return the champion of each of `series` by name; a series without a promotion is left out."""
    p, m, other = promotions.c, model_versions.c, promotions.alias("other")
    newest = (
        select(func.max(other.c.id))
        .where(other.c.series == stored_series.c.name, other.c.outcome != "kept")
        .scalar_subquery()
    )
    query = (
        select(p.series, p.model_version, m.model, p.decided_at, m.cutoff)
        .select_from(stored_series)
        .join(promotions, p.id == newest)
        .join(model_versions, m.id == p.model_version)
        .where(stored_series.c.name.in_(series))
    )
    return {name: Champion(*row) for name, *row in conn.execute(query)}


def decide(
    conn: Connection,
    *,
    series: str,
    version: int,
    outcome: str,
    reason: str,
    evidence: Mapping[str, Any],
    decided_at: datetime,
) -> None:
    """Record a decision about `version`: promoted, kept, rolled_back or demoted.

    A demotion's `version` is the baseline, which serves from then on; the demoted version is stored as `previous`.
    """
    previous = champion(conn, series=series)
    conn.execute(
        insert(promotions).values(
            series=series,
            model_version=version,
            decided_at=decided_at,
            outcome=outcome,
            reason=reason,
            evidence=json.dumps(evidence, sort_keys=True),
            previous=previous.model_version if previous else None,
        )
    )


def evidence_start(conn: Connection, *, series: str, model: str) -> datetime | None:
    """Return since when the gate has collected evidence about `model`, None before its first decision.

    It must not move: evidence stays valid at every look only if its start was fixed beforehand.
    """
    rows = conn.execute(
        select(promotions.c.evidence)
        .join(model_versions, model_versions.c.id == promotions.c.model_version)
        .where(promotions.c.series == series, model_versions.c.model == model)
        .order_by(promotions.c.id)
    ).scalars()
    starts = (json.loads(row).get("start") for row in rows)
    first = next((start for start in starts if start is not None), None)
    return None if first is None else datetime.fromisoformat(first)


def demotions(conn: Connection, *, series: str, model: str) -> list[Demotion]:
    """Return the demotions of `model`'s versions, oldest first."""
    rows = conn.execute(
        select(promotions.c.id, promotions.c.previous, promotions.c.decided_at)
        .join(model_versions, model_versions.c.id == promotions.c.previous)
        .where(
            promotions.c.series == series,
            promotions.c.outcome == "demoted",
            model_versions.c.model == model,
        )
        .order_by(promotions.c.id)
    )
    return [Demotion(*row) for row in rows]


def serves_again_since(conn: Connection, *, series: str, model: str) -> datetime | None:
    """Return when `model` became champion again after its last demotion; None if it did not, or was never demoted."""
    demoted = demotions(conn, series=series, model=model)
    if not demoted:
        return None
    return conn.execute(
        select(func.min(promotions.c.decided_at))
        .join(model_versions, model_versions.c.id == promotions.c.model_version)
        .where(
            promotions.c.series == series,
            promotions.c.outcome != "kept",
            model_versions.c.model == model,
            promotions.c.id > demoted[-1].decision,
        )
    ).scalar()


def promote(conn: Connection, *, version: int, reason: str, decided_at: datetime, series: str | None = None) -> str:
    """Make `version` the champion of `series` by hand and return the series.

    `series` is needed for a version that serves several series. Raises NotFound without such a version, or where it
    does not serve `series`.
    """
    stored = load_version(conn, version=version)
    named = series or stored.series
    served = _forecast_series(conn, stored.interval) if named is None else [named]
    if len(served) != 1:
        raise NotFound(
            f"version {version} of {stored.model} serves every {stored.interval} series; name the one whose champion "
            f"it should become: candlecast promote {version} --series NAME"
        )
    (chosen,) = served
    if not serves(conn, version=version, series=chosen, model=stored.model):
        raise NotFound(f"version {version} of {stored.model} is not for {chosen}; see: candlecast models {chosen}")
    decide(
        conn,
        series=chosen,
        version=version,
        outcome="promoted",
        reason=reason,
        evidence={},
        decided_at=decided_at,
    )
    return chosen


def _forecast_series(conn: Connection, interval: str) -> list[str]:
    """Return the series of an interval that have a champion, which are those that are forecast."""
    names = conn.execute(select(promotions.c.series).distinct().order_by(promotions.c.series)).scalars()
    return [name for name in names if SeriesName.parse(name).interval.value == interval]


def rollback(conn: Connection, *, series: str, reason: str, decided_at: datetime) -> int:
    """Make the previous champion champion again and return its version; raises NotFound if there is none.

    A second rollback goes one champion further back: it skips the champion that the first one rolled back from.
    """
    rows = conn.execute(
        select(promotions.c.model_version, promotions.c.outcome)
        .where(promotions.c.series == series, promotions.c.outcome != "kept")
        .order_by(promotions.c.id)
    ).all()
    champions: list[int] = []
    for version, outcome in rows:
        if outcome == "rolled_back":
            champions.pop()
        elif not champions or champions[-1] != version:
            champions.append(version)
    if len(champions) < 2:
        raise NotFound(f"{series} has no earlier champion to go back to; see: candlecast models {series}")
    load_version(conn, version=champions[-2])
    decide(
        conn,
        series=series,
        version=champions[-2],
        outcome="rolled_back",
        reason=reason,
        evidence={},
        decided_at=decided_at,
    )
    return champions[-2]


def is_decided(conn: Connection, *, series: str, version: int) -> bool:
    """Return whether the gate or a person has ever decided about `version` as the champion of `series`."""
    c = promotions.c
    return conn.execute(select(c.id).where(c.series == series, c.model_version == version).limit(1)).first() is not None
