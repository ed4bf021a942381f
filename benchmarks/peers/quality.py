"""Forecast quality beside statsforecast, arch and neuralforecast: python benchmarks/peers/quality.py FILE [--keep DIR]

Every model forecasts the same origins, every fifth day of the test years (2021-), from the same candles of one market:
the product's by its own backfill, statsforecast's AutoETS and AutoTheta refitted at each origin, GARCH(1,1)-t and
neuralforecast's LSTM refitted at each quarter's start as the product's are. All are scored by the product's metrics,
which are compared with scoringrules. No model is tuned here. Forecasts are kept in DIR, and a run that was stopped
continues there. For the forecasts of 345 origins the slowest peer needs about twenty minutes.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from peer import heading, kept, no_whole_weeks, peer, table

if TYPE_CHECKING:
    from benchmarks.quality import Scores

HORIZON = 7
STEPS = (1, 3, 7)
# Windows in each step of neuralforecast's training, as in candlecast's.
WINDOWS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="daily candles, named as CryptoDataDownload names them")
    parser.add_argument("--stride", type=no_whole_weeks, default=5, help="days between origins, not a multiple of 7")
    parser.add_argument("--keep", type=Path, help="keep database and peers' forecasts in this folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(chosen.file, stride=chosen.stride, folder=chosen.keep or Path(scratch))


def measure(file: Path, *, stride: int, folder: Path) -> None:
    from benchmarks import quality
    from benchmarks.garch import garch_quantiles
    from models.forecasts import QUANTILE_LEVELS
    from models.schedule import by_quarter
    from storage.candles import read_history
    from storage.database.engine import open_database
    from tasks.steps.backfill import BackfillJob, backfill, possible_origins
    from tasks.steps.score import score_matured

    folder.mkdir(parents=True, exist_ok=True)
    engine = open_database(f"sqlite:///{folder / 'quality.db'}")
    (series,) = quality.prepare(engine, [file])
    start, end = (quality.instant(day) for day in quality.SPANS["test 2021-"])
    with engine.connect() as conn:
        history = read_history(conn, series=series)
    candles = history.known_at()
    closed = [moment.to_pydatetime() for moment in candles["close_time"]]
    # The last origins do not have an actual close for every step yet.
    origins = possible_origins(closed, model="lstm", start=start, end=end)[:-HORIZON:stride]
    job = BackfillJob(series, quality.MODELS, start, end, quality.NOW, horizon=HORIZON)
    for model in quality.MODELS:
        backfill(engine, job, model=model, history=history, origins=origins, progress=quality.printed_progress(model))
    score_matured(engine, series=series, now=quality.NOW)
    scores = quality.Scores(engine, series)
    log_close = np.log(candles["close"].to_numpy())

    common = {"levels": QUANTILE_LEVELS, "horizon": HORIZON}

    def quantiles_of(
        name: str, quarter: datetime, group: list[datetime], ask: Callable[[list[int]], list[object]]
    ) -> list[object]:
        rows = [closed.index(origin) for origin in group]
        return kept(folder / f"{name}-{stride}-{quarter:%Y-%m}.json", lambda: ask(rows))

    def automatic(model: str) -> Callable[[list[int]], list[object]]:
        return lambda rows: (
            statsforecast.ask("forecast", model=model, log_close=log_close.tolist(), origins=rows, **common).result
        )

    def network(quarter: datetime) -> Callable[[list[int]], list[object]]:
        known = sum(moment <= quarter for moment in closed)
        return lambda rows: neuralforecast.ask(
            "forecast", known=known, markets=[log_close.tolist()], origins=rows, windows=WINDOWS, **common
        ).result["quantiles"][0]

    peers: dict[str, NDArray[np.float64]] = {}
    with ExitStack() as stack:
        arch, statsforecast, neuralforecast = (
            stack.enter_context(peer(name, f"{script}.py"))
            for name, script in (
                ("arch", "fit_arch"),
                ("statsforecast", "forecast_statsforecast"),
                ("neuralforecast", "forecast_neuralforecast"),
            )
        )
        peers["arch GARCH(1,1)-t"] = garch_quantiles(
            candles, scores.origins, lambda returns: arch.ask("fit", returns=returns).result
        )
        quarters = by_quarter(scores.origins)
        for name in ("AutoETS", "AutoTheta"):
            by_quarters = [quantiles_of(name, *quarter, automatic(name)) for quarter in quarters.items()]
            peers[f"statsforecast {name}"] = np.concatenate(by_quarters)
        by_quarters = [quantiles_of("LSTM", start, group, network(start)) for start, group in quarters.items()]
        peers["neuralforecast LSTM"] = np.concatenate(by_quarters)
    close = log_close[[closed.index(origin) for origin in scores.origins]][:, None, None]
    quantiles = {
        model: quality.stored_quantiles(engine, series, model, scores.origins) - close for model in scores.values
    } | peers
    engine.dispose()
    for name, values in peers.items():
        scores.judge(name, values, candles)
    print(heading("statsforecast", "arch", "neuralforecast"))
    print(
        f"\n{series}: {len(scores.origins)} origins, every {stride} days from {scores.origins[0]:%Y-%m-%d} to "
        f"{scores.origins[-1]:%Y-%m-%d}"
    )
    report(scores, stride)
    actual = np.log(scores.field("naive", "actual")) - close[..., 0]
    apart = [np.abs(by_scoringrules(actual, quantiles[model]) / scores.field(model, "crps") - 1) for model in quantiles]
    print(f"\nCRPS by scoringrules' quantile scores: {np.max(apart):.1e} apart at most (relative)")


def by_scoringrules(actual: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    from benchmarks.quality import quantile_scores
    from models.metrics import level_weights

    return 2 * (quantile_scores(actual, quantiles) * level_weights()).sum(axis=-1)


def report(scores: "Scores", stride: int) -> None:
    """Print every model beside naive, and the blend beside every model."""
    from benchmarks import quality
    from models.accuracy import diebold_mariano

    def beside(model: str, other: str, step: int) -> str:
        mine, its = (scores.field(name, "crps")[:, step - 1] for name in (model, other))
        if model == other:
            return "-"
        # Sums over `step` days overlap in this many neighbouring origins.
        test = diebold_mariano(mine, its, step=1 + (step - 1) // stride)
        return f"{quality.better(mine, its)} ({test.p_value:.3f})"

    def means(model: str, field: str) -> list[str]:
        return [f"{scores.field(model, field)[:, step - 1].mean():.3f}" for step in STEPS]

    rows, tests = [], []
    for model in scores.values:
        crps = [f"{100 * scores.field(model, 'crps')[:, step - 1].mean():.4f}" for step in STEPS]
        rows.append(
            [model, " / ".join(crps), *(beside(model, "naive", step) for step in STEPS),
             "/".join(means(model, "covered80")), "/".join(means(model, "covered95"))]
        )  # fmt: skip
        tests.append([model, *(beside("blend", model, step) for step in STEPS)])
    steps = [f"step {step}" for step in STEPS]
    print("\nCRPS of log returns x100 at steps 1/3/7; % better than naive (p, Diebold-Mariano with HAC); coverage\n")
    print(table(["model", "CRPS", *steps, "80 % band", "95 % band"], rows))
    print("\nblend beside each: % better CRPS (p)\n")
    print(table(["against", *steps], tests))


if __name__ == "__main__":
    main()
