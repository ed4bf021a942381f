"""The study's steps: load the file, train the recipe, judge it beside the published models."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from models.candles import SeriesName
from models.errors import NotEnoughCandles
from models.frames import CandleFrame
from models.interface import Progress
from models.tutorial.recipe import DONE_RIGHT, Recipe
from models.tutorial.study import Line, Trial, judge_published, judge_trials
from storage.source.frame import read_candle_file


def load_closes(file: Path, *, start: datetime, end: datetime) -> CandleFrame:
    """Return the file's closed candles in start..end; raises NotEnoughCandles without any, or as read_candle_file."""
    candles = read_candle_file(file, series=SeriesName.of_file(file), start=start, end=end)
    if candles.empty:
        raise NotEnoughCandles(f"{file} has no closed candle in {start:%Y-%m-%d}..{end:%Y-%m-%d}")
    return candles


def judge_study(
    candles: CandleFrame, trials: Sequence[Trial], recipe: Recipe, *, series: str, quick: bool, progress: Progress
) -> list[Line]:
    """Return the study's table: the recipe's trials beside naive and blend on the same days."""
    published = judge_published(candles, series=series, window_size=recipe.window_size, quick=quick, progress=progress)
    lines = judge_trials(trials)
    # The published models know chronological rows only; `naive` there is the row before, with a band.
    kept = (
        [line for line in lines if (line.rows, line.model) != (DONE_RIGHT.name, "the row before")]
        if published
        else lines
    )
    place = next(i for i, line in enumerate(kept) if line.rows == DONE_RIGHT.name)
    return [*kept[:place], *published, *kept[place:]]
