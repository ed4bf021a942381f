import numpy as np
import pytest
import scoringrules
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.forecasts import QUANTILE_LEVELS
from models.metrics import (
    covered,
    crps,
    energy_score,
    level_weights,
    pinball,
    pit,
)

LEVELS = np.array(QUANTILE_LEVELS)
numbers = st.floats(-1e3, 1e3, allow_nan=False)


def test_level_weights_are_shares_of_the_unit_interval() -> None:
    weights = level_weights()
    assert weights.sum() == pytest.approx(1.0)
    # .01 reaches from 0 to the midpoint .0175; .5 from .475 to .525.
    assert weights[0] == pytest.approx(0.0175)
    assert weights[11] == pytest.approx(0.05)


def test_pinball_of_a_small_example() -> None:
    # The actual is 3: half of the distance to a median of 1, .9 of that to a .9-quantile of 2, .1 of that to one of 5.
    assert pinball(3.0, [1.0, 2.0, 5.0], [0.5, 0.9, 0.9]).tolist() == pytest.approx([1.0, 0.9, 0.2])


@given(arrays(float, 23, elements=numbers), numbers)
def test_pinball_agrees_with_scoringrules_and_is_never_negative(values: np.ndarray, actual: float) -> None:
    ours = pinball(actual, values)
    assert (ours >= 0).all()
    np.testing.assert_allclose(ours, scoringrules.quantile_score(actual, values, LEVELS), atol=1e-9)


def test_pinball_is_least_at_the_true_quantile() -> None:
    sample = np.random.default_rng(1).standard_normal(200_000)
    for level in (0.1, 0.5, 0.9):
        grid = np.quantile(sample, [level - 0.05, level, level + 0.05])
        losses = [pinball(sample, np.full((len(sample), 1), q), [level]).mean() for q in grid]
        assert int(np.argmin(losses)) == 1


@pytest.mark.parametrize("actual", [-3.0, -0.4, 0.0, 1.7])
def test_crps_of_normal_quantiles_is_close_to_the_closed_form(actual: float) -> None:
    from scipy.stats import norm

    # 23 levels miss a little of the tails: within 3 % of the exact score.
    assert float(crps(actual, norm.ppf(LEVELS))) == pytest.approx(scoringrules.crps_normal(actual, 0.0, 1.0), rel=0.03)


def test_crps_of_a_certain_forecast_is_the_absolute_error() -> None:
    assert float(crps(-2.0, np.full(23, 1.0))) == pytest.approx(3.0)


def test_crps_of_other_levels_weighs_each_by_its_share() -> None:
    # Losses .2, .5 and .2 with shares .3, .4 and .3 of the levels.
    assert float(crps(3.0, [1.0, 2.0, 5.0], [0.1, 0.5, 0.9])) == pytest.approx(0.64)


def test_scores_of_single_precision_input_are_computed_in_double() -> None:
    # In single precision the difference would be 2 ** 24.
    actual, value = np.float32(2**24), np.array([0.5], dtype=np.float32)
    assert pinball(actual, value, np.array([0.5], dtype=np.float32)).tolist() == [(2**24 - 0.5) / 2]


def test_pit_is_the_level_of_the_actual_and_half_of_the_outer_level_outside() -> None:
    values = np.arange(23.0) * 10
    actuals = [values[0] - 1, values[0], values[11], values[11] + 5, values[-1], values[-1] + 1]
    # .525 is half way between the levels .5 and .55; outside, it is half way from the outermost level to 0 or 1.
    assert pit(actuals, np.tile(values, (6, 1))).tolist() == pytest.approx([0.005, 0.01, 0.5, 0.525, 0.99, 0.995])


def test_pit_has_the_shape_of_the_actuals() -> None:
    values = np.arange(23.0)
    assert float(pit(11.0, values)) == 0.5
    assert pit(11.0, values).shape == ()
    places = pit([[11.0, 12.0], [13.0, 14.0]], np.tile(values, (2, 2, 1)))
    np.testing.assert_allclose(places, [[0.5, 0.55], [0.6, 0.65]])


def test_pit_refuses_actuals_without_a_forecast() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pit([1.0, 2.0], np.zeros((1, 23)))


def test_pit_is_uniform_for_a_calibrated_forecast() -> None:
    from scipy.stats import norm

    actual = np.random.default_rng(2).standard_normal(20_000)
    places = pit(actual, np.broadcast_to(norm.ppf(LEVELS), (len(actual), 23)))
    shares, _ = np.histogram(places, bins=10, range=(0, 1))
    np.testing.assert_allclose(shares / len(actual), 0.1, atol=0.01)


def test_a_band_covers_closes_on_its_edges() -> None:
    values = np.arange(23.0)
    edges = {"coverage50": (0.25, 0.75), "coverage80": (0.1, 0.9), "coverage95": (0.025, 0.975)}
    for name, (low, high) in edges.items():
        lower, upper = values[QUANTILE_LEVELS.index(low)], values[QUANTILE_LEVELS.index(high)]
        inside = covered([lower - 0.01, lower, upper, upper + 0.01], np.tile(values, (4, 1)))[name]
        assert inside.tolist() == [False, True, True, False], name
    assert list(covered(0.0, values)) == list(edges)


def test_the_energy_score_agrees_with_a_slow_loop_and_with_the_crps_of_one_dimension() -> None:
    rng = np.random.default_rng(3)
    actual, samples = rng.normal(size=4), rng.normal(size=(50, 4))
    near = np.mean([np.linalg.norm(one - actual) for one in samples])
    apart = np.mean([np.linalg.norm(one - other) for one in samples for other in samples])
    assert energy_score(actual, samples) == pytest.approx(near - apart / 2)
    assert energy_score(actual, samples) == pytest.approx(float(scoringrules.es_ensemble(actual, samples)), abs=1e-6)
    one = energy_score(actual[:1], samples[:, :1])
    assert one == pytest.approx(float(scoringrules.crps_ensemble(actual[0], samples[:, 0], estimator="nrg")), abs=1e-6)
