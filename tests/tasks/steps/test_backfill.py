"""Backfilling: one forecast per origin, by models no newer than the origin, from the candles known at that time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from markets import NOW, backfill_alone, forecast_now, ingest, ingest_walk
from sqlalchemy import Connection, Engine, event, text
from synthetic import random_walk

from models.forecasts import Kind
from models.frames import CandleFrame
from models.interface import TrainedModel, TrainRequest
from models.schedule import by_quarter
from models.times import RunClock
from storage.database.engine import open_database
from storage.forecasts import read_bands
from storage.query import ForecastFilter
from tasks.steps import backfill as backfill_module
from tasks.steps.backfill import Backfilled, BackfillJob, backfill_series, plan_backfill, possible_origins, quarter_name
from tasks.steps.train import baseline_version

SERIES = "Bitstamp_BTCUSD_d"


def origin(candles: CandleFrame, row: int) -> datetime:
    moment: datetime = candles["close_time"].iloc[row].to_pydatetime()
    return moment


def run(engine: Engine, model: str, start: datetime, end: datetime, *, now: datetime = NOW) -> Backfilled:
    return backfill_alone(engine, BackfillJob(SERIES, (model,), start, end, now))


def stored(engine: Engine) -> list[tuple[object, ...]]:
    query = text(
        "SELECT f.model, f.kind, f.origin, v.step, v.quantile, v.value, f.data_fingerprint FROM forecasts f "
        "JOIN forecast_values v ON v.forecast = f.id ORDER BY 1, 2, 3, 4, 5"
    )
    with engine.connect() as conn:
        return [tuple(row) for row in conn.execute(query)]


def test_origins_lie_in_the_span_and_have_enough_candles_before_them() -> None:
    day, microsecond = timedelta(days=1), timedelta(microseconds=1)
    closes = [NOW + n * day for n in range(70)]
    # naive forecasts from the 60th candle on.
    first, last = closes[59], closes[-1]

    def origins(start: datetime, end: datetime) -> list[datetime]:
        return possible_origins(closes, model="naive", start=start, end=end)

    assert origins(closes[0], last) == origins(first, last + day) == closes[59:]
    assert origins(closes[65], closes[65]) == [closes[65]]
    assert origins(closes[65] + microsecond, closes[67] - microsecond) == [closes[66]]
    assert origins(closes[0], closes[58]) == origins(last + microsecond, last + day) == []
    assert possible_origins(closes[:59], model="naive", start=closes[0], end=last) == []
    assert possible_origins([], model="naive", start=closes[0], end=last) == []


@pytest.mark.parametrize("model", ["naive", "range-ewma", "lstm"])
def test_every_origin_gets_one_forecast_in_repeated_backfills(engine: Engine, tmp_path: Path, model: str) -> None:
    candles = ingest_walk(engine, tmp_path / "source")
    start, end = origin(candles, 560), origin(candles, 599)
    assert run(engine, model, start, end) == Backfilled(SERIES, model, 40, 40)
    first = stored(engine)
    assert len(first) == 40 * 7 * 23
    assert run(engine, model, start, end) == Backfilled(SERIES, model, 40, 0)
    assert run(engine, model, start - timedelta(days=5), end) == Backfilled(SERIES, model, 45, 5)
    assert set(first) <= set(stored(engine))


def test_no_model_is_newer_than_the_origins_it_forecasts_from(engine: Engine, tmp_path: Path) -> None:
    candles = ingest_walk(engine, tmp_path / "source")
    run(engine, "lstm", origin(candles, 500), origin(candles, 699))
    query = text(
        "SELECT f.origin, m.cutoff, m.purpose FROM forecasts f JOIN model_versions m ON m.id = f.model_version"
    )
    with engine.connect() as conn:
        rows = conn.execute(query).all()
    assert len(rows) == 200
    assert all(row.cutoff <= row.origin and row.purpose == "backfill" for row in rows)
    assert len({row.cutoff for row in rows}) == 3


def test_an_interrupted_backfill_continues_where_it_stopped(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = ingest_walk(engine, tmp_path / "source")
    start, end = origin(candles, 480), origin(candles, 699)
    real, calls = backfill_module.insert_forecasts, []

    def dies_at_the_second_quarter(*args: object, **kwargs: object) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(backfill_module, "insert_forecasts", dies_at_the_second_quarter)
    with pytest.raises(KeyboardInterrupt):
        run(engine, "naive", start, end)
    monkeypatch.undo()
    stored_first = stored(engine)
    assert 0 < len(stored_first) < 220 * 161
    second_run = run(engine, "naive", start, end)
    assert second_run.stored == 220 - len(stored_first) // 161
    stored_in_all = stored(engine)
    assert set(stored_first) <= set(stored_in_all)
    fresh = open_database(f"sqlite:///{tmp_path / 'fresh.db'}")
    ingest_walk(fresh, tmp_path / "source")
    run(fresh, "naive", start, end)
    assert stored(fresh) == stored_in_all
    fresh.dispose()


@pytest.mark.parametrize("model", ["naive", "range-ewma", "lstm"])
def test_changing_every_candle_after_an_origin_changes_no_forecast_from_it(tmp_path: Path, model: str) -> None:
    """Promise 1, through ingest, training, forecasting and the database."""
    results = []
    for name, factor in (("as-it-was", 1.0), ("changed", 1.9)):
        engine = open_database(f"sqlite:///{tmp_path / name}.db")
        candles = ingest_walk(engine, tmp_path / name)
        last = origin(candles, 640)
        later = (candles["close_time"] > last).to_numpy()
        changed = candles.copy()
        for column in ("open", "high", "low", "close"):
            changed.loc[later, column] *= factor
        other = open_database(f"sqlite:///{tmp_path / name}-2.db")
        ingest(other, tmp_path / f"{name}-2", SERIES, changed)
        run(other, model, origin(candles, 600), last)
        results.append(stored(other))
        engine.dispose()
        other.dispose()
    assert len(results[0]) == 41 * 161
    assert results[0] == results[1]


def test_a_backfill_uses_candles_as_known_at_each_origin(tmp_path: Path) -> None:
    """A forecast uses the revisions from before its origin and none from after it."""

    def forecasts_with(revised_on_row: int | None) -> list[tuple[object, ...]]:
        engine = open_database(f"sqlite:///{tmp_path / f'revised-{revised_on_row}.db'}")
        folder = tmp_path / f"revised-{revised_on_row}"
        candles = random_walk(400)
        changed = candles.copy()
        changed.loc[350, "close"] *= 1.02
        changed.loc[350, "high"] *= 1.05
        # The source's file grows, and no file holds a row of its future.
        for last in (359, 370, 390, 399):
            is_revised = revised_on_row is not None and last >= revised_on_row
            file = (changed if is_revised else candles).iloc[: last + 1]
            ingest(engine, folder, SERIES, file, now=origin(candles, last))
        with engine.connect() as conn:
            closes = "SELECT count(DISTINCT close) FROM candles WHERE NOT provisional GROUP BY open_time"
            revisions = conn.execute(text(closes)).scalars()
            assert max(revisions) == (1 if revised_on_row is None else 2)
        run(engine, "naive", origin(candles, 360), origin(candles, 380))
        forecasts = stored(engine)
        engine.dispose()
        return forecasts

    unrevised, revised_late, revised_midway = forecasts_with(None), forecasts_with(390), forecasts_with(370)
    assert revised_late == unrevised
    per_origin = 161
    assert revised_midway[: 10 * per_origin] == unrevised[: 10 * per_origin]
    assert all(a != b for a, b in zip(revised_midway[10 * per_origin :], unrevised[10 * per_origin :], strict=True))


def test_a_backfill_reads_the_history_once(engine: Engine, tmp_path: Path) -> None:
    candles = ingest_walk(engine, tmp_path / "source")
    reads: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_conn: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if "candles.volume_base" in statement and "candles.close_time" in statement:
            reads.append(statement)

    job = BackfillJob(SERIES, ("naive", "range-ewma"), origin(candles, 560), origin(candles, 599), NOW)
    assert [done.stored for done in backfill_series(engine, job)] == [40, 40]
    assert len(reads) == 1


def test_a_gap_in_the_candles_has_no_origins(engine: Engine, tmp_path: Path) -> None:
    candles = random_walk(500, seed=1, drop=slice(450, 455))
    ingest(engine, tmp_path / "source", SERIES, candles)
    done = run(engine, "naive", origin(candles, 440), origin(candles, 470))
    assert done.stored == 31
    closes = {moment.to_pydatetime() for moment in candles["close_time"]}
    with engine.connect() as conn:
        assert {row.origin for row in read_bands(conn, ForecastFilter(SERIES, kind=Kind.BACKFILL))} <= closes


def test_a_live_forecast_has_the_time_of_its_writing_not_of_the_runs_start(engine: Engine, tmp_path: Path) -> None:
    """The origin is 20 minutes old when the run begins, and 25 hours old when the forecast is stored."""
    candles = random_walk(400, seed=1)
    origin = candles["close_time"].iloc[-1].to_pydatetime()
    began, written = origin + timedelta(minutes=20), origin + timedelta(hours=25)
    ingest(engine, tmp_path / "source", SERIES, candles, now=began)
    version = baseline_version(engine, series=SERIES, model="naive", now=began)
    forecast_now(engine, series=SERIES, versions=[version], clock=lambda: written)
    with engine.connect() as conn:
        rows = read_bands(conn, ForecastFilter(SERIES, kind=Kind.LIVE))
    assert {row.created_at for row in rows} == {written}
    assert [row.step for row in rows if row.before_close] == [2, 3, 4, 5, 6, 7]


def test_a_live_forecast_is_made_once_per_origin(engine: Engine, tmp_path: Path) -> None:
    candles = ingest_walk(engine, tmp_path / "source", n=400)
    version = baseline_version(engine, series=SERIES, model="naive", now=NOW)
    assert forecast_now(engine, series=SERIES, versions=[version], clock=RunClock(NOW)) == [version]
    assert forecast_now(engine, series=SERIES, versions=[version], clock=RunClock(NOW)) == []
    with engine.connect() as conn:
        rows = read_bands(conn, ForecastFilter(SERIES, kind=Kind.LIVE))
    assert [row.step for row in rows] == list(range(1, 8))
    assert {row.origin for row in rows} == {origin(candles, -1)}
    assert [row.target_time for row in rows] == [origin(candles, -1) + timedelta(days=h) for h in range(7)]
    assert np.allclose([row.q50 for row in rows], candles["close"].iloc[-1], rtol=1e-12)


def test_a_quarter_whose_training_fails_is_reported_and_the_others_are_stored(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.errors import TrainingFailed
    from models.lstm.forecaster import Lstm

    candles = ingest_walk(engine, tmp_path / "source")
    start, end = origin(candles, 480), origin(candles, 699)
    bad = sorted(by_quarter([start, end, origin(candles, 600)]))[1]
    real = Lstm.train

    def fails_for_one(self: Lstm, requests: list[TrainRequest], *rest: object) -> list[TrainedModel]:
        if any(request.cutoff == bad for request in requests):
            raise TrainingFailed("no finite weights")
        return real(self, requests, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Lstm, "train", fails_for_one)
    done = run(engine, "lstm", start, end)
    (failure,) = done.failures
    assert str(failure) == f"{SERIES} lstm {quarter_name(bad)}: TrainingFailed: no finite weights"
    missing = done.origins - done.stored
    assert 85 <= missing <= 93
    left = plan_backfill(engine, BackfillJob(SERIES, ("lstm",), start, end, NOW))
    assert [(partition.quarter, partition.missing, partition.trained) for partition in left] == [(bad, missing, False)]
    monkeypatch.undo()
    again = run(engine, "lstm", start, end)
    assert (again.stored, again.failures) == (missing, ())
    assert plan_backfill(engine, BackfillJob(SERIES, ("lstm",), start, end, NOW)) == []


def test_a_quarter_that_cannot_be_stored_is_reported_and_the_others_are_stored(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = ingest_walk(engine, tmp_path / "source")
    real, calls = backfill_module.insert_forecasts, []

    def refuses_the_second(*args: object, **kwargs: object) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("a quantile that is no number")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(backfill_module, "insert_forecasts", refuses_the_second)
    done = run(engine, "naive", origin(candles, 480), origin(candles, 699))
    (failure,) = done.failures
    assert failure.reason == "ValueError: a quantile that is no number"
    assert len(calls) >= 3
    assert 0 < done.stored < done.origins


def test_two_backfills_at_once_store_each_forecast_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'candlecast.db'}"
    engine = open_database(url)
    candles = ingest_walk(engine, tmp_path / "source")
    start, end = origin(candles, 480), origin(candles, 699)
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(run, open_database(url), "lstm", start, end) for _ in range(2)]
        stored_counts = sorted(future.result().stored for future in futures)
    assert stored_counts == [0, 220]
    engine.dispose()
