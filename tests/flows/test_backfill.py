"""The backfill flow: several series, in this process or in others, with parameters checked before it begins."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markets import ingest_walk

from flows.runners import UnknownRunner, task_runner
from storage.database.engine import open_database

pytestmark = pytest.mark.usefixtures("prefect_server")

NAMES = ["Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d", "Bitstamp_LTCUSD_d"]
START, END = "2015-10-01", "2016-03-31"


def prepared(installation: Path) -> None:
    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    for seed, name in enumerate(NAMES):
        ingest_walk(engine, installation / "source", seed=seed, series=name)
    engine.dispose()


def stored(installation: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(installation / "candlecast.db") as conn:
        return conn.execute(
            "SELECT f.series, f.model, f.origin, v.step, v.quantile, v.value FROM forecasts f "
            "JOIN forecast_values v ON v.forecast = f.id ORDER BY 1, 2, 3, 4, 5"
        ).fetchall()


@pytest.mark.slow
def test_series_in_separate_processes_give_the_rows_of_one_process(
    installation: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.backfill import backfill

    prepared(installation)
    done = backfill(NAMES, START, END)  # type: ignore[arg-type]
    assert [(one.series, one.model) for one in done] == [
        (name, model) for name in NAMES for model in ("naive", "range-ewma")
    ]
    # 2015-10-01 to 2016-03-31, with all of both days.
    assert {one.stored for one in done} == {183}
    alone = stored(installation)
    (installation / "candlecast.db").unlink()
    prepared(installation)
    monkeypatch.setenv("CANDLECAST_TASK_RUNNER", "processes:2")
    backfill(NAMES, START, END)  # type: ignore[arg-type]
    assert stored(installation) == alone


def test_a_series_that_fails_is_named_and_the_others_are_done(installation: Path) -> None:
    from flows.backfill import BackfillFailed, backfill

    prepared(installation)
    with sqlite3.connect(installation / "candlecast.db") as conn:
        conn.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON forecasts WHEN NEW.series = 'Bitstamp_ETHUSD_d' "
            "BEGIN SELECT RAISE(ABORT, 'this series cannot be written'); END"
        )
    with pytest.raises(BackfillFailed) as caught:
        backfill(NAMES, START, END, ["naive"])  # type: ignore[arg-type]
    assert str(caught.value).count("Bitstamp_ETHUSD_d naive 201") == 2
    assert "this series cannot be written" in str(caught.value)
    assert {row[0] for row in stored(installation)} == {NAMES[0], NAMES[2]}
    with sqlite3.connect(installation / "candlecast.db") as conn:
        conn.execute("DROP TRIGGER broken")
    done = backfill(NAMES, START, END, ["naive"])  # type: ignore[arg-type]
    assert [one.stored for one in done] == [0, 183, 0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"series": ["bitcoin"]}, "bitcoin"),
        ({"series": NAMES, "models": ["prophet"]}, "unknown model 'prophet'; the models are naive, "),
        ({"series": NAMES, "start": "yesterday"}, "expected a day like 2025-01-31"),
    ],
)
def test_parameters_are_refused_with_what_was_expected(parameters: dict[str, object], message: str) -> None:
    from prefect.exceptions import ParameterTypeError

    from flows.backfill import backfill

    with pytest.raises(ParameterTypeError, match=message):
        backfill(**{"start": START, "end": END, **parameters})  # type: ignore[arg-type]


def test_an_end_before_the_start_is_refused(installation: Path) -> None:
    from flows.backfill import backfill

    with pytest.raises(ValueError, match="before its start"):
        backfill(NAMES, datetime(2016, 1, 1, tzinfo=UTC), datetime(2015, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("setting", ["threads", "processes:0", "processes:many", "ray://x:1"])
def test_an_unknown_runner_is_refused(setting: str) -> None:
    with pytest.raises(UnknownRunner, match="expected CANDLECAST_TASK_RUNNER to be empty"):
        task_runner(setting, pieces=2)
