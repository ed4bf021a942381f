"""Two sources of one pair: the level of their prices, and stretches whose times are moved."""

from pathlib import Path

import numpy as np
import pytest
from cdd_files import read

from models.agreement import longest_moved, median_ratio

HOUR = 3600


def walk(n: int) -> tuple[np.ndarray, np.ndarray]:
    return HOUR * np.arange(n), 100 * np.exp(np.random.default_rng(1).standard_normal(n).cumsum() * 0.01)


@pytest.mark.parametrize("by", [-5, -1, 1, 14])
def test_a_stretch_that_is_moved_is_seen_whatever_the_premium(by: int) -> None:
    at, close = walk(400)
    ours = at + HOUR * np.where((at >= 100 * HOUR) & (at < 220 * HOUR), by, 0)
    ours, rows = np.unique(ours, return_index=True)
    moved = longest_moved(ours, 1.1 * close[rows], at, close, length_s=HOUR, farthest=14)
    assert moved is not None
    assert moved.by_s == -by * HOUR
    assert 96 <= moved.candles <= 120
    assert abs(moved.first - (100 + by) * HOUR) <= 24 * HOUR


def test_sources_that_agree_are_not_moved() -> None:
    at, close = walk(400)
    noisy = close * np.exp(np.random.default_rng(2).standard_normal(400) * 0.004)
    assert longest_moved(at, noisy, at, close, length_s=HOUR, farthest=14) is None
    assert longest_moved(at[:40], close[:40], at + HOUR, close, length_s=HOUR, farthest=14) is None
    assert longest_moved(at, close, at[:0], close[:0], length_s=HOUR, farthest=14) is None


def test_the_ratio_is_that_of_the_common_candles() -> None:
    at, close = walk(400)
    assert median_ratio(at[:300], 100 * close[:300], at[100:], close[100:]) == pytest.approx(100)
    assert median_ratio(at[:10], close[:10], at, close) is None


def test_a_real_file_is_four_hours_off_in_the_autumn_of_2017(shared_data: Path) -> None:
    """Coinbase's own daily file confirms Gemini's hours of these days, and Coinbase's before and after them."""
    _, coinbase = read(shared_data / "Coinbase_BTCUSD_1h__2019-06-04.csv", "Coinbase_BTCUSD_1h")
    _, gemini = read(shared_data / "gemini_BTCUSD_1hr__2019-07-03.csv", "Gemini_BTCUSD_1h")
    moved = longest_moved(
        coinbase.open_time, coinbase.close, gemini.open_time, gemini.close, length_s=HOUR, farthest=14
    )
    assert moved is not None
    first, last = (str(np.datetime64(time, "s"))[:10] for time in moved[:2])
    assert (first, last, moved.by_s) == ("2017-09-23", "2017-11-05", 4 * HOUR)
