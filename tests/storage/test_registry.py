import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, update

from models.candles import Interval
from models.catalog import Scope
from models.errors import BadWeights
from storage import artifacts, registry
from storage.errors import NotFound
from storage.tables import model_versions

CUTOFF = datetime(2020, 1, 1, tzinfo=UTC)
DAILY = Scope(Interval.DAY)
OTHER, HOURLY = "Kraken_ETHEUR_d", "Bitstamp_BTCUSD_1h"


def test_a_version_is_read_with_its_weights_and_lineage(
    store: Any, engine: Engine, weights: dict[str, np.ndarray]
) -> None:
    first = store.add_version("lstm", cutoff=CUTOFF)
    data = artifacts.pack(weights)
    config = {"units": 32, "steps": [1, 2]}
    tuned = store.add_version("lstm", cutoff=CUTOFF, weights=data, init_from=first, seed=7, config=config)
    with engine.connect() as conn:
        stored = registry.load_version(conn, version=tuned)
    assert stored.config == config
    assert (stored.model, stored.cutoff, stored.seed, stored.init_from) == ("lstm", CUTOFF, 7, first)
    assert (stored.device, stored.seconds, stored.code_version) == ("cpu", 1.5, "0.1.0+abc")
    assert stored.weights is not None
    unpacked = artifacts.unpack(stored.weights, stored.weights_sha256)
    np.testing.assert_array_equal(unpacked["dense/kernel"], weights["dense/kernel"])


def test_registering_the_same_training_again_returns_the_first(store: Any, engine: Engine) -> None:
    trainings: list[dict[str, Any]] = [
        {},
        {"model": "lstm"},
        {"seed": 1},
        {"cutoff": CUTOFF},
        {"cutoff": CUTOFF + timedelta(days=1)},
        {"purpose": "backfill"},
        {"config": {"days": 30}},
        {"init_from": 1},
    ]
    versions = [store.add_version(**words) for words in trainings]
    assert len(set(versions)) == len(trainings)
    assert [store.add_version(**words) for words in trainings] == versions


def test_registering_the_same_training_again_keeps_the_first_weights(store: Any, engine: Engine) -> None:
    version = store.add_version(weights=b"first")
    assert store.add_version(weights=b"second") == version
    with engine.connect() as conn:
        assert registry.load_version(conn, version=version).weights == b"first"


def test_writers_that_register_the_same_training_at_once_get_one_version(store: Any) -> None:
    versions: list[int] = []
    barrier = threading.Barrier(4)

    def register() -> None:
        barrier.wait()
        versions.append(store.add_version("lstm", cutoff=CUTOFF))

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(versions) == 4
    assert len(set(versions)) == 1


def test_a_flipped_bit_in_stored_weights_is_found(store: Any, engine: Engine, weights: dict[str, np.ndarray]) -> None:
    data = bytearray(artifacts.pack(weights))
    version = store.add_version(weights=bytes(data))
    data[-3] ^= 4
    with engine.begin() as conn:
        conn.execute(update(model_versions).values(weights=bytes(data)))
        stored = registry.load_version(conn, version=version)
    assert stored.weights is not None
    with pytest.raises(BadWeights, match="damaged"):
        artifacts.unpack(stored.weights, stored.weights_sha256)


def test_the_error_for_a_missing_or_pruned_version_names_it(store: Any, engine: Engine) -> None:
    version = store.add_version(weights=b"x")
    with engine.begin() as conn:
        with pytest.raises(NotFound, match="no model version 99"):
            registry.load_version(conn, version=99)
        conn.execute(update(model_versions).values(weights=None))
        with pytest.raises(NotFound, match="were deleted"):
            registry.load_version(conn, version=version)


def test_a_version_is_found_by_the_key_of_its_training(store: Any, engine: Engine) -> None:
    plain = store.add_version()
    backfilled = store.add_version("lstm", cutoff=CUTOFF, purpose="backfill", seed=3)
    tuned = store.add_version("lstm", cutoff=CUTOFF, purpose="backfill", seed=3, init_from=backfilled)
    training: dict[str, Any] = {"scope": DAILY, "model": "lstm", "purpose": "backfill", "seed": 3}
    own = Scope(Interval.DAY, store.series)
    with engine.connect() as conn:
        find = registry.find_version
        assert find(conn, **training, cutoff=CUTOFF) == backfilled
        assert find(conn, **training, cutoff=CUTOFF, init_from=backfilled) == tuned
        assert find(conn, **training, cutoff=None) is None
        assert find(conn, **{**training, "seed": 4}, cutoff=CUTOFF) is None
        assert (
            find(conn, **{**training, "scope": own, "model": "naive", "purpose": "live", "seed": 0}, cutoff=None)
            == plain
        )


def test_the_newest_version_is_the_live_one_with_the_latest_cutoff(store: Any, engine: Engine) -> None:
    day = timedelta(days=1)
    newest = store.add_version("lstm", cutoff=CUTOFF + day)
    older = store.add_version("lstm", cutoff=CUTOFF)
    store.add_version("lstm", cutoff=CUTOFF + 9 * day, purpose="backfill")
    tuned = store.add_version("lstm", cutoff=CUTOFF + 2 * day, init_from=older)
    with engine.connect() as conn:
        newest_of_all = registry.newest_version(conn, scope=DAILY, model="lstm")
        from_scratch = registry.newest_version(conn, scope=DAILY, model="lstm", scratch_only=True)
        assert registry.newest_version(conn, scope=DAILY, model="blend") is None
        by = registry.newest_version(conn, scope=DAILY, model="lstm", by=CUTOFF + day)
        assert by is not None
        assert by.id == newest
        assert registry.newest_version(conn, scope=DAILY, model="lstm", by=CUTOFF - day) is None
        assert registry.newest_version(conn, scope=Scope(Interval.HOUR), model="lstm") is None
    assert newest_of_all is not None
    assert from_scratch is not None
    assert (newest_of_all.id, from_scratch.id) == (tuned, newest)


def test_a_version_for_all_series_is_listed_with_each_of_its_interval_and_champion_of_each_alone(
    store: Any, engine: Engine
) -> None:
    for name in (OTHER, HOURLY):
        store.add_series(name)
    shared = store.add_version("lstm", cutoff=CUTOFF, learnt_from=(OTHER, store.series))
    own = store.add_version("naive", series=OTHER)
    store.promote(shared, series=store.series)
    store.promote(own, series=OTHER)
    with engine.connect() as conn:
        rows = {name: registry.list_versions(conn, series=name) for name in (store.series, OTHER, HOURLY)}
        assert [(row.id, row.series, row.interval, row.champion) for row in rows[store.series]] == [
            (shared, None, "d", True)
        ]
        assert [(row.id, row.champion) for row in rows[OTHER]] == [(shared, False), (own, True)]
        assert rows[HOURLY] == []
        assert rows[OTHER][0].learnt_from == (OTHER, store.series)
        assert rows[OTHER][1].learnt_from == ()


def test_the_champion_of_any_series_keeps_its_weights(store: Any) -> None:
    store.add_series(OTHER)
    versions = [store.add_version("lstm", cutoff=CUTOFF + timedelta(days=day), weights=b"w") for day in range(4)]
    store.promote(versions[0], series=OTHER)
    with store.engine.begin() as conn:
        assert registry.prune_weights(conn, scope=DAILY, model="lstm", keep=1) == 2
        assert registry.load_version(conn, version=versions[0]).weights == b"w"


def test_pruning_deletes_old_weights_except_those_of_lineage_champions_and_backfills(store: Any) -> None:
    def version(day: int, **more: Any) -> int:
        number: int = store.add_version("lstm", cutoff=CUTOFF + timedelta(days=day), weights=b"w", **more)
        return number

    scratch = version(0)
    champion = version(1, init_from=scratch)
    store.promote(champion)
    replayed = version(2, purpose="backfill")
    plain = [version(day) for day in range(3, 8)]
    with store.engine.begin() as conn:
        assert registry.prune_weights(conn, scope=DAILY, model="lstm", keep=2) == 3
        assert registry.prune_weights(conn, scope=DAILY, model="lstm", keep=2) == 0
        assert len(registry.list_versions(conn)) == 8
        for with_weights in (scratch, champion, replayed, *plain[-2:]):
            assert registry.load_version(conn, version=with_weights).weights == b"w"
        with pytest.raises(NotFound, match="were deleted"):
            registry.load_version(conn, version=plain[0])
