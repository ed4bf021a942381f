"""Run the tutorial's recipe and compare it with naive and blend on the same days."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow

from flows.settings import Settings
from models.candles import SeriesName
from tasks.policies import judge_task, load_closes_task, publish_study_task, train_recipe_task
from tasks.steps.termination import resend_lost_sigterm

if TYPE_CHECKING:
    from tasks.show.study import Study


@flow(name="study")
def study(
    file: Path = Path(__file__).parents[1] / "sample" / "Coinbase_BTCUSD_d.csv",
    start: date = date(2014, 12, 1),
    end: date = date(2018, 5, 26),
    batch_size: int = 7,
    window_size: int = 7,
    other_window_size: int = 3,
    hidden_layers: int = 256,
    clip_margin: float = 4.0,
    learning_rate: float = 0.001,
    epochs: int = 200,
    seeds: int = 3,
    quick: bool = False,
) -> "Study":
    """Run the recipe on the closes of `file` in start..end (both included) and write the study to reports/study.

    The hyperparameters are the tutorial's, by its names. `other_window_size` is a second window to compare
    with, `seeds` how many times each setup is trained. `quick` trains at most three epochs and two seeds, to show that
    everything runs. The file is named after its series, as CDD names it.
    """
    # `candlecast serve` imports this file to offer the study, and should not hold what only the study needs.
    from models.tutorial.recipe import Recipe

    resend_lost_sigterm()
    settings = Settings()
    if seeds < 1:
        raise ValueError(f"expected at least one seed, got {seeds}")
    recipe = Recipe(
        batch_size, window_size, hidden_layers, clip_margin, learning_rate, min(epochs, 3) if quick else epochs
    )
    first, last = (datetime.combine(day, time(), UTC) for day in (start, end))
    series = SeriesName.of_file(file)
    candles = load_closes_task(file, start=first, end=last)
    trials, seconds_taken = train_recipe_task(
        candles,
        recipe,
        window_sizes=(window_size, other_window_size),
        seeds=min(seeds, 2) if quick else seeds,
    )
    lines = judge_task(candles, trials, recipe, series=series, quick=quick)
    return publish_study_task(
        candles,
        trials,
        lines,
        recipe,
        series=series,
        seconds_taken=seconds_taken,
        folder=settings.reports / "study",
        quick=quick,
    )
