"""Chances and levels: exact for a log-normal close, increasing, and never told beyond the stored quantiles."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.chance import chance_of, price_of
from models.forecasts import QUANTILE_LEVELS, Bound, Chance, Side

NORMAL = NormalDist(math.log(100.0), 0.05)
LOG_NORMAL = np.exp([NORMAL.inv_cdf(level) for level in QUANTILE_LEVELS])
distributions = st.lists(st.floats(0.01, 1e6), min_size=23, max_size=23).map(sorted)


@pytest.mark.parametrize("price", [90.0, 97.3, 100.0, 104.2, 111.0])
def test_chances_of_a_log_normal_close_are_exact(price: float) -> None:
    below = NORMAL.cdf(math.log(price))
    assert chance_of(Side.BELOW, price, LOG_NORMAL) == (pytest.approx(below), Bound.EXACT)
    assert chance_of(Side.ABOVE, price, LOG_NORMAL) == (pytest.approx(1 - below), Bound.EXACT)
    assert price_of(below, LOG_NORMAL) == pytest.approx(price)


def test_at_each_stored_quantile_the_chance_is_its_level_and_back_the_stored_number() -> None:
    for level, value in zip(QUANTILE_LEVELS, LOG_NORMAL.tolist(), strict=True):
        assert chance_of(Side.BELOW, value, LOG_NORMAL) == (pytest.approx(level), Bound.EXACT)
        assert price_of(level, LOG_NORMAL) == value


@pytest.mark.parametrize("price", [1e-9, 50.0, LOG_NORMAL[0] * 0.999999])
def test_below_the_lowest_quantile_only_the_bound_is_told(price: float) -> None:
    assert chance_of(Side.BELOW, price, LOG_NORMAL) == Chance(0.01, Bound.AT_MOST)
    assert chance_of(Side.ABOVE, price, LOG_NORMAL) == Chance(0.99, Bound.AT_LEAST)


def test_above_the_highest_quantile_only_the_bound_is_told() -> None:
    price = LOG_NORMAL[-1] * 1.000001
    assert chance_of(Side.BELOW, price, LOG_NORMAL) == Chance(0.99, Bound.AT_LEAST)
    assert chance_of(Side.ABOVE, price, LOG_NORMAL) == Chance(0.01, Bound.AT_MOST)


def test_a_price_that_many_quantiles_share_has_a_chance_of_its_own() -> None:
    lump = [90.0] * 3 + [100.0] * 10 + [110.0] * 10
    assert chance_of(Side.BELOW, 100.0, lump).value == pytest.approx(0.1)
    assert chance_of(Side.ABOVE, 100.0, lump).value == pytest.approx(0.45)
    assert chance_of(Side.BELOW, 90.0, lump) == (pytest.approx(0.01), Bound.EXACT)
    flat = [100.0] * 23
    assert chance_of(Side.BELOW, 100.0, flat).value == pytest.approx(0.01)
    assert chance_of(Side.BELOW, 100.1, flat) == Chance(0.99, Bound.AT_LEAST)


@given(distributions, st.floats(0.01, 1e6), st.floats(0.01, 1e6))
def test_a_higher_level_never_has_a_smaller_chance_to_stay_below(values: list[float], one: float, other: float) -> None:
    lower, higher = sorted((one, other))
    assert chance_of(Side.BELOW, lower, values).value <= chance_of(Side.BELOW, higher, values).value + 1e-12
    assert chance_of(Side.ABOVE, lower, values).value >= chance_of(Side.ABOVE, higher, values).value - 1e-12
    both = chance_of(Side.BELOW, one, values).value + chance_of(Side.ABOVE, one, values).value
    assert both <= 1 + 1e-9


@given(distributions, st.floats(0.01, 0.99))
def test_a_level_of_a_chance_lies_inside_the_stored_quantiles_and_has_that_chance(
    values: list[float], chance: float
) -> None:
    price = price_of(chance, values)
    assert values[0] * (1 - 1e-9) <= price <= values[-1] * (1 + 1e-9)
    if np.diff(np.log(values)).min() > 1e-6:
        assert chance_of(Side.BELOW, price, values).value == pytest.approx(chance, abs=1e-4)


def test_a_forecast_with_a_missing_quantile_has_no_chance() -> None:
    assert math.isnan(chance_of(Side.BELOW, 100.0, [*LOG_NORMAL[:22].tolist(), math.nan]).value)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(ValueError, match="expected a positive price"):
        chance_of(Side.BELOW, price, LOG_NORMAL)


@pytest.mark.parametrize(("chance", "hint"), [(0.0, ""), (0.999, ""), (5.0, "; 5 % is 0.05"), (math.nan, "")])
def test_a_chance_that_is_not_stored_is_refused(chance: float, hint: str) -> None:
    with pytest.raises(ValueError, match=f"expected a chance from 0.01 to 0.99, .*{hint}$"):
        price_of(chance, LOG_NORMAL)
