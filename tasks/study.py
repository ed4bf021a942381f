"""The study's steps: load the file, train the recipe, judge it beside the published models, show it."""

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from models.candles import SeriesName
from models.errors import NotEnoughCandles
from models.frames import CandleFrame
from models.recipe import DONE_RIGHT, Recipe
from models.study import Line, Trial, judge_published, judge_trials, run_trials
from storage.candle_file import read_candle_file
from tasks.pictures import show_picture
from tasks.progress import reported_progress
from tasks.study_figures import draw_closes, draw_comparison, draw_losses, draw_memory, draw_predictions
from tasks.study_report import report_page, table_rows


@dataclass(frozen=True)
class Study:
    """What a study leaves behind: its page, beside which its figures and losses lie, and the table's rows."""

    page: Path
    lines: tuple[Line, ...]


def load_closes(file: Path, *, start: datetime, end: datetime) -> CandleFrame:
    """Return the file's closed candles in start..end; raises NotEnoughCandles without any, or as read_candle_file."""
    candles = read_candle_file(file, series=SeriesName.of_file(file), start=start, end=end)
    if candles.empty:
        raise NotEnoughCandles(f"{file} has no closed candle in {start:%Y-%m-%d}..{end:%Y-%m-%d}")
    return candles


def write_study(
    candles: CandleFrame,
    trials: Sequence[Trial],
    lines: Sequence[Line],
    recipe: Recipe,
    *,
    series: SeriesName,
    seconds_taken: float,
    folder: Path,
    quick: bool,
) -> Study:
    """Write the page, its figures and every epoch's loss under `folder`."""
    drawn = {
        "closes": draw_closes(candles, series.quote, folder / "closes.png"),
        "memory": draw_memory(recipe.hidden_layers, folder / "memory.png"),
        "losses": draw_losses(trials, folder / "losses.png"),
        "predictions": draw_predictions(candles, trials, series.quote, folder / "predictions.png"),
        "comparison": draw_comparison(lines, folder / "comparison.png"),
    }
    with (folder / "losses.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["rows", "window_size", "seed", "epoch", "loss"])
        for trial in trials:
            for epoch, loss in enumerate(trial.losses, 1):
                writer.writerow([trial.setup.name, trial.window_size, trial.seed, epoch, f"{loss:.8g}"])
    page = folder / "study.md"
    page.write_text(
        report_page(
            candles,
            trials,
            lines,
            recipe,
            series=str(series),
            quote=series.quote,
            seconds_taken=seconds_taken,
            figures={name: path.name for name, path in drawn.items()},
            quick=quick,
        ),
        encoding="utf-8",
    )
    return Study(page, tuple(lines))


@task(name="load-closes", cache_policy=NO_CACHE)
def load_closes_task(file: Path, *, start: datetime, end: datetime) -> CandleFrame:
    """Read the price-and-volume CSV."""
    candles = load_closes(file, start=start, end=end)
    get_run_logger().info("%s: %d closes", file.name, len(candles))
    return candles


@task(name="train-recipe", cache_policy=NO_CACHE)
def train_recipe_task(
    candles: CandleFrame, recipe: Recipe, *, window_sizes: Sequence[int], seeds: int
) -> tuple[list[Trial], float]:
    """Train every setup, window length and seed, each epoch's loss in the log; returns the seconds it took too."""
    log = get_run_logger()
    began = time.perf_counter()
    with reported_progress("training the tutorial's recipe") as progress:

        def report(done: int, epochs: int, losses: dict[str, float]) -> None:
            shown = "; ".join(f"{label} {loss:.5f}" for label, loss in losses.items())
            log.info("epoch %d/%d, loss: %s", done, epochs, shown)
            progress(done, epochs, "epoch")

        trials = run_trials(
            candles["close"].to_numpy(float), recipe, window_sizes=window_sizes, seeds=seeds, report=report
        )
    return trials, time.perf_counter() - began


@task(name="judge-recipe", cache_policy=NO_CACHE)
def judge_task(candles: CandleFrame, trials: Sequence[Trial], recipe: Recipe, *, quick: bool) -> list[Line]:
    """Put the recipe beside naive and blend on the same days."""
    with reported_progress("walking naive and blend forward") as progress:
        published = judge_published(candles, window_size=recipe.window_size, quick=quick, progress=progress)
    lines = judge_trials(trials)
    # The published models know chronological rows only; `naive` there is the row before, with a band.
    kept = (
        [line for line in lines if (line.rows, line.model) != (DONE_RIGHT.name, "the row before")]
        if published
        else lines
    )
    place = next(i for i, line in enumerate(kept) if line.rows == DONE_RIGHT.name)
    return [*kept[:place], *published, *kept[place:]]


@task(name="publish-study", cache_policy=NO_CACHE)
def publish_study_task(
    candles: CandleFrame,
    trials: Sequence[Trial],
    lines: Sequence[Line],
    recipe: Recipe,
    *,
    series: SeriesName,
    seconds_taken: float,
    folder: Path,
    quick: bool,
) -> Study:
    """Write the study to `folder` and show its page, table and figures in Prefect's UI."""
    study = write_study(
        candles, trials, lines, recipe, series=series, seconds_taken=seconds_taken, folder=folder, quick=quick
    )
    page = study.page.read_text(encoding="utf-8")
    create_markdown_artifact(page, key="study", description=f"The tutorial's recipe on {series}")
    create_table_artifact(table_rows(lines), key="study-table", description="The recipe beside naive and blend")
    for figure in sorted(folder.glob("*.png")):
        show_picture(figure, key=f"study-{figure.stem}", description=figure.stem)
    get_run_logger().info("the study is at %s", study.page)
    return study
