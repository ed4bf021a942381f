"""The study under a real Prefect server, from the command line, on a market of the tutorial's length."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markets import write_csv
from prefect_parts import stored_artifacts
from synthetic import random_walk
from typer.testing import CliRunner

from candlecast.commands.app import application

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.slow
def test_a_quick_study_prints_its_table_and_shows_its_page_and_figures(installation: Path) -> None:
    candles = random_walk(1273, seed=51, start=datetime(2014, 12, 1, tzinfo=UTC))
    file = write_csv(installation / "files", "Bitstamp_BTCUSD_d", candles)
    options = ["--quick", "--hidden-layers", "8", "--epochs", "2", "--seeds", "1", "--learning-rate", "0.01", "--json"]
    done = CliRunner().invoke(application(), ["study", "--file", str(file), *options])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["rows"], row["model"]) for row in rows] == [
        ("as published", "the row before"),
        ("as published", "recipe, window 7"),
        ("as published", "recipe, window 3"),
        ("done right", "naive"),
        ("done right", "blend"),
        ("done right", "recipe, window 7"),
        ("done right", "recipe, window 3"),
    ]
    assert {row["days"] for row in rows} == {248}
    page = (installation / "reports" / "study" / "study.md").read_text()
    assert "X to learn from 1018 x 7 x 1, 248 windows" in page
    assert "| `hidden_layers` | 8 |" in page
    assert "| `learning_rate` | 0.01 |" in page
    assert "reports/study/study.md" in done.stderr
    keys = {"study", "study-table", "study-losses", "study-predictions", "study-comparison"}
    assert stored_artifacts(keys) == keys


def test_every_hyperparameter_is_an_option_and_a_parameter_of_the_flow() -> None:
    from dataclasses import asdict

    from flows.study import study
    from models.tutorial.recipe import Recipe

    described = CliRunner().invoke(application(), ["study", "--help"], env={"COLUMNS": "200"})
    parameters = study.parameters.properties
    for name, value in asdict(Recipe()).items():
        assert parameters[name]["default"] == value
        assert f"--{name.replace('_', '-')}" in described.output
