"""The study as people see it: a page with its figures, on disk and in Prefect's UI."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from models.candles import SeriesName
from models.frames import CandleFrame
from models.tutorial.recipe import Recipe
from models.tutorial.study import Line, Trial
from tasks.show.pictures import show_picture
from tasks.show.study_figures import draw_closes, draw_comparison, draw_losses, draw_memory, draw_predictions
from tasks.show.study_report import report_page, table_rows


@dataclass(frozen=True)
class Study:
    """What a study leaves behind: its page, beside which its figures and losses lie, and the table's rows."""

    page: Path
    lines: tuple[Line, ...]


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


def show_study(study: Study, *, series: SeriesName) -> None:
    """Show the study's page, table and figures in Prefect's UI."""
    page = study.page.read_text(encoding="utf-8")
    create_markdown_artifact(page, key="study", description=f"The tutorial's recipe on {series}")
    create_table_artifact(table_rows(study.lines), key="study-table", description="The recipe beside naive and blend")
    for figure in sorted(study.page.parent.glob("*.png")):
        show_picture(figure, key=f"study-{figure.stem}", description=figure.stem)
