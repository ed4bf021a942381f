"""Many markets as one model: python benchmarks/peers/markets.py FILE FILE ... [--keep DIR]

Every model forecasts the same origins of the same markets (daily files of different coins) from the same candles. The
networks of candlecast, neuralforecast and darts each learn from all the markets as one model and are trained anew at
each year's start; statsforecast's AutoETS and AutoTheta are fitted to each market at every tenth of the origins.
Markets move together, so the scores of a day are added up over the markets and the days are tested. No model is tuned
here. Forecasts are kept in DIR, and a run that was stopped continues there.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from peer import heading, kept, no_whole_weeks, peer, table, timed

if TYPE_CHECKING:
    from models.frames import CandleFrame
    from models.interface import TrainedModel

HORIZON, STEPS = 7, (1, 3, 7)
# The default of neuralforecast.
WINDOWS = 128
NETWORKS = ("neuralforecast", "LSTM"), ("darts", "BlockRNNModel")
AUTOMATIC = ("AutoETS", "AutoTheta")
# Every SPARSEth origin is forecast by the automatic models, which are fitted anew for each market and origin.
SPARSE = 10

Array = NDArray[np.float64]


class ModelForecasts(NamedTuple):
    """The forecasts of one model."""

    quantiles: Array
    """(n_markets, n_origins, 7, 23) of log returns; NaN where it made none."""
    training_cpu: float | None


class Markets(NamedTuple):
    """The candles of all markets, their closes on the days that any of them has, and the origins."""

    candles: "dict[str, CandleFrame]"
    log_closes: list[list[float | None]]
    """By market and day, the last one repeated where a day is missing, None before the first."""
    origins: list[datetime]
    days: list[int]
    """(n_origins,): the number of each origin's day."""

    def at(self, cutoffs: Sequence[datetime]) -> dict[datetime, slice]:
        """Return which origins are forecast by the model of each cutoff."""
        firsts = [sum(origin < cutoff for origin in self.origins) for cutoff in cutoffs]
        return {
            cutoff: slice(first, after)
            for cutoff, first, after in zip(cutoffs, firsts, [*firsts[1:], len(self.origins)], strict=True)
        }

    def day(self, moment: datetime) -> int:
        return self.days[0] + (moment - self.origins[0]).days


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="daily candles, named as CryptoDataDownload names them")
    parser.add_argument("--start", default="2021-01-01")
    parser.add_argument("--end", default="2025-06-30")
    parser.add_argument("--stride", type=no_whole_weeks, default=10, help="days between origins, not a multiple of 7")
    parser.add_argument("--keep", type=Path, help="keep the forecasts in this folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        markets = read(chosen.files, chosen.start, chosen.end, chosen.stride)
        print(f"{len(markets.candles)} markets, {len(markets.origins)} origins: {', '.join(markets.candles)}")
        of = [list(markets.candles), [origin.isoformat() for origin in markets.origins]]
        if kept(folder / "of.json", lambda: of) != of:
            raise SystemExit(f"{folder} holds forecasts of other markets or origins")
        forecasts = ours(markets, folder) | theirs(markets, folder)
    print(heading("neuralforecast", "darts", "statsforecast"))
    report(markets, forecasts, chosen.stride)


def read(files: Sequence[Path], start: str, end: str, stride: int) -> Markets:
    """Return the markets, with every `stride`th day as an origin; a day that a market lacks is no origin."""
    import pandas as pd

    from benchmarks.quality import instant
    from benchmarks.walkforward import candles_of
    from models.candles import SeriesName

    candles = {str(SeriesName.of_file(file)): candles_of(file) for file in files}
    if len(candles) < len(files):
        raise SystemExit("two files of one series")
    by_market = {name: frame.set_index("close_time")["close"] for name, frame in candles.items()}
    closes = pd.concat(by_market, axis=1, sort=True)
    whole = closes.notna().all(axis=1)
    closes = closes.asfreq("D")
    first, last = instant(start), instant(end)
    wanted = [first + timedelta(days=number) for number in range(0, (last - first).days + 1, stride)]
    beyond = min(frame["close_time"].iloc[-1] for frame in candles.values()) - timedelta(days=HORIZON)
    origins = [day for day in wanted if day <= beyond and whole.get(day, False)]
    days = [int(closes.index.get_loc(origin)) for origin in origins]
    logs = np.log(closes.ffill().to_numpy(float).T)
    return Markets(
        candles, [[None if np.isnan(value) else value for value in row] for row in logs.tolist()], origins, days
    )


def years(origins: Sequence[datetime]) -> list[datetime]:
    """Return the starts of the years that hold `origins`, in time order."""
    return sorted({datetime(day.year, 1, 1, tzinfo=day.tzinfo) for day in origins})


def ours(markets: Markets, folder: Path) -> dict[str, ModelForecasts]:
    """Return the forecasts of candlecast's models, made in memory by the functions that its backfill calls."""
    from benchmarks.quality import printed_progress
    from models.catalog import forecaster
    from models.interface import TrainRequest

    cutoffs = years(markets.origins)

    def quantiles_of(model: str, trained: "Sequence[TrainedModel]") -> list[object]:
        returns = []
        for frame in markets.candles.values():
            of_model, parts = forecaster(model), []
            for version, part in zip(trained, markets.at(cutoffs).values(), strict=True):
                parts += of_model.forecast(version, frame, markets.origins[part], HORIZON)
            closes = frame.set_index("close_time")["close"].loc[markets.origins].to_numpy()
            returns.append(np.log(np.array([one.values for one in parts]) / closes[:, None, None]))
        return np.array(returns).tolist()

    def learning() -> dict[str, object]:
        requests = [TrainRequest(markets.candles, cutoff) for cutoff in cutoffs]
        trained = timed(lambda: forecaster("blend").train(requests, printed_progress("blend")))
        return {
            "blend": quantiles_of("blend", trained.result),
            "lstm": quantiles_of("lstm", [networks_of(one) for one in trained.result]),
            "training_cpu": trained.cpu,
        }

    def fixed() -> dict[str, object]:
        forecasts = {}
        for model in ("naive", "range-ewma"):
            (version,) = forecaster(model).train([TrainRequest({}, cutoffs[0])])
            forecasts[model] = quantiles_of(model, [version] * len(cutoffs))
        return forecasts

    learnt, bases = kept(folder / "blend.json", learning), kept(folder / "bases.json", fixed)
    forecasts = {model: ModelForecasts(np.array(bases[model]), None) for model in bases}
    forecasts["lstm"] = ModelForecasts(np.array(learnt["lstm"]), None)
    forecasts["blend"] = ModelForecasts(np.array(learnt["blend"]), learnt["training_cpu"])
    return forecasts


def networks_of(blend: "TrainedModel") -> "TrainedModel":
    """Return the networks of a trained blend, which are those that `lstm` has for the same candles and seed."""
    from models.lstm.network import WEIGHT_NAMES

    weights = {name: blend.weights[name] for name in WEIGHT_NAMES}
    return replace(blend, model="lstm", config=blend.config["lstm"], weights=weights)


def theirs(markets: Markets, folder: Path) -> dict[str, ModelForecasts]:
    from models.forecasts import QUANTILE_LEVELS

    forecasts = {}
    common = {"levels": QUANTILE_LEVELS, "horizon": HORIZON}
    for name, model in NETWORKS:
        with peer(name, f"forecast_{name}.py") as worker:
            parts = [
                kept(
                    folder / f"{name}-{cutoff:%Y}.json",
                    lambda worker=worker, cutoff=cutoff, part=part: worker.ask(
                        "forecast", known=markets.day(cutoff) + 1, markets=markets.log_closes,
                        origins=markets.days[part], windows=WINDOWS, **common,
                    ).result,
                )
                for cutoff, part in markets.at(years(markets.origins)).items()
            ]  # fmt: skip
        quantiles = np.concatenate([np.array(part["quantiles"]) for part in parts], axis=1)
        forecasts[f"{name} {model}"] = ModelForecasts(quantiles, sum(part["training_cpu"] for part in parts))
    for model in AUTOMATIC:
        quantiles = np.full_like(next(iter(forecasts.values())).quantiles, np.nan)
        with peer("statsforecast", "forecast_statsforecast.py") as worker:
            cpu = 0.0
            for number, (name, closes) in enumerate(zip(markets.candles, markets.log_closes, strict=True)):
                known = [value for value in closes if value is not None]
                rows = [day - len(closes) + len(known) for day in markets.days[::SPARSE]]

                def fitted(rows: list[int] = rows, known: list[float] = known) -> dict[str, object]:
                    cost = worker.ask("forecast", model=model, log_close=known, origins=rows, **common)  # noqa: B023
                    return {"quantiles": cost.result, "training_cpu": cost.cpu}

                one = kept(folder / f"{model}-{name}.json", fitted)
                quantiles[number, ::SPARSE] = one["quantiles"]
                cpu += one["training_cpu"]
        forecasts[f"statsforecast {model}"] = ModelForecasts(quantiles, cpu)
    return forecasts


def report(markets: Markets, forecasts: dict[str, ModelForecasts], stride: int) -> None:
    """Print every model beside naive, the blend beside every model, and the cost of the trainings."""
    from benchmarks.quality import better
    from models import metrics
    from models.accuracy import diebold_mariano
    from models.volatility import ahead

    # A day that one market lacks has no actual; no model is judged there.
    actual = np.array(
        [ahead(frame, HORIZON)[frame["close_time"].searchsorted(markets.origins)] for frame in markets.candles.values()]
    )
    crps = {model: metrics.crps(actual, forecast.quantiles) for model, forecast in forecasts.items()}
    held = {
        model: np.where(np.isnan(crps[model]), np.nan, metrics.covered(actual, forecast.quantiles)["coverage80"])
        for model, forecast in forecasts.items()
    }

    def beside(model: str, other: str, step: int) -> list[str]:
        """Return the gain with its p-value, and in how many markets it is one."""
        if model == other:
            return ["-", "-"]
        mine, its = (crps[name][:, :, step - 1] for name in (model, other))
        both = ~np.isnan(mine) & ~np.isnan(its)
        mine, its = (np.where(both, values, 0.0) for values in (mine, its))
        days = both.any(axis=0)
        test = diebold_mariano(mine.sum(axis=0)[days], its.sum(axis=0)[days], step=1 + (step - 1) // stride)
        won = int((mine.sum(axis=1) < its.sum(axis=1)).sum())
        return [f"{better(mine, its)} ({test.p_value:.3f})", f"{won} of {len(mine)}"]

    def row(model: str, other: str) -> list[str]:
        return [cell for step in STEPS for cell in beside(model, other, step)]

    rows, tests = [], []
    for model in forecasts:
        means = " / ".join(f"{100 * np.nanmean(crps[model][:, :, step - 1]):.3f}" for step in STEPS)
        bands = "/".join(f"{np.nanmean(held[model][:, :, step - 1]):.3f}" for step in STEPS)
        n_days = int((~np.isnan(crps[model]).all(axis=(0, 2))).sum())
        rows.append([model, n_days, means, *row(model, "naive"), bands])
        tests.append([model, *row("blend", model)])
    head = [text for step in STEPS for text in (f"step {step}", "coins")]
    print(
        f"\n{len(markets.candles)} markets, every {stride} days from {markets.origins[0]:%Y-%m-%d} to "
        f"{markets.origins[-1]:%Y-%m-%d}: {len(markets.origins)} origins, {int((~np.isnan(actual[..., 0])).sum())} "
        "forecasts of step 1"
    )
    print("\n% better CRPS than naive (p, Diebold-Mariano on the sums of each day); coins in which it is better\n")
    print(table(["model", "days", "CRPS x100", *head, "80 % band"], rows))
    print("\nblend beside each: % better CRPS (p); coins in which blend is better\n")
    print(table(["against", *head], tests))
    print("\nCPU seconds of all trainings, and relative to blend's\n")
    own = forecasts["blend"].training_cpu
    costs = {model: forecast.training_cpu for model, forecast in forecasts.items() if forecast.training_cpu is not None}
    print(table(["", "CPU s", "blend's is 1"], [[m, f"{cpu:.0f}", f"{cpu / own:.2f}"] for m, cpu in costs.items()]))


if __name__ == "__main__":
    main()
