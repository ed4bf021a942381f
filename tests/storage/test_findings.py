from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from models.candles import Finding, Severity
from storage.findings import read_findings, record_findings

FIRST = datetime(2019, 3, 20, tzinfo=UTC)
GAP = Finding("gap", Severity.WARNING, "12 days are missing", "none", 12, FIRST, FIRST + timedelta(days=11))
STALE = Finding("stale", Severity.ERROR, "the newest candle is old", "wait")
CODES = ("gap", "stale")


def record(store: Any, *findings: Finding, codes: Collection[str] = CODES, days: int = 0) -> int:
    with store.engine.begin() as conn:
        return record_findings(
            conn, series=store.series, codes=codes, seen=findings, now=store.now + timedelta(days=days)
        )


def test_recording_an_open_finding_again_adds_nothing(store: Any, engine: Engine) -> None:
    assert record(store, GAP, STALE) == 2
    assert record(store, GAP, STALE, days=1) == 0
    assert record(store, GAP, GAP, STALE, days=2) == 0
    with engine.connect() as conn:
        rows = read_findings(conn, series=store.series)
    assert {(row.code, row.found_at) for row in rows} == {("gap", store.now), ("stale", store.now)}


def test_a_finding_that_is_no_longer_seen_is_resolved_and_kept(store: Any, engine: Engine) -> None:
    record(store, GAP, STALE)
    record(store, GAP, days=1)
    with engine.connect() as conn:
        assert [row.code for row in read_findings(conn)] == ["gap"]
        resolved = {row.code: row.resolved_at for row in read_findings(conn, resolved=True)}
    assert resolved == {"gap": None, "stale": store.now + timedelta(days=1)}


def test_a_finding_that_returns_is_a_new_finding(store: Any, engine: Engine) -> None:
    record(store, STALE)
    record(store, days=1)
    assert record(store, STALE, days=2) == 1
    with engine.connect() as conn:
        assert [row.found_at for row in read_findings(conn)] == [store.now + timedelta(days=2)]


def test_a_gap_elsewhere_is_another_finding(store: Any, engine: Engine) -> None:
    later = replace(GAP, first_time=FIRST + timedelta(days=60), last_time=FIRST + timedelta(days=71))
    assert record(store, GAP, later) == 2
    with engine.connect() as conn:
        assert [row.first_time for row in read_findings(conn)] == [GAP.first_time, later.first_time]


def test_a_check_leaves_the_findings_of_other_checks_open(store: Any, engine: Engine) -> None:
    record(store, GAP, STALE)
    assert record(store, codes={"stale"}, days=1) == 0
    with engine.connect() as conn:
        assert [(row.code, row.found_at) for row in read_findings(conn)] == [("gap", store.now)]


def test_a_check_cannot_record_a_finding_that_it_does_not_look_for(store: Any, engine: Engine) -> None:
    with pytest.raises(ValueError, match="look for stale, not for gap"):
        record(store, GAP, codes={"stale"})


def test_a_check_of_one_series_leaves_the_findings_of_others_open(store: Any, engine: Engine) -> None:
    store.add_series("Kraken_ETHEUR_d")
    record(store, GAP)
    with engine.begin() as conn:
        record_findings(conn, series="Kraken_ETHEUR_d", codes=CODES, seen=[], now=store.now)
        assert [row.code for row in read_findings(conn)] == ["gap"]
        assert read_findings(conn, series="Kraken_ETHEUR_d") == []
