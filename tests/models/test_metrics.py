import numpy as np
import pytest
import scoringrules
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.forecasts import QUANTILE_LEVELS
from models.metrics import covered, crps, diebold_mariano, level_weights, pinball, pit, student_t_p_value

LEVELS = np.array(QUANTILE_LEVELS)
numbers = st.floats(-1e3, 1e3, allow_nan=False)


def test_level_weights_are_shares_of_the_unit_interval() -> None:
    weights = level_weights()
    assert weights.sum() == pytest.approx(1.0)
    # .01 reaches from 0 to the midpoint .0175; .5 from .475 to .525.
    assert weights[0] == pytest.approx(0.0175)
    assert weights[11] == pytest.approx(0.05)


def test_pinball_of_a_small_example() -> None:
    # Truth 3 above a median of 1: half the distance; above a .9-quantile of 2: .9 of it; below 5: .1 of 2.
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


@pytest.mark.parametrize("truth", [-3.0, -0.4, 0.0, 1.7])
def test_crps_of_normal_quantiles_is_close_to_the_closed_form(truth: float) -> None:
    from scipy.stats import norm

    # 23 levels miss a little of the tails: within 3 % of the exact score.
    assert float(crps(truth, norm.ppf(LEVELS))) == pytest.approx(scoringrules.crps_normal(truth, 0.0, 1.0), rel=0.03)


def test_crps_of_a_certain_forecast_is_the_absolute_error() -> None:
    assert float(crps(-2.0, np.full(23, 1.0))) == pytest.approx(3.0)


def test_pit_is_uniform_for_a_calibrated_forecast() -> None:
    from scipy.stats import norm

    truth = np.random.default_rng(2).standard_normal(20_000)
    places = pit(truth, np.broadcast_to(norm.ppf(LEVELS), (len(truth), 23)))
    shares, _ = np.histogram(places, bins=10, range=(0, 1))
    np.testing.assert_allclose(shares / len(truth), 0.1, atol=0.01)


def test_bands_cover_what_lies_on_their_edges() -> None:
    values = np.arange(23.0)
    assert covered(values[6], values)["coverage50"]
    assert not covered(values[6] - 0.01, values)["coverage50"]
    assert covered(values[1], values)["coverage95"]


def test_diebold_mariano_finds_a_real_difference_and_its_sign() -> None:
    rng = np.random.default_rng(3)
    good, bad = rng.gamma(2.0, 1.0, 400), rng.gamma(2.0, 1.4, 400)
    test = diebold_mariano(good, bad, step=1)
    assert test.statistic < 0
    assert test.p_value < 0.01


@pytest.mark.parametrize("step", [1, 7])
def test_diebold_mariano_keeps_its_level_on_overlapping_noise(step: int) -> None:
    rng = np.random.default_rng(4)
    kernel = np.ones(step) / step
    rejected = sum(
        diebold_mariano(
            np.convolve(rng.standard_normal(371), kernel, "valid"), np.zeros(371 - step + 1), step=step
        ).p_value
        < 0.05
        for _ in range(400)
    )
    # 5 % promised; overlap leaves about 8 %, and three standard errors of 400 trials are 4 %.
    assert rejected / 400 < 0.12


def test_diebold_mariano_of_equal_losses_is_no_evidence() -> None:
    assert diebold_mariano(np.ones(50), np.ones(50), step=1).p_value == 1.0


def test_diebold_mariano_needs_some_origins() -> None:
    with pytest.raises(ValueError, match="at least 10 origins, got 9"):
        diebold_mariano(np.ones(9), np.ones(9), step=1)


@pytest.mark.parametrize("freedom", [9, 29, 364])
@pytest.mark.parametrize("statistic", [0.0, 0.3, -1.0, 2.0, -3.5])
def test_p_values_are_those_of_students_t(statistic, freedom):
    from scipy.stats import t

    exact = 2 * t.sf(abs(statistic), freedom)
    assert student_t_p_value(statistic, freedom) == pytest.approx(exact, rel=0.02)
