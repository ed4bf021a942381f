"""One version for every series of an interval: it is trained once, forecasts each of them, and replays for each."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from markets import NOW, backfill_alone, ingest
from sqlalchemy import Engine, text
from synthetic import close_times, random_walk

import tasks.steps.backfill
import tasks.steps.replay
import tasks.steps.train
from models.catalog import forecaster, scope
from models.interface import Forecaster, Progress, TrainedModel, TrainRequest, silent
from models.lstm.forecaster import Lstm, LstmConfig
from models.schedule import Mode, Schedule
from storage import decisions
from storage.database.engine import reading, writing
from tasks.steps.backfill import BackfillJob, plan_backfill
from tasks.steps.replay import replay
from tasks.steps.train import plan_trainings, trained_models

BTC, ETH, YOUNG = "Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d", "Bitstamp_SOLUSD_d"
WALK = random_walk(560, seed=1)
CLOSES: list[datetime] = close_times(WALK)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Let `lstm` train one small network in one epoch; the cutoffs of all trainings."""
    cutoffs: list[datetime] = []

    class Small(Lstm):
        def train(self, requests: Sequence[TrainRequest], progress: Progress = silent) -> list[TrainedModel]:
            cutoffs.extend(request.cutoff for request in requests)
            return super().train(requests, progress)

    def small(name: str) -> Forecaster:
        return Small(LstmConfig(members=1, epochs=1)) if name == "lstm" else forecaster(name)

    for module in (tasks.steps.train, tasks.steps.backfill, tasks.steps.replay):
        monkeypatch.setattr(module, "forecaster", small)
    return cutoffs


@pytest.fixture
def three_markets(engine: Engine, tmp_path: Path) -> None:
    ingest(engine, tmp_path, BTC, WALK)
    ingest(engine, tmp_path, ETH, random_walk(560, seed=2))
    ingest(engine, tmp_path, YOUNG, random_walk(560, seed=3).iloc[-80:])


def backfill(engine: Engine, series: str, first: int, last: int) -> int:
    return backfill_alone(engine, BackfillJob(series, ("lstm",), CLOSES[first], CLOSES[last], NOW)).stored


@pytest.mark.usefixtures("three_markets")
def test_a_backfill_of_several_series_trains_each_quarter_once_and_every_forecast_replays(
    engine: Engine, trainings: list[datetime]
) -> None:
    assert backfill(engine, BTC, 460, 550) == 91
    quarters = list(trainings)
    assert len(quarters) == len(set(quarters)) == 2
    plan = plan_backfill(engine, BackfillJob(ETH, ("lstm",), CLOSES[460], CLOSES[550], NOW))
    assert [(part.quarter, part.trained) for part in plan] == [(quarter, True) for quarter in quarters]
    assert backfill(engine, ETH, 460, 558) == 99
    # It has 60 candles from the 540th day on.
    assert backfill(engine, YOUNG, 460, 558) == 20
    assert trainings == quarters
    query = text(
        "SELECT m.cutoff, m.series, m.learnt_from, count(DISTINCT f.series), min(f.id) FROM forecasts f "
        "JOIN model_versions m ON m.id = f.model_version GROUP BY m.id, m.cutoff, m.series, m.learnt_from ORDER BY 1"
    )
    with engine.connect() as conn:
        rows = conn.execute(query).all()
        last = conn.execute(text("SELECT series, max(id) FROM forecasts GROUP BY series")).all()
    assert [row[1:4] for row in rows] == [(None, f'["{BTC}", "{ETH}"]', 3)] * 2
    assert {series for series, _ in last} == {BTC, ETH, YOUNG}
    assert all(replay(engine, forecast=number).exact for _, number in last)


@pytest.mark.usefixtures("three_markets", "trainings")
def test_one_drifting_series_makes_a_training_from_scratch_due_for_all(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    weekly, names = Schedule("lstm", 91, 7), [BTC, ETH, YOUNG]

    def plan() -> list[tuple[Mode, tuple[str, ...]]]:
        plans = plan_trainings(engine, series=names, mode=Mode.AUTO, schedule=weekly)
        return [(due.mode, due.judged) for due in plans]

    assert plan() == [(Mode.SCRATCH, tuple(names))]
    cutoff = CLOSES[-3]
    versions = trained_models(
        engine, scope=scope("lstm", BTC), model="lstm", cutoffs=[cutoff], purpose="live", seed=0, now=NOW
    )
    version, _ = versions[cutoff]
    with writing(engine) as conn:
        for name in names[:2]:
            decisions.decide(
                conn, series=name, version=version, outcome="promoted", reason="test", evidence={}, decided_at=NOW
            )
    # The third series is new: the version is judged for it, and nothing is trained.
    assert plan() == [(Mode.SCRATCH, (YOUNG,))]
    monkeypatch.setattr(tasks.steps.train, "is_drifting", lambda _engine, *, series, since: series == ETH)
    assert plan() == [(Mode.SCRATCH, tuple(names))]


@pytest.mark.usefixtures("three_markets", "trainings")
def test_a_rollback_of_one_series_leaves_the_champions_of_the_others(engine: Engine) -> None:
    cutoffs = [CLOSES[500], CLOSES[530]]
    versions = trained_models(
        engine, scope=scope("lstm", BTC), model="lstm", cutoffs=cutoffs, purpose="live", seed=0, now=NOW
    )
    with writing(engine) as conn:
        for day, cutoff in enumerate(cutoffs):
            for name in (BTC, ETH):
                decisions.promote(
                    conn, version=versions[cutoff][0], series=name, reason="test", decided_at=NOW + timedelta(days=day)
                )
        decisions.rollback(conn, series=BTC, reason="test", decided_at=NOW + timedelta(days=2))
    with reading(engine) as conn:
        champions = [decisions.champion(conn, series=name) for name in (BTC, ETH)]
    assert [one.model_version for one in champions if one is not None] == [versions[cutoff][0] for cutoff in cutoffs]
