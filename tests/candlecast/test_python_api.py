"""The Python API: pandas frames with typed columns, the command line's filters, and its errors."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from sqlalchemy import Engine
from stores import Store

import candlecast
from models.candles import Finding, Severity
from models.forecasts import Kind, ScoreKind
from storage.database.engine import reading, writing
from storage.errors import DatabaseUnusable, NotFound
from storage.findings import record_findings
from storage.query import ForecastFilter
from storage.scores import SkillRow
from tasks.steps.skill import judged_skill

ROOT = Path(__file__).parents[2]
DAY = timedelta(days=1)


@pytest.fixture
def filled(engine: Engine) -> Store:
    store = Store(engine)
    naive = store.add_version("naive")
    store.promote(naive)
    store.add_forecasts(naive, [store.origin, store.origin + DAY])
    store.add_forecasts(naive, [store.origin - DAY], kind=Kind.BACKFILL)
    for day in range(3):
        store.add_candle(store.origin + day * DAY, 100.0 + day)
    return store


def test_its_public_names_are_these() -> None:
    assert candlecast.__all__ == [
        "candles",
        "chance",
        "findings",
        "forecasts",
        "paths",
        "price",
        "reliability",
        "series",
        "skill",
    ]
    assert all(callable(getattr(candlecast, name)) for name in candlecast.__all__)


def test_importing_it_imports_none_of_the_heavy_libraries() -> None:
    heavy = "{'pandas', 'numpy', 'sqlalchemy', 'pydantic', 'prefect', 'tensorflow', 'sklearn'}"
    code = f"import candlecast, sys; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("hiding", ["models/__init__.py", "storage.py"])
def test_beside_a_folder_or_file_that_hides_a_package_the_import_names_it(tmp_path: Path, hiding: str) -> None:
    path = tmp_path / hiding
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = subprocess.run(
        [sys.executable, "-c", "import candlecast"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    place = path.parent if path.name == "__init__.py" else path
    assert done.returncode == 1
    assert f"ImportError: {place.resolve()} hides candlecast's own package" in done.stderr


def test_a_folder_without_an_init_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "import candlecast"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_filters_the_champions_newest_live_forecast(filled: Store) -> None:
    frame = candlecast.forecasts(database=filled.engine)
    assert list(frame["step"]) == list(range(1, 8))
    assert (frame["origin"] == pd.Timestamp(filled.origin + DAY)).all()
    assert str(frame["origin"].dtype) == "datetime64[us, UTC]"
    assert list(frame.columns)[:6] == ["forecast_id", "series", "model", "kind", "origin", "created_at"]


def test_the_filters_are_those_of_the_command_line(filled: Store) -> None:
    database = filled.engine
    assert len(candlecast.forecasts(filled.series, database=database, kind="backfill")) == 7
    assert len(candlecast.forecasts(database=database, model="naive")) == 21
    assert len(candlecast.forecasts(database=database, start=filled.origin, end=filled.origin)) == 7
    assert len(candlecast.forecasts(database=database, start=str(filled.origin.date()), end=date(2030, 1, 1))) == 14
    assert candlecast.forecasts(database=database, model="blend").empty


def test_candles_series_and_findings_are_frames_too(filled: Store) -> None:
    database = filled.engine
    candles = candlecast.candles(filled.series, database=database, start=filled.origin + DAY)
    assert list(candles["close"]) == [101.0, 102.0]
    assert candles["series"].unique().tolist() == [filled.series]
    assert (str(candles["trades"].dtype), candles["trades"].isna().all()) == ("Int64", True)
    assert candlecast.candles(filled.series, database=database, as_of="2001-01-01").empty
    assert candlecast.series(database=database)[["name", "candles"]].values.tolist() == [[filled.series, 3]]
    assert candlecast.findings(database=database).empty
    gap = Finding("gap", Severity.WARNING, "12 days are missing", "none", 12, filled.origin, filled.origin + DAY)
    with writing(database) as conn:
        record_findings(conn, series=filled.series, codes={"gap"}, seen=[gap], now=filled.now)
    findings = candlecast.findings(filled.series, database=database)
    assert findings[["code", "count", "first_time"]].values.tolist() == [["gap", 12, pd.Timestamp(filled.origin)]]
    assert findings["resolved_at"].isna().all()


def test_a_chance_is_a_float_of_the_champions_newest_live_forecast(filled: Store) -> None:
    """Step h of the stored forecasts is 99 + h + 10 * level."""
    chance = candlecast.chance(filled.series, below=105.0, database=filled.engine)
    assert (type(chance), chance) == (float, pytest.approx(0.5))
    assert candlecast.chance(filled.series, above=111.0, step=3, database=filled.engine) == pytest.approx(0.1)
    assert candlecast.price(filled.series, chance=0.05, database=filled.engine) == pytest.approx(100.5)
    # Beyond the stored quantiles only the bound is known.
    assert candlecast.chance(filled.series, below=1.0, database=filled.engine) == 0.01
    assert candlecast.chance(filled.series, above=1.0, database=filled.engine) == 0.99


def test_a_chance_can_be_asked_of_any_stored_forecast(filled: Store) -> None:
    lstm = filled.add_version("lstm")
    filled.add_forecasts(lstm, [filled.origin], model="lstm", centre=200.0)
    filled.add_forecasts(lstm, [filled.origin], model="lstm", centre=300.0, kind=Kind.BACKFILL)
    ask = {"database": filled.engine, "chance": 0.5}
    assert candlecast.price(filled.series, **ask) == pytest.approx(105.0)
    assert candlecast.price(filled.series, model="lstm", **ask) == pytest.approx(205.0)
    assert candlecast.price(filled.series, model="lstm", kind="backfill", **ask) == pytest.approx(305.0)
    # Where a model has no live forecast, the backfilled one answers.
    before = filled.origin - DAY
    assert candlecast.price(filled.series, origin=before, **ask) == pytest.approx(105.0)
    with pytest.raises(NotFound, match=r"no forecast of lstm with the origin .*; stored are: naive \(backfill\)"):
        candlecast.price(filled.series, origin=before, model="lstm", **ask)
    with pytest.raises(NotFound, match="no forecast of blend; see: candlecast models"):
        candlecast.price(filled.series, model="blend", **ask)
    filled.add_series("Kraken_BTCUSD_d")
    with pytest.raises(NotFound, match="no champion yet: name a model"):
        candlecast.price("Kraken_BTCUSD_d", **ask)


def test_paths_are_a_frame_of_samples(filled: Store) -> None:
    for day in range(1, 100):
        at = filled.origin - day * DAY
        filled.add_candle(at, 100.0 + day % 7, fetched_at=at + DAY)
    frame = candlecast.paths(filled.series, samples=100, seed=2, database=filled.engine, origin=filled.origin)
    assert list(frame.columns) == ["sample", "series", "model", "kind", "origin", "step", "target_time", "close"]
    assert len(frame) == 700
    assert frame.equals(
        candlecast.paths([filled.series], samples=100, seed=2, database=filled.engine, origin=filled.origin)
    )
    # Step h of the stored forecasts is 99 + h + 10 * level.
    assert frame[frame["step"] == 2]["close"].median() == pytest.approx(106.0, abs=0.1)


def test_a_question_about_a_chance_that_cannot_be_answered_is_refused(filled: Store) -> None:
    ask = {"series": filled.series, "database": filled.engine}
    with pytest.raises(ValueError, match="expected one of above and below, got neither"):
        candlecast.chance(**ask)
    with pytest.raises(ValueError, match="expected one of above and below, got both"):
        candlecast.chance(above=1.0, below=2.0, **ask)
    with pytest.raises(ValueError, match="expected a positive price, got -1"):
        candlecast.chance(above=-1.0, **ask)
    with pytest.raises(ValueError, match="expected a step from 1 to 7, got 8"):
        candlecast.chance(above=1.0, step=8, **ask)
    with pytest.raises(ValueError, match="expected a chance from 0.01 to 0.99"):
        candlecast.price(chance=0.001, **ask)


@pytest.mark.parametrize("kind", ["backfill", "late"])
def test_skill_has_the_interval_and_p_value_of_the_command_line(filled: Store, kind: str) -> None:
    """Naive's forecasts were in time, the other model's are late: they are compared all the same."""
    empty = candlecast.skill(database=filled.engine)
    assert empty.empty
    assert tuple(empty.columns) == SkillRow._fields
    days = [filled.origin + n * DAY for n in range(10, 30)]
    for model, offset in (("naive", 0.0), ("range-ewma", 0.002)):
        version = filled.add_version(model)
        filled.add_forecasts(
            version,
            days,
            model=model,
            kind=ScoreKind(kind).stored_as,
            created_at=days[-1] + DAY if model == "range-ewma" else None,
        )
        with reading(filled.engine) as conn:
            ids = conn.exec_driver_sql(
                f"SELECT id FROM forecasts WHERE model = '{model}' AND origin >= '{days[0]:%Y-%m-%d}' ORDER BY id"
            ).scalars()
            numbers = list(ids)
        for day, forecast in enumerate(numbers):
            filled.add_score(forecast, 1, 1.0, crps=0.02 - offset + 0.001 * (day % 3) * (1 + offset * 100))
    frame = candlecast.skill(filled.series, database=filled.engine)
    with reading(filled.engine) as conn:
        rows = judged_skill(conn, ForecastFilter(filled.series))
    judged = next(row for row in rows if row.model == "range-ewma")
    assert judged.kind == kind
    assert set(candlecast.skill(filled.series, database=filled.engine, kind=kind)["model"]) == (
        {"range-ewma"} if kind == "late" else {"naive", "range-ewma"}
    )
    of_range_ewma = frame[frame["model"] == "range-ewma"].iloc[0]
    assert judged.p_value is not None
    for name in ("n", "crps", "naive_crps", "skill", "skill_low", "skill_high", "p_value"):
        assert of_range_ewma[name] == getattr(judged, name), name
    assert frame[frame["model"] == "naive"]["p_value"].isna().all()


def test_unknown_series_bad_days_and_missing_databases_are_errors_with_a_reason(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="stored are: Bitstamp_BTCUSD_d"):
        candlecast.candles("Kraken_BTCUSD_d", database=filled.engine)
    with pytest.raises(ValueError, match="before the start"):
        candlecast.forecasts(database=filled.engine, start="2020-02-01", end="2020-01-01")
    with pytest.raises(ValueError, match="expected a day like"):
        candlecast.forecasts(database=filled.engine, origin="tomorrow")
    with pytest.raises(DatabaseUnusable, match="candlecast daily"):
        candlecast.forecasts(database=f"sqlite:///{tmp_path / 'none.db'}")


def test_without_a_database_it_reads_that_of_the_settings(
    filled: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", database_url)
    pd.testing.assert_frame_equal(candlecast.forecasts(), candlecast.forecasts(database=database_url))
    assert not candlecast.forecasts().empty
