"""Evidence: its values equal published code's and a slow loop's, its bounds hold, and noise rarely passes the limit."""

import importlib.util
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.evidence import (
    BETS,
    FIRST_EPISODE,
    LARGEST_LOSS,
    OWN_SHARE,
    RISKS,
    WINDOW,
    WINDOW_CHANCE,
    WINDOW_SHARE,
    Gains,
    combined,
    dispersion,
    distances,
    e_value,
    episode_value,
    is_odd,
    likelihood_ratios,
    score_range,
    window_value,
)
from models.forecasts import QUANTILE_LEVELS
from models.gate import ALPHA, EPISODE_SHARE
from models.metrics import crps, pit

LEVELS = np.array(QUANTILE_LEVELS)
ROOT = Path(__file__).parents[2]
PUBLISHED = json.loads((ROOT / "tests/fixtures/evidence/published.json").read_text())


def normal(sigma):
    from scipy.stats import norm

    return norm.ppf(LEVELS) * sigma


def gains(values, worst, *, days=None):
    values = np.asarray(values, dtype=float)
    days = np.arange(len(values)) if days is None else np.asarray(days)
    return Gains(days, days // 91, values, np.full(len(values), float(worst)))


def slowly(gained, step, *, restarts=False):
    """Return the value by its definition, in loops over sizes of bets, starts, sequences and days."""
    kinds = (
        [lambda worst, bet=bet: min(bet, LARGEST_LOSS / worst) for bet in BETS.tolist()],
        [lambda worst, risk=risk: risk / worst for risk in RISKS.tolist()],
    )
    return min(slowly_with(sizes, gained, step, restarts=restarts) for sizes in kinds)


def slowly_with(sizes, gained, step, *, restarts):
    total = 0.0
    quarters = sorted(set(gained.period.tolist()))
    for number, quarter in enumerate(quarters if restarts else quarters[:1], start=1):
        share = 1 / (number * (number + 1)) if restarts else 1.0
        for size_of in sizes:
            for sequence in range(step):
                money, left = 1.0, 1.0
                for day, period, gain, worst in zip(
                    gained.slot.tolist(),
                    gained.period.tolist(),
                    gained.gain.tolist(),
                    gained.worst.tolist(),
                    strict=True,
                ):
                    if day % step != sequence:
                        continue
                    size = size_of(worst)
                    # The share that is left if the open bet is lost depends on the newest bet, not on the start.
                    left = 1 - size * worst
                    if period >= quarter:
                        money *= 1 + size * gain
                total += share * money * (left if step > 1 else 1) / (len(sizes) * step)
    used = sum(1 / (k * (k + 1)) for k in range(1, len(quarters) + 1)) if restarts else 1.0
    return total + 1 - used


@pytest.mark.parametrize("step", [1, 2, 3, 7])
@pytest.mark.parametrize("restarts", [False, True])
def test_the_value_equals_a_slow_loop(step, restarts):
    rng = np.random.default_rng(step)
    days = np.flatnonzero(rng.random(400) < 0.9)
    gained = gains(rng.uniform(-0.3, 0.4, len(days)), 0.3, days=days)
    assert e_value(gained, step, restarts=restarts) == pytest.approx(slowly(gained, step, restarts=restarts))


@pytest.mark.parametrize("step", [1, 3, 7])
def test_the_bets_are_those_of_confseq(step):
    """Origins `step` apart are one sequence and the mean counts, as in Arnold, Henzi and Ziegel (2023)."""
    smaller = []
    for published in PUBLISHED.values():
        worst, days = np.array(published["worst"]), np.arange(len(published["worst"]))
        newest = np.array([days[days % step == sequence].max() for sequence in range(step)])
        at_stake = {
            "BETS": (np.minimum(BETS, LARGEST_LOSS / worst[:, None]) * worst[:, None])[newest],
            "RISKS": np.tile(RISKS, (step, 1)),
        }
        # The newest bet of a step above 1 is still open and counts as lost; confseq knows no open bets.
        kept = {kind: 1 - stake if step > 1 else 1.0 for kind, stake in at_stake.items()}
        values = {kind: np.mean(np.array(published["betting"][kind][str(step)]) * kept[kind]) for kind in kept}
        gained = Gains(days, np.zeros_like(days), np.array(published["gain"]), worst)
        assert e_value(gained, step) == pytest.approx(min(values.values()), rel=1e-12)
        smaller.append(min(values, key=values.__getitem__))
    assert set(smaller) == {"BETS", "RISKS"}
    assert min(np.min(LARGEST_LOSS / np.array(published["worst"])) for published in PUBLISHED.values()) < BETS.max()


def test_the_benchmark_compares_with_the_mixture_of_comparecast():
    spec = importlib.util.spec_from_file_location("benchmark_of_the_gate", ROOT / "benchmarks" / "gate.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for published in PUBLISHED.values():
        gain = np.array(published["gain"])[None]
        ours = benchmark.bernstein(lambda step, gain=gain: gain, gain.shape[1], bound=1.0)
        assert ours[0] == pytest.approx(published["bernstein"], rel=1e-9)


def test_no_close_takes_a_difference_of_scores_out_of_its_range():
    first, second = normal(0.05) + 0.001, normal(0.01)
    low, high = score_range(first[None], second[None])
    closes = np.concatenate([np.linspace(-3, 3, 60_001), first, second])
    shape = (len(closes), len(LEVELS))
    difference = crps(closes, np.broadcast_to(first, shape)) - crps(closes, np.broadcast_to(second, shape))
    assert difference.min() == pytest.approx(float(low[0]))
    assert difference.max() == pytest.approx(float(high[0]))


def test_the_range_of_each_day_is_the_same_alone_and_among_others():
    rng = np.random.default_rng(2)
    first, second = (rng.lognormal(-4, 1, (70, 1)) * normal(1.0) for _ in range(2))
    low, high = score_range(first, second)
    alone = [score_range(first[day : day + 1], second[day : day + 1]) for day in range(70)]
    assert low.tolist() == [float(one[0]) for one, _ in alone]
    assert high.tolist() == [float(one[0]) for _, one in alone]


def test_one_close_costs_at_most_the_largest_loss():
    gained = gains([-5.0, 0.0], 5.0)
    assert e_value(gained, 1) == pytest.approx(1 - LARGEST_LOSS)


def test_the_dispersion_is_that_of_the_narrower_forecast():
    narrow = np.abs(normal(0.01)).mean()
    assert dispersion(normal(5.0)[None], normal(0.01)[None]) == pytest.approx(narrow)
    days = np.stack([normal(0.01) + 9, normal(0.05)]), np.stack([normal(0.02), normal(0.03)])
    assert dispersion(*days) == pytest.approx([narrow, 3 * narrow])


def test_without_gains_or_without_scores_the_value_is_one():
    assert e_value(gains(np.zeros(200), 0.1), 1) == pytest.approx(1)
    empty = Gains(np.array([], int), np.array([], int), np.array([]), np.array([]))
    assert e_value(empty, 1) == 1


def test_an_open_bet_counts_as_lost():
    """People can see part of an open bet's outcome, so it is not evidence yet."""
    gained = gains(np.zeros(14), 0.1)
    expected = min(np.mean(1 - np.minimum(BETS, LARGEST_LOSS / 0.1) * 0.1), np.mean(1 - RISKS))
    assert e_value(gained, 7) == pytest.approx(expected)
    assert e_value(gained, 1) == pytest.approx(1)


def test_new_starts_find_a_recent_change_after_good_years():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-0.03, 0.1, 1000), rng.normal(0.06, 0.1, 365)]).clip(-0.3, 0.3)
    assert e_value(gains(values, 0.3), 1) < 1
    assert e_value(gains(values, 0.3), 1, restarts=True) > 20


@pytest.mark.parametrize("restarts", [False, True])
def test_the_mean_value_over_all_sequences_of_fair_gains_is_at_most_one(restarts):
    """Days far apart, so that several quarters begin; the mean is below one only because the smaller value counts."""
    days = np.arange(8) * 40
    sequences = itertools.product((-0.2, 0.2), repeat=len(days))
    values = [e_value(gains(sequence, 0.2, days=days), 1, restarts=restarts) for sequence in sequences]
    assert 0.8 < np.mean(values) <= 1


def test_heavy_tailed_noise_with_clustered_volatility_rarely_passes_the_limit_at_any_time():
    rng = np.random.default_rng(1)
    passed, runs, days = 0, 200, 400
    swing = np.exp(0.8 * np.sin(np.arange(days) / 40))
    for _ in range(runs):
        noise = (0.05 * swing * rng.standard_t(3, days)).clip(-0.5, 0.5)
        passed += any(e_value(gains(noise[:day], 0.5), 1) >= 1 / ALPHA for day in range(20, days + 1, 20))
    assert passed / runs <= ALPHA


def test_step_one_has_half_of_the_combined_value():
    assert combined({1: 30.0, 2: 0.0, 3: 0.0}) == 15
    assert combined({1: 0.0, 2: 10.0, 3: 30.0}) == 10
    assert combined({2: 7.0}) == 7


# --- bands that change -------------------------------------------------------------------------------------------


def test_the_expected_likelihood_ratio_is_one_where_the_champion_is_right():
    champion, naive = normal(0.03), normal(0.01)
    edges = np.concatenate([[0], LEVELS, [1]])
    middles, chances = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    ratios = likelihood_ratios(middles, np.tile(champion, (24, 1)), np.tile(naive, (24, 1)))
    assert float(ratios @ chances) == pytest.approx(1)
    assert likelihood_ratios(middles, np.tile(naive, (24, 1)), np.tile(naive, (24, 1))) == pytest.approx(1)


def chance_below(place, quantiles):
    """The probability below `place`: linear between quantiles; an eighth of their span further out a tail is 1 / e."""
    eighth = (quantiles[-1] - quantiles[0]) / 8
    if place < quantiles[0]:
        return 0.01 * np.exp(-(quantiles[0] - place) / eighth)
    if place > quantiles[-1]:
        return 1 - 0.01 * np.exp(-(place - quantiles[-1]) / eighth)
    k = max(i for i in range(len(quantiles)) if quantiles[i] <= place)
    if k == len(quantiles) - 1:
        return 0.99
    share = (place - quantiles[k]) / (quantiles[k + 1] - quantiles[k])
    return LEVELS[k] + share * (LEVELS[k + 1] - LEVELS[k])


@pytest.mark.parametrize(
    "champion", [normal(0.03), normal(0.01) + 0.02, normal(0.01) - 0.02, normal(0.01), normal(0.002)]
)
def test_a_likelihood_ratio_is_that_of_the_interval_which_holds_the_close(champion):
    naive = normal(0.01)
    edges = [0.0, *(chance_below(place, naive) for place in champion), 1.0]
    nominal = [0.0, *LEVELS, 1.0]
    for pit_of_close in (0.001, 0.01, 0.3, 0.5, 0.51, 0.985, 0.99, 0.9999):
        k = sum(level <= pit_of_close for level in QUANTILE_LEVELS)
        expected = (1 - OWN_SHARE) * (edges[k + 1] - edges[k]) / (nominal[k + 1] - nominal[k]) + OWN_SHARE
        (ratio,) = likelihood_ratios(np.array([pit_of_close]), champion[None], naive[None])
        assert ratio == pytest.approx(expected, rel=1e-9)


def watched_closes(sigma, *, bands, seed, runs, days):
    """Return an episode's value on each day of normal closes, (runs, days); all bands count as odd and as wide."""
    rng = np.random.default_rng(seed)
    champion, naive = normal(bands), normal(0.01)
    values = np.empty((runs, days))
    for run in range(runs):
        places = pit(sigma * rng.standard_normal(days), np.tile(champion, (days, 1)))
        ratios = likelihood_ratios(places, np.tile(champion, (days, 1)), np.tile(naive, (days, 1)))
        every_day = np.ones(days, bool)
        for day in range(1, days + 1):
            so_far = slice(0, day)
            values[run, day - 1] = episode_value(
                ratios[so_far], distances(places)[so_far], every_day[so_far], every_day[so_far]
            )
    return values


def test_bands_five_times_too_wide_are_found_within_a_week():
    values = watched_closes(0.01, bands=0.05, seed=3, runs=300, days=7)
    assert (EPISODE_SHARE * values.max(1) >= 1 / ALPHA).mean() >= 0.95


def test_wide_bands_that_are_right_are_rarely_demoted_at_any_time():
    values = watched_closes(0.05, bands=0.05, seed=4, runs=600, days=20)
    assert (EPISODE_SHARE * values.max(1) >= 1 / ALPHA).mean() <= ALPHA


def test_a_window_is_a_fair_bet_on_every_day_and_can_demote_by_itself():
    edges = np.concatenate([[0], LEVELS, [1]])
    chances, places = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    for days in range(WINDOW):
        for total in (0, 100, 180, 250):
            tomorrow = [window_value(days + 1, total + int(far)) for far in distances(places)]
            assert float(np.array(tomorrow) @ chances) == pytest.approx(window_value(days, total))
    assert window_value(0, 0) == 1
    assert window_value(WINDOW, 100 * WINDOW) == 0
    assert EPISODE_SHARE * FIRST_EPISODE * WINDOW_SHARE * window_value(WINDOW, 10 * WINDOW) >= 1 / ALPHA


def test_the_window_is_won_by_the_sums_that_right_bands_keep_with_its_chance():
    """All sums of a week, day by day; the limit is the largest sum whose chance is not above WINDOW_CHANCE."""
    edges = np.concatenate([[0], LEVELS, [1]])
    one_day = Counter()
    for far, chance in zip(distances((edges[1:] + edges[:-1]) / 2).tolist(), np.diff(edges).tolist(), strict=True):
        one_day[far] += chance
    week = Counter({0: 1.0})
    for _ in range(WINDOW):
        week = sum_of(week, one_day)
    below = dict(zip(sorted(week), np.cumsum([week[total] for total in sorted(week)]), strict=True))
    limit = max(total for total, chance in below.items() if chance <= WINDOW_CHANCE)
    assert window_value(WINDOW, limit) == pytest.approx(1 / below[limit])
    assert window_value(WINDOW, min(total for total in below if total > limit)) == 0
    # With one day to come, the value is the chance that its distance still fits.
    fits = sum(chance for far, chance in one_day.items() if far <= 20)
    assert window_value(WINDOW - 1, limit - 20) == pytest.approx(fits / below[limit])


def sum_of(first, second):
    total = Counter()
    for (one, chance), (other, more) in itertools.product(first.items(), second.items()):
        total[one + other] += chance * more
    return total


def test_a_distance_is_the_outer_edge_of_the_interval_that_holds_the_close():
    # The interval begins with its lower quantile.
    assert distances(np.array([0.1, 0.9])).tolist() == [80, 90]
    assert distances(np.array([0.005, 0.03, 0.46, 0.5, 0.97, 0.995])).tolist() == [100, 95, 10, 10, 95, 100]


def test_each_episode_bets_most_of_the_money_that_is_left():
    ratios, odd = np.array([2.0, 1.0, 3.0]), np.array([True, False, True])
    far = np.array([100, 100, 100])
    narrow = episode_value(ratios, far, odd, np.array([False] * 3))
    kept = (1 - FIRST_EPISODE) ** 2
    assert narrow == pytest.approx(FIRST_EPISODE * 6 + FIRST_EPISODE * (1 - FIRST_EPISODE) * 3 + kept)
    # Distances of 300 have lost the first window; the second has seen one day.
    wide = episode_value(ratios, far, odd, np.array([True] * 3))
    second = FIRST_EPISODE * (1 - FIRST_EPISODE) * WINDOW_SHARE * window_value(1, 100)
    assert wide == pytest.approx((narrow - kept) * (1 - WINDOW_SHARE) + second + kept)
    assert episode_value(ratios, far, np.array([False] * 3), odd) == 1
    # Both windows are open: each counts.
    near = np.array([10, 10, 10])
    both = FIRST_EPISODE * WINDOW_SHARE * (window_value(3, 30) + (1 - FIRST_EPISODE) * window_value(1, 10))
    assert episode_value(ratios, near, odd, np.array([True] * 3)) == pytest.approx(wide - second + both)


def test_a_band_is_odd_compared_with_naives_or_with_its_own_of_the_day_before():
    width = np.array([1.0, 1.0, 4.1, 4.1, 0.2])
    assert is_odd(width, np.array([1.0, 1.0, 2.0, 2.0, 0.3]), 4).tolist() == [False, False, True, False, True]
    assert is_odd(np.ones(2), np.array([0.2, 5.0]), 4).tolist() == [True, True]
    assert is_odd(np.array([1.0]), np.array([1.0]), 4).tolist() == [False]
    assert is_odd(np.array([4.0, 0.25]), np.array([1.0, 0.25]), 4).tolist() == [True, True]
