"""Scores, the gate and the schedule of trainings, from candles in a database to the stored rows."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import scoringrules
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from markets import NOW, backfill_alone, ingest, ingest_walk
from sqlalchemy import Engine, select, text
from synthetic import close_times

from models.candles import SeriesName
from models.catalog import scope
from models.forecasts import QUANTILE_LEVELS, Forecast, Kind
from models.gate import Decision
from models.schedule import Mode, Schedule
from storage import decisions, registry
from storage.forecasts import insert_forecasts, read_origins
from storage.query import ForecastFilter
from storage.scores import Matured, Score, insert_scores
from storage.series import ensure_series
from storage.tables import promotions, scores
from tasks.steps.backfill import BackfillJob
from tasks.steps.gate import ensure_champion, gate
from tasks.steps.score import score_matured, scored
from tasks.steps.train import baseline_version, plan_trainings, trained_models

SERIES = "Bitstamp_BTCUSD_d"
DAY = timedelta(days=1)
CLOSED = datetime(2020, 1, 1, tzinfo=UTC)


def fill(engine: Engine, model: str, start: datetime, end: datetime) -> None:
    backfill_alone(engine, BackfillJob(SERIES, (model,), start, end, NOW))


def test_a_score_equals_the_formulas() -> None:
    values = tuple(100 * np.exp(0.02 * (level - 0.5)) for level in QUANTILE_LEVELS)
    (score,) = scored([Matured(1, 1, NOW, 100.9, values)])
    assert score.absolute_error == pytest.approx(0.9)
    y, q = np.log(100.9), np.log(values)
    levels = np.array(QUANTILE_LEVELS)
    edges = np.concatenate([[0], (levels[1:] + levels[:-1]) / 2, [1]])
    losses = [float(scoringrules.quantile_score(y, value, level)) for value, level in zip(q, levels, strict=True)]
    assert score.crps == pytest.approx(2 * float(np.sum(np.diff(edges) * losses)))
    assert (score.covered50, score.covered80, score.covered95) == (False, False, True)
    assert score.pit == pytest.approx(0.5 + np.log(1.009) / 0.02, abs=1e-6)
    (centre,) = scored([Matured(1, 1, NOW, 100.0, values)])
    assert (centre.covered50, centre.covered80, centre.covered95, centre.pit) == (True, True, True, 0.5)


def test_every_matured_step_is_scored_once_and_later_steps_when_they_mature(engine: Engine, tmp_path: Path) -> None:
    from synthetic import random_walk

    candles = random_walk(420, seed=1)
    ingest(engine, tmp_path, SERIES, candles.iloc[:400])
    closes = close_times(candles)
    fill(engine, "naive", closes[390], closes[399])
    expected = sum(min(7, 399 - row) for row in range(390, 400))
    assert score_matured(engine, series=SERIES, now=NOW) == expected
    assert score_matured(engine, series=SERIES, now=NOW) == 0
    ingest(engine, tmp_path, SERIES, candles, now=NOW + timedelta(days=20))
    assert score_matured(engine, series=SERIES, now=NOW + timedelta(days=20)) == 70 - expected


def test_scores_of_several_batches_are_all_stored(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.steps.score.BATCH", 5)
    candles = ingest_walk(engine, tmp_path, n=400)
    closes = close_times(candles)
    fill(engine, "naive", closes[390], closes[391])
    assert score_matured(engine, series=SERIES, now=NOW + DAY) == 14
    with engine.connect() as conn:
        assert conn.execute(select(scores.c.scored_at).distinct()).scalars().all() == [NOW + DAY]


def test_a_step_is_scored_again_when_its_candle_is_revised_and_the_first_score_stays(
    engine: Engine, tmp_path: Path
) -> None:
    candles = ingest_walk(engine, tmp_path, n=400)
    closes = close_times(candles)
    fill(engine, "naive", closes[390], closes[390])
    assert score_matured(engine, series=SERIES, now=NOW) == 7
    changed = candles.copy()
    changed.loc[392, "close"] *= 1.01
    changed.loc[392, "high"] *= 1.05
    ingest(engine, tmp_path, SERIES, changed, now=NOW + timedelta(days=1))
    assert score_matured(engine, series=SERIES, now=NOW + timedelta(days=1)) == 1
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM scores")).scalar_one() == 8
        assert conn.execute(text("SELECT count(*) FROM current_scores")).scalar_one() == 7
        newest = conn.execute(text("SELECT actual FROM current_scores WHERE step = 2")).scalar_one()
    assert newest == pytest.approx(changed["close"].iloc[392])


def test_without_a_champion_the_baseline_becomes_champion(engine: Engine, tmp_path: Path) -> None:
    ingest_walk(engine, tmp_path, n=400)
    version = ensure_champion(engine, series=SERIES, baseline="naive", now=NOW)
    assert ensure_champion(engine, series=SERIES, baseline="naive", now=NOW + DAY) == version
    with engine.connect() as conn:
        champion = decisions.champion(conn, series=SERIES)
        (decision,) = conn.execute(select(promotions)).all()
    assert champion is not None
    assert champion.model == "naive"
    assert champion.cutoff is None
    assert (decision.model_version, decision.outcome, decision.evidence) == (version, "promoted", "{}")
    assert (decision.reason, decision.decided_at) == ("naive serves until a challenger passes the gate", NOW)


def add_scored_version(
    engine: Engine, model: str, crps: Mapping[int, float], *, steps: int = 1, kind: Kind = Kind.BACKFILL, **hits: bool
) -> int:
    """Store a version of `model` with scores; return its number.

    `crps` are by day after CLOSED and the same for every step. By default the bands cover four of five and nineteen of
    twenty actual closes.
    """
    days = sorted(crps)
    values = np.array([[100.0 + level for level in QUANTILE_LEVELS]] * steps)
    with engine.begin() as conn:
        version = registry.register(
            conn, scope=scope(model, SERIES), model=model, config={}, seed=0, cutoff=None,
            data_fingerprint="f" * 64, device="cpu",
            seconds=0.0, purpose="live", code_version="test", created_at=NOW, weights=None,
        )  # fmt: skip
        insert_forecasts(
            conn,
            series=SERIES,
            model=model,
            model_version=version,
            kind=kind,
            forecasts=[Forecast(CLOSED + day * DAY, values, "f" * 64) for day in days],
            created_at=NOW,
        )
        forecasts = read_origins(conn, ForecastFilter(SERIES, model=model, kind=kind))
        scores = [
            Score(row.forecast_id, step, NOW, 100.0, 1.0, crps[day], False, day % 5 > 0, day % 20 > 0, 0.5)._replace(
                **hits
            )
            for day, row in zip(days, forecasts, strict=True)
            for step in range(1, steps + 1)
        ]
        insert_scores(conn, rows=scores, scored_at=NOW)
    return version


def losses(first: int, last: int, factor: float = 1.0) -> dict[int, float]:
    """Return losses by day: the same curve for all models, times `factor`, plus a little noise that `factor` seeds."""
    noise = np.random.default_rng(int(factor * 1000)).standard_normal(last)
    return {day: factor * (1 + 0.5 * np.sin(day)) + 0.001 * float(noise[day]) for day in range(first, last)}


def gate_decision(engine: Engine, version: int, model: str, *, start: datetime = CLOSED) -> Decision:
    return gate(engine, series=SERIES, version=version, model=model, baseline="naive", start=start, now=NOW)


def serve(engine: Engine, version: int) -> None:
    with engine.begin() as conn:
        decisions.promote(conn, version=version, series=SERIES, reason="test", decided_at=NOW - DAY)


@pytest.fixture
def market(engine: Engine) -> Engine:
    """A database that has the series and no candles of it."""
    with engine.begin() as conn:
        ensure_series(conn, name=SeriesName.parse(SERIES), now=NOW)
    return engine


def test_the_gate_compares_origins_and_steps_that_all_models_have(market: Engine) -> None:
    add_scored_version(market, "naive", losses(0, 90), steps=2)
    serve(market, add_scored_version(market, "lstm", losses(5, 100), steps=3))
    challenger = add_scored_version(market, "range-ewma", losses(10, 80, 0.9), steps=2)
    decision = gate_decision(market, challenger, "range-ewma")
    assert decision.promote
    assert decision.evidence["origins"] == 70
    assert {name for name in decision.evidence if "_vs_" in name} == {
        f"skill_vs_{name}_step{step}" for name in ("baseline", "incumbent") for step in (1, 2)
    }
    assert decision.evidence["skill_vs_incumbent_step2"] == pytest.approx(0.1, abs=0.001)
    assert decision.evidence["coverage80_step1"] == 0.8
    assert decision.evidence["coverage95_step2"] == round(67 / 70, 4)
    # The first decision fixed the start, because evidence is valid at any time only if its start does not move.
    assert gate_decision(market, challenger, "range-ewma", start=CLOSED + 13 * DAY).evidence["origins"] == 70


def test_the_gate_stores_its_decision(market: Engine) -> None:
    naive = add_scored_version(market, "naive", losses(0, 70))
    serve(market, naive)
    challenger = add_scored_version(market, "range-ewma", losses(0, 70, 1.1))
    decision = gate_decision(market, challenger, "range-ewma")
    assert not decision.promote
    with market.connect() as conn:
        rows = conn.execute(select(promotions).order_by(promotions.c.id)).all()
        assert decisions.champion(conn, series=SERIES).model_version == naive
    last = rows[-1]
    assert (last.series, last.model_version, last.outcome, last.reason) == (SERIES, challenger, "kept", decision.reason)
    assert (json.loads(last.evidence), last.decided_at, last.previous) == (
        {**decision.evidence, "start": CLOSED.isoformat()},
        NOW,
        naive,
    )
    # The baseline serves, so there is no other incumbent.
    assert not any("incumbent" in name for name in decision.evidence)


def test_a_new_version_of_the_champions_model_need_not_be_better(market: Engine) -> None:
    add_scored_version(market, "naive", losses(0, 70))
    lstm = add_scored_version(market, "lstm", losses(0, 70))
    assert "it is not better than the baseline" in gate_decision(market, lstm, "lstm").reason
    serve(market, lstm)
    renewed = gate_decision(market, lstm, "lstm")
    assert renewed.promote
    assert not any("incumbent" in name for name in renewed.evidence)


def test_late_scores_do_not_count(market: Engine) -> None:
    add_scored_version(market, "naive", losses(0, 70))
    challenger = add_scored_version(market, "lstm", losses(0, 70, 0.5), kind=Kind.LIVE)
    assert gate_decision(market, challenger, "lstm").evidence == {"origins": 0}


@pytest.mark.parametrize("band", ["80", "95"])
def test_the_gate_checks_both_bands(market: Engine, band: str) -> None:
    add_scored_version(market, "naive", losses(0, 70))
    challenger = add_scored_version(market, "lstm", losses(0, 70, 0.5), **{f"covered{band}": False})
    assert gate_decision(market, challenger, "lstm").reason == f"the {band} % band of step 1 covered 0%"


def test_a_challenger_with_too_few_scores_is_rejected(engine: Engine, tmp_path: Path) -> None:
    candles = ingest_walk(engine, tmp_path, n=450)
    closes = close_times(candles)
    ensure_champion(engine, series=SERIES, baseline="naive", now=NOW)
    version = baseline_version(engine, series=SERIES, model="range-ewma", now=NOW)
    fill(engine, "naive", closes[400], closes[449])
    fill(engine, "range-ewma", closes[400], closes[449])
    score_matured(engine, series=SERIES, now=NOW)
    decision = gate(
        engine, series=SERIES, version=version, model="range-ewma", baseline="naive", start=closes[400], now=NOW
    )
    assert not decision.promote
    assert "too few" in decision.reason
    with engine.connect() as conn:
        champion = decisions.champion(conn, series=SERIES)
    assert champion is not None
    assert champion.model == "naive"


def test_a_better_challenger_is_promoted_with_its_evidence(engine: Engine, tmp_path: Path) -> None:
    from synthetic import random_walk

    # The market's volatility changes slowly, so naive, which averages the past year, is a poor forecast.
    candles = random_walk(700, seed=1)
    swing = 1 + 0.9 * np.sin(2 * np.pi * np.arange(700) / 120)
    start = np.log(1000.0)
    close = np.log(candles["close"].to_numpy())
    before = np.concatenate([[start], close[:-1]])
    after = start + np.cumsum((close - before) * swing)
    opened = np.concatenate([[start], after[:-1]])
    for name in ("high", "low"):
        candles[name] = np.exp(opened + (np.log(candles[name].to_numpy()) - before) * swing)
    candles["open"], candles["close"] = np.exp(opened), np.exp(after)
    ingest(engine, tmp_path, SERIES, candles)
    closes = close_times(candles)
    ensure_champion(engine, series=SERIES, baseline="naive", now=NOW)
    version = baseline_version(engine, series=SERIES, model="range-ewma", now=NOW)
    for model in ("naive", "range-ewma"):
        fill(engine, model, closes[450], closes[699])
    score_matured(engine, series=SERIES, now=NOW)
    decision = gate(
        engine, series=SERIES, version=version, model="range-ewma", baseline="naive", start=closes[450], now=NOW
    )
    assert decision.promote, decision.reason
    assert decision.evidence["origins"] >= 240
    with engine.connect() as conn:
        champion = decisions.champion(conn, series=SERIES)
    assert champion is not None
    assert champion.model_version == version


def test_training_is_due_by_data_time(engine: Engine, tmp_path: Path) -> None:
    from synthetic import random_walk

    candles = random_walk(620, seed=1)
    ingest(engine, tmp_path, SERIES, candles.iloc[:500])

    def due(mode: Mode = Mode.AUTO) -> tuple[Mode, int | None] | None:
        plan = plan_trainings(engine, series=[SERIES], mode=mode, schedule=Schedule("lstm", 91, 7))
        return (plan[0].mode, plan[0].init_from) if plan else None

    def train(rows: int, init_from: int | None = None) -> int:
        cutoff = candles["close_time"].iloc[rows - 1].to_pydatetime()
        plan = trained_models(
            engine,
            scope=scope("lstm", SERIES),
            model="lstm",
            cutoffs=[cutoff],
            purpose="live",
            seed=0,
            now=NOW,
            init_from=init_from,
        )
        version = plan[cutoff][0]
        decide(version)
        return version

    def decide(version: int) -> None:
        with engine.begin() as conn:
            decisions.decide(
                conn, series=SERIES, version=version, outcome="kept", reason="test", evidence={}, decided_at=NOW
            )

    def grow(rows: int) -> None:
        ingest(engine, tmp_path, SERIES, candles.iloc[:rows], now=NOW + timedelta(days=rows))

    assert due() == (Mode.SCRATCH, None)
    assert due(Mode.FINE_TUNE) == (Mode.SCRATCH, None)
    scratch = train(500)
    assert due() is None
    grow(506)
    assert due() is None
    grow(507)
    assert due() == (Mode.FINE_TUNE, scratch)
    tuned = train(507, init_from=scratch)
    assert due() is None
    assert due(Mode.SCRATCH) == (Mode.SCRATCH, None)
    grow(514)
    assert due() == (Mode.FINE_TUNE, scratch), "fine-tuning starts from scratch weights, never from fine-tuned ones"
    assert tuned != scratch
    grow(591)
    assert due() == (Mode.SCRATCH, None)


def test_a_registered_training_is_not_repeated(engine: Engine, tmp_path: Path) -> None:
    candles = ingest_walk(engine, tmp_path, n=500)
    cutoff = candles["close_time"].iloc[-1].to_pydatetime()
    first, second = (
        trained_models(
            engine, scope=scope("lstm", SERIES), model="lstm", cutoffs=[cutoff], purpose="live", seed=0, now=NOW
        )[cutoff]
        for _ in range(2)
    )
    assert first[0] == second[0]
    assert all(np.array_equal(first[1].weights[name], second[1].weights[name]) for name in first[1].weights)
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM model_versions")).scalar_one() == 1


def test_a_training_is_due_again_until_its_version_was_judged(engine: Engine, tmp_path: Path) -> None:
    """A training that is killed between registering and the gate leaves such a version; the next day judges it."""
    candles = ingest_walk(engine, tmp_path, n=500)
    cutoff = candles["close_time"].iloc[-1].to_pydatetime()
    versions = trained_models(
        engine, scope=scope("lstm", SERIES), model="lstm", cutoffs=[cutoff], purpose="live", seed=0, now=NOW
    )
    (plan,) = plan_trainings(engine, series=[SERIES], mode=Mode.AUTO, schedule=Schedule("lstm", 91, 7))
    assert (plan.mode, plan.cutoff, plan.init_from) == (Mode.SCRATCH, cutoff, None)
    with engine.begin() as conn:
        decisions.decide(
            conn, series=SERIES, version=versions[cutoff][0], outcome="kept", reason="x", evidence={}, decided_at=NOW
        )
    assert plan_trainings(engine, series=[SERIES], mode=Mode.AUTO, schedule=Schedule("lstm", 91, 7)) == []
