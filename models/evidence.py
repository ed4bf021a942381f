"""Evidence that one model's scores are better than another's, valid however often and however long people look.

The evidence is an e-process. Where the first model is no better on average, the chance that its value ever reaches
1 / alpha is at most alpha (Ville, 1939), whenever people look and whenever they stop. See docs/decisions/0004-gate.md.

One bet a day. The gain of a day is the CRPS of the second model minus that of the first. Both forecasts are known
before the actual close, and the CRPS is piecewise linear in the close, so the least possible gain is known as well:
`worst`. A bet of `b` multiplies the value by `1 + b * gain`. It stays positive because `b` is never above
`LARGEST_LOSS / worst`, whatever the market does: no assumption about tails is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.forecasts import QUANTILE_LEVELS
from models.metrics import LEVELS, crps

Floats = NDArray[np.float64]

# Sizes of the bets, in shares of the narrower forecast's dispersion; the value is the mean over them. Real gains of 2 %
# grow fastest near 2 to 3; the small ones are for steps whose gains come rarely (benchmarks/gate.py).
BETS = np.array([0.5, 1.0, 2.0, 3.0])
# The same in shares of the largest loss possible. A model has to win with both kinds: equal models differ for weeks at
# a time, and each kind alone believes other spells.
RISKS = np.array([0.05, 0.1, 0.2, 0.3])
# The largest share of the value that one bet can lose.
LARGEST_LOSS = 0.9
# The share of step 1 in the value over all steps; the others divide the rest equally.
FIRST_STEP_SHARE = 0.5
# No value is kept above this, so that no product overflows.
LARGEST_VALUE = 1e100
# Shares of the money of the first, second, ... episode of odd bands: FIRST_EPISODE of what is left each time.
FIRST_EPISODE = 0.9
# An episode of bands that are too wide has this many days to show it, and this share of the episode's money bets that
# closes stay near the middle so long.
WINDOW = 7
WINDOW_SHARE = 0.75
# The chance that the closes of right bands stay so near: the first episode's window then reaches 20 by itself in a
# watch that has 80 % of its money on episodes.
WINDOW_CHANCE = 0.027
# The share of the champion's own probabilities in what its closes are bet on, so that no single close ruins a bet.
OWN_SHARE = 0.03
TINY = 1e-12
# How many days `score_range` works out at once: their 46 x 23 losses fit a processor's cache.
_AT_ONCE = 32


@dataclass(frozen=True)
class Gains:
    """What one model gained over another at one step, one value an origin, in time order.

    `slot` is the origin counted in candles and `period` the calendar quarter, both integers that never fall. `gain`
    is in shares of the narrower forecast's dispersion, `worst` the largest loss possible in the same unit.
    """

    slot: NDArray[np.int64]
    period: NDArray[np.int64]
    gain: Floats
    worst: Floats


def score_range(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return the least and the largest CRPS of `first` minus that of `second` over all possible actual values.

    `first`, `second`: (n, 23) quantiles. Outside the outermost quantiles of both the difference is constant, and
    between neighbouring quantiles it is linear, so its extremes are at the quantiles.
    """
    low, high = np.empty(len(first)), np.empty(len(first))
    for begin in range(0, len(first), _AT_ONCE):
        rows = slice(begin, begin + _AT_ONCE)
        knots = np.concatenate([first[rows], second[rows]], axis=-1)
        difference = crps(knots, first[rows, None, :]) - crps(knots, second[rows, None, :])
        low[rows], high[rows] = difference.min(axis=-1), difference.max(axis=-1)
    return low, high


def dispersion(first: Floats, second: Floats) -> Floats:
    """Return the mean distance of the quantiles from their median, of the narrower forecast: (n,) for (n, 23).

    With the mean of both, days on which one forecast is absurdly wide would hardly count: measured, a model that was
    16 % worse than naive because of such days would have taken over.
    """
    middle = QUANTILE_LEVELS.index(0.5)
    spread = [np.abs(q - q[:, middle : middle + 1]).mean(axis=-1) for q in (first, second)]
    return np.asarray(np.maximum(np.minimum(*spread), TINY))


def e_value(gains: Gains, step: int, *, restarts: bool = False) -> float:
    """Return the value of the bets that the first model gains at `step`, after the last origin.

    With `restarts` bets begin anew in each calendar quarter with a share of the money, so that years of good scores do
    not hide that a model has become bad: the first start has 1/2, the next 1/6, then 1/12, and so on, 1 in all.

    Forecasts of `step` candles overlap. As in Arnold, Henzi and Ziegel (2023), origins `step` candles apart are one
    sequence of bets, and the value is the mean over the sequences. A bet is open until its close has come, and part
    of its outcome is known before; counting each open bet as lost keeps the bound for people who look in between.
    The smaller value of both kinds of bets, BETS and RISKS, counts.
    """
    worst = np.maximum(gains.worst, TINY)[:, None]
    bets = np.concatenate([np.minimum(BETS, LARGEST_LOSS / worst), RISKS / worst], axis=1)
    starts = _starts(gains.period, restarts=restarts)
    values = _values(gains, bets, step, starts)
    kinds = (values[:, : len(BETS)], values[:, len(BETS) :])
    # Copied, so that the mean adds in the same order whichever kind comes first.
    return min(float(kind.copy().mean()) for kind in kinds) + 1 - sum(starts)


def _values(gains: Gains, bets: Floats, step: int, starts: Sequence[float]) -> Floats:
    """Return the money of each sequence and size of bet after the last origin: (step, n_bets).

    `bets`: (n, n_bets) sizes.
    """
    # A gain is never below -worst; a stored score that contradicts its forecast loses no more than a bet may.
    factors = np.maximum(1 + bets * gains.gain[:, None], 1 - LARGEST_LOSS)
    # The rest of a sequence's money while its newest bet is open: without as much as that one could lose.
    left = 1 - bets * gains.worst[:, None]
    values = np.zeros((step, bets.shape[1]))
    kept = np.ones((step, bets.shape[1]))
    for i, sequence in enumerate((gains.slot % step).tolist()):
        values += starts[i]
        values[sequence] = np.minimum(values[sequence] * factors[i], LARGEST_VALUE)
        kept[sequence] = left[i]
    return values * kept if step > 1 else values


def _starts(period: NDArray[np.int64], *, restarts: bool) -> list[float]:
    """Return the share of the money that starts with each origin: all at the first, or 1 / (k (k + 1)) in quarter k."""
    starts = np.zeros(len(period))
    first = np.flatnonzero(np.diff(period, prepend=-1))
    if not restarts:
        starts[:1] = 1.0
    else:
        number = np.arange(1, len(first) + 1)
        starts[first] = 1 / (number * (number + 1))
    return [float(share) for share in starts]


def combined(values: dict[int, float]) -> float:
    """Return the value over all steps, itself valid at any time: step 1 has half of the money, the others the rest."""
    if len(values) == 1:
        return next(iter(values.values()))
    first = min(values)
    others = [value for step, value in values.items() if step != first]
    return FIRST_STEP_SHARE * values[first] + (1 - FIRST_STEP_SHARE) * sum(others) / len(others)


# --- bands that suddenly change ----------------------------------------------------------------------------------


def likelihood_ratios(pit: Floats, champion: Floats, baseline: Floats) -> Floats:
    """Return how much likelier each actual close was under the baseline than under the champion: (n,).

    The champion gives each interval between its own neighbouring quantiles its nominal probability; the baseline's is
    read from its distribution. Where the champion's distribution is right, the expected ratio is 1, so the product is
    an e-process (Arnold, Henzi and Ziegel, 2023, bet on the same transform). `pit`: (n,) where the closes fell in the
    champion's distribution; `champion`, `baseline`: (n, 23) quantiles.
    """
    nominal = np.diff(np.concatenate([[0.0], LEVELS, [1.0]]))
    places = np.searchsorted(LEVELS, pit, side="right")
    ratios = np.empty(len(pit))
    for i, place in enumerate(places.tolist()):
        edges = np.concatenate([[0.0], _distribution(champion[i], baseline[i]), [1.0]])
        ratios[i] = (1 - OWN_SHARE) * (edges[place + 1] - edges[place]) / nominal[place] + OWN_SHARE
    return ratios


def _distribution(at: Floats, quantiles: Floats) -> Floats:
    """Return the probability below each of `at`, beyond the outermost quantiles with tails that fall exponentially."""
    inside = np.interp(at, quantiles, LEVELS)
    low, high = quantiles[0], quantiles[-1]
    scale = max((high - low) / 8, TINY)
    inside = np.where(at < low, LEVELS[0] * np.exp(np.minimum(at - low, 0) / scale), inside)
    above = (1 - LEVELS[-1]) * np.exp(-np.maximum(at - high, 0) / scale)
    return np.asarray(np.where(at > high, 1 - above, inside))


def distances(pit: Floats) -> NDArray[np.int64]:
    """Return how far each close fell from the middle of the champion's distribution, in % of probability: (n,), 0..100.

    It is the outer edge of the interval between two quantiles that the close fell into. So its distribution is known
    where the quantiles are right, whatever the shape between them.
    """
    return _outer_edges()[np.searchsorted(LEVELS, pit, side="right")]


def _outer_edges() -> NDArray[np.int64]:
    edges = 200 * np.abs(np.concatenate([[0.0], LEVELS, [1.0]]) - 0.5)
    return np.asarray(np.rint(np.maximum(edges[1:], edges[:-1])).astype(np.int64))


@cache
def window_chances() -> tuple[Floats, ...]:
    """Return for 0 to WINDOW days the chance that right bands give a sum of distances of at most 0, 1, 2, ..."""
    one_day = np.bincount(_outer_edges(), np.diff(np.concatenate([[0.0], LEVELS, [1.0]])))
    sums = [np.ones(1)]
    for _ in range(WINDOW):
        sums.append(np.convolve(sums[-1], one_day))
    return tuple(np.cumsum(chances) for chances in sums)


def window_value(days: int, total: int) -> float:
    """Return what 1 becomes that was bet on a small sum of distances over WINDOW days, after `days` with this `total`.

    The bet is won when the sum stays at or below a limit that right bands keep with a chance of at most WINDOW_CHANCE.
    Its value is the chance that is left to win, divided by the chance at the start: an e-process that ends at 0 or at
    1 / chance (Neyman and Pearson's test, seen day by day). A likelihood ratio bets on growth without end; this one
    bets all on the week.
    """
    chances = window_chances()
    limit = int(np.searchsorted(chances[WINDOW], WINDOW_CHANCE, side="right")) - 1
    left, ahead = limit - total, chances[WINDOW - days]
    return 0.0 if left < 0 else float(ahead[min(left, len(ahead) - 1)] / chances[WINDOW][limit])


def episode_value(
    ratios: Floats, distance: NDArray[np.int64], odd: NDArray[np.bool_], wide: NDArray[np.bool_]
) -> float:
    """Return the value of bets that start each time a band has become odd.

    Each episode starts with FIRST_EPISODE of the money that is left, and the rest is kept. Where the band is wide, its
    window has WINDOW_SHARE of it, and the likelihood ratios have the rest. A start depends only on what was known when
    the forecast was made, so the value is an e-process. All arguments are (n,), in time order.
    """
    value, waiting, windows = 0.0, 1.0, 0.0
    starts = odd & ~np.concatenate([[False], odd[:-1]])
    for day, ratio in enumerate(ratios.tolist()):
        if starts[day]:
            share = FIRST_EPISODE * waiting
            waiting -= share
            of_window = share * WINDOW_SHARE if wide[day] else 0.0
            week = distance[day : day + WINDOW]
            windows += of_window * window_value(len(week), int(week.sum()))
            value += share - of_window
        value = min(value * ratio, LARGEST_VALUE)
    return value + windows + waiting


def is_odd(width: Floats, naive_width: Floats, limit: float) -> NDArray[np.bool_]:
    """Return where a band is `limit` times wider or narrower than naive's or than the day before: (n,) for (n,)."""
    before = np.concatenate([width[:1], width[:-1]])
    apart = np.maximum(_fold(width, naive_width), _fold(width, before))
    return np.asarray(apart >= limit)


def _fold(first: Floats, second: Floats) -> Floats:
    first, second = np.maximum(first, TINY), np.maximum(second, TINY)
    return np.maximum(first / second, second / first)
