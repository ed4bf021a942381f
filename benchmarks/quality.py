"""Forecast quality, walk-forward: python benchmarks/quality.py FILE [FILE ...] [--pool FILE ...] [--database DB]

Ingests CDD files (named `<series>.csv` or `<series>__<anything>.csv`), backfills every model for the tune and test
years with the product's own code, scores them, and prints what the database then holds: CRPS and MAE against naive and
range-ewma with Diebold-Mariano p-values, coverage, PIT, per step and per year. GARCH-t is computed for comparison. With
--database a second run continues: forecasts that the database holds are not made again.

Several files are forecast by one set of networks and judged together, in memory (together.py); markets of --pool are
learnt from, judged in their first year, and shown by themselves.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import together
from numpy.typing import NDArray
from sqlalchemy import Engine, text
from tabulate import tabulate

from models import metrics
from models.accuracy import diebold_mariano
from models.candles import SeriesName
from models.forecasts import QUANTILE_LEVELS
from models.frames import CandleFrame
from models.interface import Progress
from storage.candles import read_history
from storage.database.engine import open_database
from storage.source.client import CddClient
from tasks.steps.backfill import BackfillJob, backfill
from tasks.steps.ingest import ingest_series
from tasks.steps.score import score_matured

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MODELS = ("naive", "range-ewma", "lstm", "blend")
SPANS = {"tune 2018-2020": ("2018-01-01", "2020-12-31"), "test 2021-": ("2021-01-01", "2099-12-31")}
STEPS = (1, 3, 5, 7)
SHOWN_LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def instant(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def printed_progress(model: str) -> Progress:
    printed_at = [time.monotonic()]

    def progress(done: int, total: int, doing: str) -> None:
        if time.monotonic() - printed_at[0] > 10:
            printed_at[0] = time.monotonic()
            print(f"  {model}: {doing}, {done} of {total}", flush=True)

    return progress


class Scores:
    """The stored scores of one series: for each model an array (n_origins, 7) on the origins that all models share."""

    def __init__(self, engine: Engine, series: str) -> None:
        query = text(
            "SELECT model, origin, step, crps, absolute_error, covered50, covered80, covered95, pit, actual "
            "FROM current_scores WHERE series = :series AND kind = 'backfill' ORDER BY origin, step"
        )
        with engine.connect() as conn:
            rows = conn.execute(query, {"series": series}).all()
        models = [name for name in MODELS if any(row.model == name for row in rows)]
        by_model: dict[str, dict[str, list[tuple[float, ...]]]] = {name: {} for name in models}
        for row in rows:
            by_model[row.model].setdefault(str(row.origin), []).append(tuple(row[3:]))
        shared = [
            origin
            for origin in sorted(by_model["naive"])
            if all(len(by_model[name].get(origin, ())) == 7 for name in models)
        ]
        self.origins = [datetime.fromisoformat(origin).replace(tzinfo=UTC) for origin in shared]
        self.values = {name: np.array([by_model[name][origin] for origin in shared]) for name in models}

    def field(self, model: str, name: str) -> NDArray[np.float64]:
        place = ("crps", "absolute_error", "covered50", "covered80", "covered95", "pit", "actual").index(name)
        return self.values[model][:, :, place]

    def within(self, span: tuple[str, str]) -> NDArray[np.bool_]:
        return np.array([instant(span[0]) <= origin <= instant(span[1]) for origin in self.origins])

    def judge(self, model: str, quantiles: NDArray[np.float64], candles: CandleFrame) -> None:
        """Add a model that is not in the store by its quantiles of log returns, (n_origins, 7, 23)."""
        row_of = {moment.to_pydatetime(): row for row, moment in enumerate(candles["close_time"])}
        close = candles["close"].to_numpy()[[row_of[origin] for origin in self.origins]][:, None]
        truth = self.field("naive", "actual")
        actual = np.log(truth / close)
        inside = metrics.covered(actual, quantiles)
        self.values[model] = np.stack(
            [
                metrics.crps(actual, quantiles),
                np.abs(close * np.exp(quantiles[..., QUANTILE_LEVELS.index(0.5)]) - truth),
                inside["coverage50"],
                inside["coverage80"],
                inside["coverage95"],
                metrics.pit(actual, quantiles),
                truth,
            ],
            axis=-1,
        )


def with_garch(engine: Engine, series: str, scores: Scores) -> None:
    from garch import garch_quantiles
    from peers.peer import peer

    with engine.connect() as conn:
        candles = read_history(conn, series=series).known_at()
    with peer("arch", "fit_arch.py") as arch:
        quantiles = garch_quantiles(candles, scores.origins, lambda returns: arch.ask("fit", returns=returns).found)
    scores.judge("garch-t", quantiles, candles)


def better(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    """Return by how much the first mean CRPS is better, in percent with its sign."""
    return f"{100 * (1 - ours.mean() / theirs.mean()):+.2f}"


def show(rows: list[list[object]], head: list[str]) -> None:
    print(tabulate(rows, head, "simple", disable_numparse=True))


def report(series: str, scores: Scores, published: str = "blend") -> None:
    """Print every table."""
    for name, span in SPANS.items():
        mask = scores.within(span)
        if mask.sum() >= 30:
            print(f"\n{series}, {name}: {mask.sum()} origins; CRPS of log returns x100 and % better than naive")
            show_models(scores, mask)
            print(f"\n{published} against the others: % better CRPS (p, Diebold-Mariano with HAC variance)")
            show_tests(scores, mask, published)
    print(f"\n{published}, year by year: % better CRPS than naive, then than range-ewma")
    show_years(scores, published)
    pit = scores.field(published, "pit")[scores.within(SPANS["test 2021-"])]
    print(f"\nPIT of {published}, test: share in each tenth (calibrated: 0.10)")
    shares = {step: np.histogram(pit[:, step - 1], 10, (0, 1))[0] / max(len(pit), 1) for step in (1, 3, 7)}
    show(
        [[f"h{step}", *(f"{share:.2f}" for share in by_level)] for step, by_level in shares.items()],
        ["", *(f"{tenth / 10:.1f}" for tenth in range(10))],
    )


def show_models(scores: Scores, mask: NDArray[np.bool_]) -> None:
    rows: list[list[object]] = []
    naive = scores.field("naive", "crps")[mask]
    for model in scores.values:
        crps = scores.field(model, "crps")[mask]
        row: list[object] = [model]
        for step in STEPS:
            row += [f"{100 * crps[:, step - 1].mean():.4f}", better(crps[:, step - 1], naive[:, step - 1])]
        for band in ("covered50", "covered80", "covered95"):
            row.append("/".join(f"{scores.field(model, band)[mask][:, step - 1].mean():.3f}" for step in (1, 3, 7)))
        errors, of_naive = (scores.field(name, "absolute_error")[mask].mean(0) for name in (model, "naive"))
        rows.append([*row, f"{(errors / of_naive).max():.4f}"])
    steps = [text for step in STEPS for text in (f"h{step}", "%")]
    show(rows, ["model", *steps, "cov50 h1/3/7", "cov80 h1/3/7", "cov95 h1/3/7", "MAE/naive"])


def show_tests(scores: Scores, mask: NDArray[np.bool_], published: str) -> None:
    rows: list[list[object]] = []
    for other in (name for name in scores.values if name != published):
        row: list[object] = [other]
        for step in range(1, 8):
            ours, theirs = (scores.field(name, "crps")[mask][:, step - 1] for name in (published, other))
            test = diebold_mariano(ours, theirs, step=step)
            row.append(f"{better(ours, theirs)} ({test.p_value:.3f})")
        rows.append(row)
    show(rows, ["against", *(f"h{step}" for step in range(1, 8))])


def show_years(scores: Scores, published: str) -> None:
    rows: list[list[object]] = []
    for year in sorted({origin.year for origin in scores.origins}):
        mask = np.array([origin.year == year for origin in scores.origins])
        ours, naive, base = (scores.field(name, "crps")[mask] for name in (published, "naive", "range-ewma"))
        row: list[object] = [year, int(mask.sum())]
        for other in (naive, base):
            row += [better(ours[:, step - 1], other[:, step - 1]) for step in STEPS]
        rows.append(row)
    show(rows, ["year", "n", *(f"h{step}" for step in STEPS), *(f"h{step}" for step in STEPS)])


def quantile_scores(actual: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantile score of each level, (..., 23), by scoringrules instead of by the product."""
    import scoringrules

    scored = [scoringrules.quantile_score(actual, quantiles[..., i], level) for i, level in enumerate(QUANTILE_LEVELS)]
    return np.stack(scored, axis=-1)


def stored_quantiles(engine: Engine, series: str, model: str, origins: Sequence[datetime]) -> NDArray[np.float64]:
    """Return the logarithms of what the store holds for `origins`, (n_origins, 7, 23)."""
    query = text(
        "SELECT f.origin, v.value FROM forecasts f JOIN forecast_values v ON v.forecast = f.id "
        "WHERE f.series = :series AND f.kind = 'backfill' AND f.model = :model ORDER BY f.origin, v.step, v.quantile"
    )
    wanted = set(origins)
    with engine.connect() as conn:
        stored = conn.execute(query, {"series": series, "model": model}).all()
    values = [row.value for row in stored if datetime.fromisoformat(str(row.origin)).replace(tzinfo=UTC) in wanted]
    return np.log(np.array(values).reshape(len(origins), 7, len(QUANTILE_LEVELS)))


def show_pinball(engine: Engine, series: str, scores: Scores) -> None:
    """Print the mean pinball loss by level, and compare the stored CRPS with scoringrules' quantile scores."""
    mask = scores.within(SPANS["test 2021-"])
    origins = [origin for origin, chosen in zip(scores.origins, mask, strict=True) if chosen]
    actual = np.log(scores.field("naive", "actual")[mask])
    rows: list[list[object]] = []
    largest = 0.0
    for model in (name for name in scores.values if name in MODELS):
        quantiles = stored_quantiles(engine, series, model, origins)
        losses = quantile_scores(actual, quantiles)
        crps = 2 * (losses * metrics.level_weights()).sum(axis=-1)
        largest = max(largest, float(np.abs(crps / scores.field(model, "crps")[mask] - 1).max()))
        for step in (1, 7):
            mean = losses[:, step - 1].mean(axis=0)
            rows.append(
                [model, f"h{step}", *(f"{100 * mean[QUANTILE_LEVELS.index(level)]:.4f}" for level in SHOWN_LEVELS)]
            )
    print("\npinball loss x100 by level, test years")
    show(rows, ["model", "", *(f"{level:g}" for level in SHOWN_LEVELS)])
    print(
        f"CRPS stored against 2 x the weighted quantile scores of scoringrules: {largest:.1e} apart at most (relative)"
    )


def plot(series: str, scores: Scores, folder: Path, published: str = "blend") -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    mask = scores.within(SPANS["test 2021-"])
    grid = np.linspace(0, 1, 101)
    for step in (1, 3, 7):
        pit = np.sort(scores.field(published, "pit")[mask][:, step - 1])
        left.plot(grid, np.searchsorted(pit, grid) / max(len(pit), 1), label=f"step {step}")
    left.plot(grid, grid, color="grey", linewidth=0.7)
    left.set(title=f"{series}: reliability of {published}, test years", xlabel="level", ylabel="share of truths below")
    left.legend()
    for step in (1, 7):
        gain = scores.field("naive", "crps")[:, step - 1] - scores.field(published, "crps")[:, step - 1]
        right.plot(
            scores.origins,
            100 * np.cumsum(gain) / scores.field("naive", "crps")[:, step - 1].mean(),
            label=f"step {step}",
        )
    right.axvline(instant("2021-01-01"), color="grey", linewidth=0.7)
    right.set(title="CRPS saved against naive, cumulative", ylabel="% of naive's mean CRPS, days summed")
    right.legend()
    path = folder / f"quality-{series}.png"
    figure.savefig(path, dpi=110)
    print(f"\nplot: {path}")


def prepare(engine: Engine, files: Sequence[Path]) -> list[str]:
    names = []
    for file in files:
        series = str(SeriesName.of_file(file))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"{series}.csv").write_bytes(file.read_bytes())
            print(f"{series}: {ingest_series(engine, series=series, client=CddClient(folder), now=NOW)}")
        names.append(series)
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="the markets to forecast and score")
    parser.add_argument("--pool", type=Path, nargs="*", default=[], help="further markets to learn from")
    parser.add_argument("--start", default="2018-01-01")
    parser.add_argument("--end", default="2099-12-31")
    parser.add_argument("--database", type=Path, help="keep the forecasts in this SQLite file")
    parser.add_argument("--plots", type=Path, default=Path("reports/quality"))
    parser.add_argument("--no-garch", action="store_true")
    chosen = parser.parse_args()
    if len(chosen.files) > 1:
        files, span = [*chosen.files, *chosen.pool], (instant(chosen.start), instant(chosen.end))
        markets = together.walk_forward(files, *span, printed_progress("blend"))
        together.report(markets, [together.name_of(file) for file in chosen.files])
        return
    with tempfile.TemporaryDirectory() as scratch:
        engine = open_database(f"sqlite:///{chosen.database or Path(scratch) / 'quality.db'}")
        series, *_ = prepare(engine, [*chosen.files, *chosen.pool])
        with engine.connect() as conn:
            history = read_history(conn, series=series)
        for model in MODELS:
            began = time.perf_counter()
            job = BackfillJob(series, (model,), instant(chosen.start), instant(chosen.end), NOW)
            done = backfill(engine, job, model=model, history=history, progress=printed_progress(model))
            print(f"{model}: {done.stored} of {done.origins} forecasts made in {time.perf_counter() - began:.0f} s")
        print(f"{score_matured(engine, series=series, now=NOW)} steps scored")
        scores = Scores(engine, series)
        if not chosen.no_garch:
            with_garch(engine, series, scores)
        report(series, scores)
        show_pinball(engine, series, scores)
        plot(series, scores, chosen.plots)
        engine.dispose()


if __name__ == "__main__":
    main()
