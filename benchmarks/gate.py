"""Simulate the gate and the watch over ten years of daily looks, with score differences of real markets.

    python benchmarks/gate.py FOLDER/Bitstamp_BTCUSD_d__2025-09-24.csv [more CDD files] [--runs 400]

naive and range-ewma forecast every day of the files. Runs are blocks of 60 days drawn from these scores, all steps
together, so tails, clustered volatility and dependence over days and steps are the markets'.
- noise: the gains of each step are centred, so the challenger is no better on average; or each week a coin decides
  which of both models is called the challenger.
- a model that is 2 % better: the differences are moved to that mean at step 1 and their deviations scaled to a
  standard error of .6 % of CRPS over 365 days, the published blend's.
- a good champion: range-ewma as it is. A bad one: range-ewma whose bands become five times too wide.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaln

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.accuracy import diebold_mariano
from models.candles import SeriesName
from models.evidence import (
    BETS,
    FIRST_STEP_SHARE,
    LARGEST_LOSS,
    RISKS,
    dispersion,
    distances,
    episode_value,
    is_odd,
    likelihood_ratios,
    score_range,
)
from models.gate import ALPHA, EPISODE_SHARE, ODD
from models.metrics import LEVELS, crps, pit
from models.naive import naive_quantiles
from models.range_ewma import range_ewma_quantiles
from models.volatility import ahead
from storage.source.frame import read_candle_file

YEAR, BLOCK, STEPS, QUARTER = 365, 60, 7, 91
Floats = NDArray[np.float64]
# A step (from 0) -> one value a run and day.
ByStep = Callable[[int], Floats]
LOW, HIGH = LEVELS.searchsorted([0.1, 0.9])


class Market:
    """Scores of range-ewma and naive on all days of one file: (n, 7) each."""

    def __init__(self, file: Path, widen: float = 1.0) -> None:
        candles = read_candle_file(file, series=SeriesName.parse(file.name.split("__")[0]))
        rows = np.arange(400, len(candles) - STEPS - 1)
        actual = ahead(candles, STEPS)[rows]
        rows, actual = rows[np.isfinite(actual).all(1)], actual[np.isfinite(actual).all(1)]
        ours = widen * range_ewma_quantiles(candles, rows, STEPS)
        naive = naive_quantiles(candles, rows, STEPS)
        self.naive_crps = crps(actual, naive)
        self.scale = np.stack([dispersion(ours[:, h], naive[:, h]) for h in range(STEPS)], 1)
        self.gain = (self.naive_crps - crps(actual, ours)) / self.scale
        ranges = [score_range(ours[:, h], naive[:, h]) for h in range(STEPS)]
        self.worst = np.stack([high for _, high in ranges], 1) / self.scale
        self.best = np.stack([-low for low, _ in ranges], 1) / self.scale
        places = pit(actual[:, 0], ours[:, 0])
        self.ratios = likelihood_ratios(places, ours[:, 0], naive[:, 0])
        self.distance = distances(places)
        width, naive_width = (q[:, 0, HIGH] - q[:, 0, LOW] for q in (ours, naive))
        self.odd = is_odd(width, naive_width, ODD)
        self.wide = width > naive_width


class Pool:
    """Days of all markets in one line, to draw blocks from."""

    gain: Floats
    worst: Floats
    best: Floats
    scale: Floats
    naive_crps: Floats
    ratios: Floats
    distance: NDArray[np.int64]
    odd: NDArray[np.bool_]
    wide: NDArray[np.bool_]

    def __init__(self, markets: list[Market]) -> None:
        for name in ("gain", "worst", "best", "scale", "naive_crps", "ratios", "distance", "odd", "wide"):
            setattr(self, name, np.concatenate([getattr(market, name) for market in markets]))
        ends = np.cumsum([len(market.gain) for market in markets])
        self.starts = np.concatenate(
            [np.arange(e - len(m.gain), e - BLOCK) for e, m in zip(ends, markets, strict=True)]
        )

    def draw(self, rng: np.random.Generator, runs: int, days: int) -> NDArray[np.int64]:
        """Return rows of this pool, (runs, days), in blocks of neighbouring days."""
        blocks = rng.choice(self.starts, (runs, -(-days // BLOCK)))
        return (blocks[:, :, None] + np.arange(BLOCK)).reshape(runs, -1)[:, :days]

    def errors(self) -> tuple[float, float]:
        """Return skill and its standard error over 365 days at step 1."""
        ours, naive = (self.naive_crps - self.gain * self.scale)[:, 0], self.naive_crps[:, 0]
        test = diebold_mariano(ours, naive, step=1)
        return 1 - ours.mean() / naive.mean(), test.standard_error / naive.mean() * (len(ours) / YEAR) ** 0.5

    def moved(self, skill: float, error: float) -> tuple[Floats, Floats]:
        """Return gain and worst with this skill at step 1 and this standard error; other steps are moved to no gain."""
        gain, worst = np.empty_like(self.gain), np.empty_like(self.worst)
        stretch = error / self.errors()[1]
        for h in range(STEPS):
            mean = (self.gain * self.scale)[:, h].sum() / self.scale[:, h].sum()
            add = (skill if h == 0 else 0.0) * self.naive_crps[:, h].sum() / self.scale[:, h].sum()
            gain[:, h] = (self.gain[:, h] - mean) * stretch + add
            worst[:, h] = np.maximum((self.worst[:, h] + mean) * stretch - add, 0)
        return gain, worst


def paths(gain: ByStep, worst: ByStep, days: int, *, restarts: bool = False, risks: bool = False) -> Floats:
    """Return the value over all steps at each day: (runs, days); what `models.evidence` works out for the last day.

    `gain`, `worst`: functions of a step that return (runs, days). Origins count once their close has come.
    """
    total = np.zeros((len(gain(0)), days))
    for h in range(STEPS):
        step, g, w = h + 1, gain(h), worst(h)
        values = np.zeros((len(g), step, len(BETS)))
        kept = np.ones((len(g), step, len(BETS)))
        share, weight = 1.0, FIRST_STEP_SHARE if h == 0 else (1 - FIRST_STEP_SHARE) / (STEPS - 1)
        for day in range(days):
            if day >= h:
                origin = day - h
                number = origin // QUARTER + 1
                if origin % QUARTER == 0 and (restarts or number == 1):
                    start = 1 / (number * (number + 1)) if restarts else 1.0
                    values += start
                    share -= start
                largest = np.maximum(w[:, origin, None], 1e-12)
                bet = RISKS / largest if risks else np.minimum(BETS, LARGEST_LOSS / largest)
                values[:, origin % step] = np.minimum(values[:, origin % step] * (1 + bet * g[:, origin, None]), 1e100)
                kept[:, origin % step] = 1 - bet * w[:, origin, None]
            if day % 100 == 0:
                # Denormal numbers would make everything after them slow.
                values[values < 1e-100] = 0.0
            total[:, day] += weight * ((values * kept if step > 1 else values).mean((1, 2)) + share)
    return total


def both(gain: ByStep, worst: ByStep, days: int, *, restarts: bool = False) -> Floats:
    """Return the gate's value: the smaller one of both kinds of bets, step by step in the product and here in all."""
    return np.minimum(
        paths(gain, worst, days, restarts=restarts), paths(gain, worst, days, restarts=restarts, risks=True)
    )


def bernstein(gain: ByStep, days: int, bound: float) -> Floats:
    """Return Choe and Ramdas's (2023) e-process at step 1, as comparecast computes it, for gains clipped to a bound.

    The gamma-exponential mixture of Howard et al. (2021) over empirical-Bernstein bounds.
    """
    x = np.clip(gain(0)[:, :days] / bound, -1, 1) / 2
    means = np.cumsum(x, 1) / np.arange(1, days + 1)
    predicted = np.concatenate([np.zeros((len(x), 1)), means[:, :-1]], 1)
    sums, v, c, v_opt = np.cumsum(x, 1), np.cumsum((x - predicted) ** 2, 1), 1.0, 10.0
    odds = 2 * np.log(1 / (2 * ALPHA))
    rho = v_opt / (odds + np.log1p(odds)) / c**2
    place = (c * sums + v) / c**2 + rho
    lead = rho * np.log(rho) - gammaln(rho) - np.log(gammainc(rho, rho))
    safe = np.maximum(place, 1e-8)
    a = v / c**2 + rho
    log_e = lead + gammaln(a) + np.log(np.maximum(gammainc(a, safe), 1e-300)) - a * np.log(safe) + safe - rho
    return np.exp(np.where(place > 0, log_e, -50))


def fixed_level(gain: ByStep, looks: Sequence[int]) -> NDArray[np.bool_]:
    """Return at which looks the best of the old gate's tests at step 1 has p < .0005 on the last 365 days."""
    passed = np.zeros((len(gain(0)), len(looks)), bool)
    for run, values in enumerate(gain(0)):
        for i, day in enumerate(looks):
            test = diebold_mariano(-values[day - YEAR : day], np.zeros(YEAR), step=1)
            passed[run, i] = test.mean_difference < 0 and test.p_value / 2 < 0.0005
    return passed


def watched(gain: ByStep, best: ByStep, bands: Sequence[NDArray[Any]], days: int, *, first: int = 0) -> Floats:
    """Return the watch's value at each day from `first` on: (runs, days - first).

    `bands`: ratios, distances, odd, wide, (runs, days) each.
    """
    worse = both(lambda h: -gain(h), best, days, restarts=True)
    episodes = np.ones((len(worse), days))
    for run, of_run in enumerate(zip(*bands, strict=True)):
        odd = of_run[2]
        if not odd.any():
            continue
        for day in range(max(first, int(odd.argmax())), days):
            episodes[run, day] = episode_value(*(values[: day + 1] for values in of_run))
    return (EPISODE_SHARE * episodes + (1 - EPISODE_SHARE) * worse)[:, first:]


def show_watch(files: Sequence[Path], pool: Pool, runs: int) -> None:
    """Print how often a good champion is demoted, and how soon one whose bands become five times too wide."""
    need, ten, rng = 1 / ALPHA, 13 * YEAR, np.random.default_rng(1)
    days = pool.draw(rng, runs, ten)
    bands = [pool.ratios[days], pool.distance[days], pool.odd[days], pool.wide[days]]
    good = watched(lambda h: pool.gain[days, h], lambda h: pool.best[days, h], bands, ten)
    print(f"a good champion is demoted within ten years {(good[:, 3 * YEAR :].max(1) >= need).mean():.1%}", flush=True)

    wide = Pool([Market(file, 5.0) for file in files])
    days = pool.draw(rng, runs, 3 * YEAR + BLOCK)
    broken = np.arange(3 * YEAR + BLOCK) >= 3 * YEAR
    odd = np.where(broken, wide.odd[days], pool.odd[days])
    odd[:, 3 * YEAR] = True
    values = watched(
        lambda h: np.where(broken, wide.gain[days, h], pool.gain[days, h]),
        lambda h: np.where(broken, wide.best[days, h], pool.best[days, h]),
        [
            np.where(broken, wide.ratios[days], pool.ratios[days]),
            np.where(broken, wide.distance[days], pool.distance[days]),
            odd,
            np.where(broken, wide.wide[days], pool.wide[days]),
        ],
        3 * YEAR + BLOCK,
        first=3 * YEAR,
    )
    hit = values >= need
    took = np.where(hit.any(1), hit.argmax(1) + 1, 999)
    print(
        f"bands become five times too wide: demoted within 7 scored days {(took <= 7).mean():.1%}, 10 "
        f"{(took <= 10).mean():.1%}, 14 {(took <= 14).mean():.1%}; median {np.median(took):.0f}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--watch-only", action="store_true", help="leave the gate out")
    args = parser.parse_args()
    runs, rng = args.runs, np.random.default_rng(0)
    pool = Pool([Market(file) for file in args.files])
    skill, error = pool.errors()
    print(f"{len(pool.gain)} days; range-ewma {skill:+.2%} at step 1, standard error over 365 days {error:.2%}")
    if args.watch_only:
        show_watch(args.files, pool, runs)
        return
    need = 1 / ALPHA
    bound = np.quantile(np.abs(pool.gain[:, 0]), 0.99)

    ten = 13 * YEAR
    days = pool.draw(rng, runs, ten)
    coin = np.repeat(rng.random((runs, ten // 7 + 1)) < 0.5, 7, 1)[:, :ten]
    means = pool.gain.mean(0)

    def centred(h: int) -> Floats:
        return pool.gain[days, h] - means[h]

    def centred_worst(h: int) -> Floats:
        return np.maximum(pool.worst[days, h] + means[h], 0)

    def tossed(h: int) -> Floats:
        return np.where(coin, 1, -1) * pool.gain[days, h]

    def tossed_worst(h: int) -> Floats:
        return np.where(coin, pool.worst[days, h], pool.best[days, h])

    def ever(values: Floats) -> str:
        return f"{(values[:, 3 * YEAR :].max(1) >= need).mean():.1%}"

    few = min(runs, 100)
    looks = range(3 * YEAR, ten, 7)
    for name, noise, worst in (("centred gains", centred, centred_worst), ("a coin a week", tossed, tossed_worst)):
        print(f"pure noise ({name}) takes over within ten years of daily looks, after three years of history")
        dispersed, risked = paths(noise, worst, ten), paths(noise, worst, ten, risks=True)
        print("  the gate: the smaller one of both kinds of bets", ever(np.minimum(dispersed, risked)))
        print("  bets in shares of the dispersion alone", ever(dispersed))
        print("  bets in shares of the largest loss alone", ever(risked))
        print("  the gate with new starts each quarter", ever(both(noise, worst, ten, restarts=True)))
        print("  empirical Bernstein mixture (Choe and Ramdas), step 1", ever(bernstein(noise, ten, bound)))
        old = fixed_level(lambda h, noise=noise: noise(h)[:few], looks).any(1).mean()
        print(f"  fixed level .0005 on 365 days, step 1, weekly looks, {few} runs {old:.1%}", flush=True)

    for name, real_error in (("the blend's standard error of .60 %", 0.006), ("range-ewma's own", error)):
        gain, worst = pool.moved(0.02, real_error)
        days = pool.draw(rng, runs, 3 * YEAR)

        def better(h: int, gain: Floats = gain, days: NDArray[np.int64] = days) -> Floats:
            return gain[days, h]

        def better_worst(h: int, worst: Floats = worst, days: NDArray[np.int64] = days) -> Floats:
            return worst[days, h]

        print(f"a model 2 % better at step 1 and no better at the others, {name}: takes over")
        for label, values in (
            ("the gate", both(better, better_worst, 3 * YEAR)),
            ("dispersion", paths(better, better_worst, 3 * YEAR)),
            ("largest loss", paths(better, better_worst, 3 * YEAR, risks=True)),
            ("Bernstein", bernstein(better, 3 * YEAR, bound)),
        ):
            first = (values[:, -1] >= need).mean()
            year = (values[:, YEAR : 2 * YEAR].max(1) >= need).mean()
            print(f"  {label}: first day with three years {first:.1%}; within a year with one year {year:.1%}")
        old = fixed_level(better, [3 * YEAR])[:, 0].mean()
        print(f"  fixed level .0005 on 365 days: first day {old:.1%}")
    show_watch(args.files, pool, runs)


if __name__ == "__main__":
    main()
