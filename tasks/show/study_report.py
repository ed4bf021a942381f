"""The study as one Markdown page: the results decide its numbers and its sentences."""

from collections.abc import Sequence

from models.frames import CandleFrame
from models.tutorial.recipe import AS_PUBLISHED, DONE_RIGHT, Recipe
from models.tutorial.study import Line, Trial, beyond_training
from models.volatility import candle_seconds, seconds

COLUMNS = {
    "rows": "rows",
    "model": "model",
    "seeds": "seeds",
    "rmse": "RMSE",
    "range": "best..worst seed",
    "mae": "MAE",
    "rmse_to_naive": "RMSE / naive's",
    "crps": "CRPS x100",
    "coverage80": "in 80 % band",
}


def table_rows(lines: Sequence[Line]) -> list[dict[str, str]]:
    """Return the study's table as text, one dictionary a row, by the names of `COLUMNS`."""
    return [
        {
            "rows": line.rows,
            "model": line.model,
            "seeds": str(line.seeds),
            "rmse": f"{line.rmse:,.1f}",
            "range": f"{line.rmse_low:,.1f}..{line.rmse_high:,.1f}" if line.seeds > 1 else "",
            "mae": f"{line.mae:,.1f}",
            "rmse_to_naive": f"{line.rmse_to_naive:.2f}",
            "crps": f"{line.crps:.2f}",
            "coverage80": "" if line.coverage80 is None else _percent(line),
        }
        for line in lines
    ]


def markdown_table(lines: Sequence[Line]) -> str:
    """Return the study's table as Markdown."""
    rows = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    rows += ["| " + " | ".join(row[name] for name in COLUMNS) + " |" for row in table_rows(lines)]
    return "\n".join(rows)


def verdict(candles: CandleFrame, trials: Sequence[Trial], lines: Sequence[Line], quote: str) -> str:
    """Return the table's results in sentences; its numbers decide which sentences appear."""
    sentences = []
    for setup in (DONE_RIGHT, AS_PUBLISHED):
        of_setup = [trial for trial in trials if trial.setup == setup]
        table = [line for line in lines if line.rows == setup.name]
        naive, recipe = table[0], [line for line in table if line.model.startswith("recipe")]
        days = _test_days(candles, of_setup[0])
        if setup == DONE_RIGHT:
            sentences.append(
                f"In time order, with a scaler fitted on the past only, “tomorrow = today” misses the {naive.days} "
                f"days {days} by {naive.rmse:,.1f} {quote} (root mean square)."
            )
        else:
            sentences.append(
                f"As published, the rows stay newest first. So the recipe “predicts” {days}, {naive.days} old and "
                f"cheap days, each from the days after it, with a scaler fitted on all of them. The row before misses "
                f"these days by {naive.rmse:,.1f} {quote}."
            )
        for line in recipe:
            spread = (
                f" ({line.rmse_low:,.1f} to {line.rmse_high:,.1f} over {line.seeds} seeds)" if line.seeds > 1 else ""
            )
            sentences.append(
                f"With {line.model.replace('recipe, window', 'windows of')} the recipe misses them by "
                f"{line.rmse:,.1f}{spread}, {line.rmse_to_naive:.2f} times as much."
            )
        if len(recipe) > 1:
            best = min(recipe, key=lambda line: line.rmse)
            apart = min(line.rmse_low for line in recipe if line != best) > best.rmse_high
            sentences.append(
                f"Of the two, {best.model.removeprefix('recipe, window ')} is the better one"
                + ("; every seed agrees." if apart and best.seeds > 1 else ", though the seeds overlap or are too few.")
            )
        if setup == DONE_RIGHT:
            beyond = beyond_training(of_setup[0])
            if beyond > 0:
                sentences.append(
                    f"{100 * beyond:.0f} % of these days closed above every close the network had learnt from: it "
                    "predicts prices, and it cannot predict prices outside the range it was trained on."
                )
            sentences += _about_blend(table)
    return " ".join(sentences)


def report_page(
    candles: CandleFrame,
    trials: Sequence[Trial],
    lines: Sequence[Line],
    recipe: Recipe,
    *,
    series: str,
    quote: str,
    seconds_taken: float,
    figures: dict[str, str],
    quick: bool,
) -> str:
    """Return the whole page as Markdown; `figures` maps a figure's name to its file name."""
    first, last = candles["open_time"].iloc[0], candles["open_time"].iloc[-1]
    prepared = trials[0].prepared
    shape = " x ".join(str(size) for size in prepared.train.X.shape)
    epochs = len(trials[0].losses)
    gaps = _missing(candles)
    text = [
        "# The tutorial's recipe, step by step",
        "> Quick mode: a few epochs and a small blend. These numbers only show that everything runs." if quick else "",
        f"{series}, {len(candles):,} closes, {first:%Y-%m-%d}..{last:%Y-%m-%d}"
        + (f", {gaps} days missing, which the recipe does not notice." if gaps else "."),
        f"![closes]({figures['closes']})",
        "## Windows and hyperparameters",
        f"Windows of {recipe.window_size} closes predict the next close: X to learn from {shape}, "
        f"{len(prepared.test.X)} windows to test on. Closes are standardised (scikit-learn's StandardScaler).",
        "| hyperparameter | value |\n|---|---|\n"
        + "\n".join(f"| `{name}` | {value} |" for name, value in vars(recipe).items()),
        "## Why a cell with gates",
        f"![memory]({figures['memory']})",
        "## Training",
        f"Mean squared error, Adam, gradients clipped to a global norm of {recipe.clip_margin:g} before they are "
        f"applied; {len(trials)} fits of {epochs} epochs. Loss in the first and the last epoch:",
        "| fit | seed | first | last |\n|---|---|---|---|\n"
        + "\n".join(f"| {t.label} | {t.seed} | {t.losses[0]:.5f} | {t.losses[-1]:.5f} |" for t in trials),
        f"![losses]({figures['losses']})",
        "## Predictions",
        f"![predictions]({figures['predictions']})",
        "## Beside naive and blend, on the same days",
        markdown_table(lines),
        f"RMSE and MAE are in {quote}. CRPS is of log returns; for a model that predicts one number it is the mean "
        "absolute error.",
        f"![comparison]({figures['comparison']})",
        verdict(candles, trials, lines, quote),
        f"Training took {seconds_taken:.0f} s.",
    ]
    return "\n\n".join(part for part in text if part) + "\n"


def _about_blend(table: Sequence[Line]) -> list[str]:
    published = {line.model: line for line in table if line.coverage80 is not None}
    if not {"naive", "blend"} <= published.keys():
        return ["Too few days lie before them for `blend`."]
    naive, blend = published["naive"], published["blend"]
    better = 100 * (1 - blend.crps / naive.crps)
    return [
        "The median of `blend` is also the last close, so its error is the same as that of naive: `blend` adds how far "
        f"tomorrow's close may be away. Its CRPS is {abs(better):.1f} % {'lower' if better > 0 else 'higher'} than "
        f"naive's, and {_percent(blend)} of the days fell inside its 80 % band (naive's {_percent(naive)})."
    ]


def _percent(line: Line) -> str:
    return "none" if line.coverage80 is None else f"{100 * line.coverage80:.0f} %"


def _test_days(candles: CandleFrame, trial: Trial) -> str:
    rows = trial.prepared.test_rows
    opened = candles["open_time"].iloc[::-1] if trial.setup.newest_first else candles["open_time"]
    days = opened.iloc[rows]
    return f"{days.min():%Y-%m-%d}..{days.max():%Y-%m-%d}"


def _missing(candles: CandleFrame) -> int:
    opened, length = seconds(candles, "open_time"), candle_seconds(candles)
    return int((opened[-1] - opened[0]) // length + 1 - len(opened))
