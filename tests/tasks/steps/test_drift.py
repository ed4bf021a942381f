"""Drift in stored live scores becomes a finding and makes a training from scratch due."""

from datetime import timedelta
from pathlib import Path

from markets import NOW, ingest, store_live_days
from sqlalchemy import Engine
from synthetic import random_walk

from models.catalog import scope
from models.schedule import Mode, Schedule
from storage.decisions import decide
from storage.findings import FindingRow, read_findings
from tasks.steps.drift import check_drift
from tasks.steps.train import plan_trainings, trained_models

SERIES = "Bitstamp_BTCUSD_d"


def drift_findings(engine: Engine, *, resolved: bool = False) -> list[FindingRow]:
    with engine.connect() as conn:
        rows = read_findings(conn, series=SERIES, resolved=resolved)
    return [finding for finding in rows if finding.code == "drift"]


def test_a_calibrated_champion_has_no_drift(engine: Engine, tmp_path: Path) -> None:
    store_live_days(engine, tmp_path / "source", wild=False)
    assert check_drift(engine, series=SERIES, now=NOW) is None
    assert drift_findings(engine) == []


def test_a_drift_stays_one_finding_during_later_ingests_and_makes_a_training_from_scratch_due(
    engine: Engine, tmp_path: Path
) -> None:
    store_live_days(engine, tmp_path / "source", wild=True)
    cutoff = random_walk(480, seed=2)["close_time"].iloc[470].to_pydatetime()
    versions = trained_models(
        engine, scope=scope("lstm", SERIES), model="lstm", cutoffs=[cutoff], purpose="live", seed=0, now=NOW
    )
    with engine.begin() as conn:
        decide(
            conn, series=SERIES, version=versions[cutoff][0], outcome="kept", reason="x", evidence={}, decided_at=NOW
        )

    def due() -> Mode | None:
        plan = plan_trainings(engine, series=[SERIES], mode=Mode.AUTO, schedule=Schedule("lstm", 91, 7))
        return plan[0].mode if plan else None

    assert due() is Mode.FINE_TUNE
    for day in (1, 2):
        drift = check_drift(engine, series=SERIES, now=NOW + timedelta(days=day))
        assert drift is not None
        assert "80 % band" in drift.what
        report = ingest(
            engine,
            tmp_path / "source",
            SERIES,
            random_walk(480 - day, seed=2),
            now=NOW + timedelta(days=day, hours=1),
            accept=False,
        )
        assert report.outcome == "stored"
        (finding,) = drift_findings(engine, resolved=True)
        assert (finding.found_at, finding.resolved_at) == (NOW + timedelta(days=1), None)
    assert due() is Mode.SCRATCH
