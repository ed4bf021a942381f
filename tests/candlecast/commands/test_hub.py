"""The files for forecast hubs, checked against hubverse's rules."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hubs import problems_of_output, problems_of_tasks
from stores import Store
from typer.testing import CliRunner

from candlecast.commands.app import application
from models.forecasts import Kind
from storage.database.engine import open_database

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Iterator[Store]:
    """Two models with ten live days and ten backfilled ones, and a second series."""
    url = f"sqlite:///{tmp_path / 'candlecast.db'}"
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", url)
    store = Store(open_database(url))
    store.add_series("Kraken_ETHUSD_d")
    days = [store.origin + n * DAY for n in range(10)]
    for model in ("naive", "lstm"):
        version = store.add_version(model)
        store.add_forecasts(version, days, model=model)
        store.add_forecasts(version, [day - 20 * DAY for day in days], model=model, kind=Kind.BACKFILL)
    other = store.add_version("naive", series="Kraken_ETHUSD_d")
    store.add_forecasts(other, days, series="Kraken_ETHUSD_d", centre=10.0)
    yield store
    store.engine.dispose()


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def hub(*arguments: object):
    return CliRunner().invoke(application(), ["forecasts", "--format", "hub", *map(str, arguments)])


def test_a_file_of_one_model_and_its_tasks_keep_hubverses_rules(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out" / "2020-01-09-candlecast-naive.csv"
    path.parent.mkdir()
    assert hub("--model", "naive", "--kind", "live", "-o", path).exit_code == 0
    rows = rows_of(path)
    assert len(rows) == 2 * 10 * 7 * 23
    config = json.loads((path.parent / "tasks.json").read_text())
    assert problems_of_tasks(config) == []
    assert problems_of_output(rows, config) == []
    assert {(row["origin_date"], row["horizon"], row["target_end_date"]) for row in rows[:24]} == {
        ("2020-01-09", "1", "2020-01-10"),
        ("2020-01-09", "2", "2020-01-11"),
    }


def test_on_stdout_the_same_rows_come_alone(store: Store, tmp_path: Path) -> None:
    assert hub("--model", "lstm", "--kind", "backfill", "-o", tmp_path / "a.csv").exit_code == 0
    printed = hub("--model", "lstm", "--kind", "backfill")
    assert printed.stdout == (tmp_path / "a.csv").read_text()
    assert len(printed.stdout.splitlines()) == 1 + 10 * 7 * 23


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--kind", "live"), "a hub's file holds one model: choose --model lstm or --model naive"),
        (("--model", "naive"), "a hub's file has no column for the kind"),
    ],
)
def test_several_models_or_kinds_are_refused(store: Store, tmp_path: Path, arguments, reason: str) -> None:
    done = hub(*arguments, "-o", tmp_path / "a.csv")
    assert done.exit_code == 2
    assert reason in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "a.csv").exists()


def test_hourly_forecasts_are_refused_because_their_dates_would_collide(store: Store) -> None:
    store.add_series("Kraken_ETHUSD_1h")
    version = store.add_version("naive", series="Kraken_ETHUSD_1h")
    store.add_forecasts(version, [store.origin, store.origin + timedelta(hours=1)], series="Kraken_ETHUSD_1h")
    done = hub("Kraken_ETHUSD_1h", "--model", "naive", "--kind", "live")
    assert done.exit_code == 2
    assert "Kraken_ETHUSD_1h has shorter candles" in " ".join(done.stderr.replace("│", " ").split())


def test_the_check_notices_what_hubs_refuse(store: Store, tmp_path: Path) -> None:
    assert hub("--model", "naive", "--kind", "live", "-o", tmp_path / "a.csv").exit_code == 0
    rows = rows_of(tmp_path / "a.csv")
    config = json.loads((tmp_path / "tasks.json").read_text())
    assert problems_of_output([*rows, rows[0]], config) == [
        "1 rows have the key of another row",
        "a task lacks a required quantile",
    ]
    assert "target_end_date is not origin_date + horizon" in problems_of_output(
        [{**rows[0], "target_end_date": rows[0]["origin_date"]}], config
    )
    assert problems_of_output(rows[1:], config) == ["a task lacks a required quantile"]
    each = config["rounds"][0]
    each["round_id"] = "day"
    assert problems_of_tasks(config) == ["the round's id is no task id"]
    each["round_id"] = "origin_date"
    each["model_tasks"][0]["output_type"]["quantile"]["value"]["type"] = "float"
    assert problems_of_tasks(config) == ["quantile's type of value is unknown, or whether it is required"]


def test_samples_keep_hubverses_rules_too(store: Store, tmp_path: Path) -> None:
    for name in (store.series, "Kraken_ETHUSD_d"):
        for day in range(100):
            at = store.origin - (day + 1) * DAY
            store.add_candle(at, 100.0 + day % 7, series=name, fetched_at=at + DAY)
    path = tmp_path / "a.csv"
    words = ["paths", store.series, "Kraken_ETHUSD_d", "--model", "naive", "--samples", "100", "--format", "hub"]
    done = CliRunner().invoke(application(), [*words, "--origin", "2020-01-10", "-o", str(path)])
    assert done.exit_code == 0, done.stderr
    config = json.loads((tmp_path / "tasks.json").read_text())
    assert problems_of_tasks(config) == []
    assert problems_of_output(rows_of(path), config) == []
    assert len(rows_of(path)) == 2 * 7 * 100
    assert config["rounds"][0]["model_tasks"][0]["output_type"].keys() == {"sample"}


@pytest.mark.network
def test_hubverses_own_schema_accepts_the_tasks(store: Store, tmp_path: Path) -> None:
    import requests
    from jsonschema import Draft202012Validator

    assert hub("--model", "naive", "--kind", "live", "-o", tmp_path / "a.csv").exit_code == 0
    config = json.loads((tmp_path / "tasks.json").read_text())
    answer = requests.get(config["schema_version"], timeout=60)
    answer.raise_for_status()
    validator = Draft202012Validator(answer.json(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in validator.iter_errors(config)] == []
    config["rounds"][0]["submissions_due"]["start"] = "soon"
    assert not validator.is_valid(config)
