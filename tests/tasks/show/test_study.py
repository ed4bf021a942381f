"""The study's page says what its numbers show, and `tutorial` is backfilled, scored and replayed like other models."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from markets import NOW, backfill_alone, ingest_walk, write_csv
from sqlalchemy import Engine, text
from synthetic import random_walk

from models.candles import SeriesName, UnknownSeries
from models.catalog import forecaster
from models.errors import NotEnoughCandles
from models.frames import CandleFrame
from models.tutorial.forecaster import Tutorial
from models.tutorial.recipe import Recipe
from models.tutorial.study import Line, Trial, judge_trials, run_trials
from tasks.show.study import write_study
from tasks.show.study_report import markdown_table, verdict
from tasks.steps import backfill as backfill_module
from tasks.steps import replay as replay_module
from tasks.steps import train as train_module
from tasks.steps.backfill import BackfillJob
from tasks.steps.score import score_matured
from tasks.steps.study import load_closes

SERIES = "Bitstamp_BTCUSD_d"
RECIPE = Recipe(hidden_layers=8, epochs=2, learning_rate=0.01)


@pytest.fixture(scope="module")
def candles() -> CandleFrame:
    return random_walk(300, seed=41)


@pytest.fixture(scope="module")
def trials(candles: CandleFrame) -> list[Trial]:
    return run_trials(candles["close"].to_numpy(), RECIPE, window_sizes=(7, 3), seeds=2)


def test_a_study_writes_a_page_its_figures_and_the_loss_of_each_epoch(
    candles: CandleFrame, trials: list[Trial], tmp_path: Path
) -> None:
    study = write_study(
        candles,
        trials,
        judge_trials(trials),
        RECIPE,
        series=SeriesName.parse(SERIES),
        seconds_taken=12.3,
        folder=tmp_path / "study",
        quick=True,
    )
    page = study.page.read_text()
    assert "Quick mode" in page
    for name in vars(RECIPE):
        assert f"| `{name}` | {getattr(RECIPE, name)} |" in page
    figures = sorted(path.name for path in study.page.parent.glob("*.png"))
    assert figures == ["closes.png", "comparison.png", "losses.png", "memory.png", "predictions.png"]
    for figure in figures:
        assert f"]({figure})" in page
        assert (study.page.parent / figure).read_bytes().startswith(b"\x89PNG")
    losses = list(csv.DictReader((study.page.parent / "losses.csv").read_text().splitlines()))
    assert len(losses) == 8 * RECIPE.epochs
    assert float(losses[1]["loss"]) == pytest.approx(trials[0].losses[1])


def _line(rows: str, model: str, rmse: float, naive: float, coverage: float | None = None, crps: float = 3.0) -> Line:
    return Line(rows, model, 3, 53, rmse, rmse - 1, rmse + 1, rmse, rmse / naive, crps, coverage)


def test_the_verdict_agrees_with_the_numbers(candles: CandleFrame, trials: list[Trial]) -> None:
    published = [_line("as published", "the row before", 10, 10), _line("as published", "recipe, window 7", 12, 10)]

    def paragraph(seven: float, three: float, blend: float) -> str:
        lines = [
            *published,
            _line("done right", "naive", 10, 10, 0.8),
            _line("done right", "blend", 10, 10, 0.79, crps=blend),
            _line("done right", "recipe, window 7", seven, 10),
            _line("done right", "recipe, window 3", three, 10),
        ]
        return verdict(candles, trials, lines, "USD")

    worse = paragraph(30, 40, 2.7)
    assert "windows of 7 the recipe misses them by 30.0 (29.0 to 31.0 over 3 seeds), 3.00 times as much" in worse
    assert "Of the two, 7 is the better one; every seed agrees" in worse
    assert "CRPS is 10.0 % lower than naive's, and 79 % of the days" in worse
    overlapping = paragraph(40.5, 40, 3.3)
    assert "Of the two, 3 is the better one, though the seeds overlap" in overlapping
    assert "CRPS is 10.0 % higher" in overlapping
    assert "Too few days lie before them for `blend`" in verdict(candles, trials, judge_trials(trials), "USD")


def test_the_table_has_one_row_per_line() -> None:
    table = markdown_table([_line("done right", "naive", 1234.5, 1234.5, 0.8)]).splitlines()
    assert table[2] == "| done right | naive | 3 | 1,234.5 | 1,233.5..1,235.5 | 1,234.5 | 1.00 | 3.00 | 80 % |"


def test_closes_are_read_from_a_file_named_after_its_series(tmp_path: Path, candles: CandleFrame) -> None:
    assert str(SeriesName.of_file(Path("x/Coinbase_BTCUSD_d__2018-05-26.csv"))) == "Coinbase_BTCUSD_d"
    with pytest.raises(UnknownSeries, match="prices"):
        SeriesName.of_file(Path("prices.csv"))
    file = write_csv(tmp_path, SERIES, candles)
    days = datetime(2015, 1, 1, tzinfo=UTC), datetime(2015, 1, 31, tzinfo=UTC)
    read = load_closes(file, start=days[0], end=days[1])
    assert np.array_equal(read["close"], candles["close"].iloc[:31])
    with pytest.raises(NotEnoughCandles, match=r"no closed candle in 2035-01-01\.\.2035-01-02"):
        load_closes(file, start=datetime(2035, 1, 1, tzinfo=UTC), end=datetime(2035, 1, 2, tzinfo=UTC))


@pytest.mark.slow
def test_tutorial_is_backfilled_scored_and_replayed_like_any_other(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (backfill_module, train_module, replay_module):
        monkeypatch.setattr(
            module, "forecaster", lambda name: Tutorial(RECIPE) if name == "tutorial" else forecaster(name)
        )
    closes = list(ingest_walk(engine, tmp_path / "source", n=950)["close_time"].dt.to_pydatetime())
    backfilled = backfill_alone(engine, BackfillJob(SERIES, ("tutorial",), closes[900], closes[930], NOW))
    assert (backfilled.origins, backfilled.stored) == (31, 31)
    # The skill view compares each model with naive on the same origins, so naive is backfilled too.
    backfill_alone(engine, BackfillJob(SERIES, ("naive",), closes[900], closes[930], NOW))
    score_matured(engine, series=SERIES, now=NOW)
    with engine.connect() as conn:
        skill = conn.execute(text("SELECT step, n FROM model_skill WHERE model = 'tutorial' ORDER BY step")).all()
        newer = conn.execute(
            text(
                "SELECT count(*) FROM forecasts f JOIN model_versions v ON v.id = f.model_version "
                "WHERE v.cutoff > f.origin"
            )
        ).scalar_one()
        first = conn.execute(text("SELECT min(id) FROM forecasts")).scalar_one()
    assert [row.step for row in skill] == list(range(1, 8))
    assert newer == 0
    assert replay_module.replay(engine, forecast=first).exact
