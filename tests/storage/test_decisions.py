from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from storage import decisions, registry
from storage.errors import NotFound

CUTOFF = datetime(2020, 1, 1, tzinfo=UTC)
OTHER, HOURLY = "Kraken_ETHEUR_d", "Bitstamp_BTCUSD_1h"


def champion_of(store: Any) -> int | None:
    with store.engine.connect() as conn:
        champion = decisions.champion(conn, series=store.series)
        marked = [row.id for row in registry.list_versions(conn, series=store.series) if row.champion]
    assert marked == ([champion.model_version] if champion else [])
    return champion.model_version if champion else None


def roll_back(store: Any) -> int:
    with store.engine.begin() as conn:
        return decisions.rollback(conn, series=store.series, reason="worse live", decided_at=store.now)


def test_the_champion_is_the_newest_promoted_version(store: Any) -> None:
    one, two = store.add_version(seed=1), store.add_version(seed=2)
    assert champion_of(store) is None
    store.promote(one, outcome="kept")
    assert champion_of(store) is None
    store.promote(one)
    store.promote(two, outcome="kept")
    assert champion_of(store) == one
    store.promote(two)
    assert champion_of(store) == two


def test_rolling_back_goes_further_back_each_time(store: Any) -> None:
    one, two, three = (store.add_version(seed=n) for n in range(3))
    for version in (one, two, two, three):
        store.promote(version)
    assert roll_back(store) == two
    assert champion_of(store) == two
    assert roll_back(store) == one
    with pytest.raises(NotFound, match="no earlier champion"):
        roll_back(store)
    assert champion_of(store) == one
    store.promote(three)
    assert roll_back(store) == one


def test_a_version_can_be_promoted_by_hand(store: Any) -> None:
    one, two = store.add_version(seed=1), store.add_version(seed=2)
    store.promote(one)
    with store.engine.begin() as conn:
        assert decisions.promote(conn, version=two, reason="by hand", decided_at=store.now) == store.series
        with pytest.raises(NotFound, match="99"):
            decisions.promote(conn, version=99, reason="by hand", decided_at=store.now)
    assert champion_of(store) == two
    assert roll_back(store) == one


def test_each_series_has_its_own_champion(store: Any, engine: Engine) -> None:
    store.add_series("Kraken_ETHEUR_d")
    mine, theirs = store.add_version(), store.add_version(series="Kraken_ETHEUR_d")
    store.promote(mine)
    store.promote(theirs, series="Kraken_ETHEUR_d")
    assert champion_of(store) == mine
    with engine.connect() as conn:
        assert [row.id for row in registry.list_versions(conn) if row.champion] == [mine, theirs]
        assert [row.id for row in registry.list_versions(conn, series="Kraken_ETHEUR_d")] == [theirs]


def test_a_version_for_all_series_is_promoted_for_a_named_one_of_its_interval(store: Any, engine: Engine) -> None:
    for name in (OTHER, HOURLY):
        store.add_series(name)
    shared, own = store.add_version("lstm", cutoff=CUTOFF), store.add_version("naive", series=OTHER)
    with engine.begin() as conn:
        by_hand: dict[str, Any] = {"reason": "by hand", "decided_at": store.now}
        with pytest.raises(NotFound, match=r"serves every d series; name the one .* --series NAME"):
            decisions.promote(conn, version=shared, **by_hand)
        with pytest.raises(NotFound, match=f"is not for {HOURLY}"):
            decisions.promote(conn, version=shared, series=HOURLY, **by_hand)
        with pytest.raises(NotFound, match=f"is not for {store.series}"):
            decisions.promote(conn, version=own, series=store.series, **by_hand)
        assert decisions.promote(conn, version=shared, series=OTHER, **by_hand) == OTHER
        # Where one series is forecast, it need not be named.
        assert decisions.promote(conn, version=shared, **by_hand) == OTHER
        serving = decisions.champion(conn, series=OTHER)
        assert serving is not None
        assert serving.model_version == shared
        assert decisions.champion(conn, series=store.series) is None


def test_a_version_for_all_series_is_decided_about_for_each_series_alone(store: Any, engine: Engine) -> None:
    store.add_series(OTHER)
    shared = store.add_version("lstm", cutoff=CUTOFF)
    store.promote(shared, series=store.series)
    with engine.connect() as conn:
        assert decisions.is_decided(conn, series=store.series, version=shared)
        assert not decisions.is_decided(conn, series=OTHER, version=shared)
