import numpy as np
import pytest

from models.accuracy import DieboldMariano, diebold_mariano, student_t_bound, student_t_p_value


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
    # The level is 5 %. With overlap about 8 % are rejected, and three standard errors of 400 trials are 4 %.
    assert rejected / 400 < 0.12


@pytest.mark.parametrize(
    ("n", "step", "lags"), [(10, 1, 2), (100, 1, 4), (365, 1, 5), (1400, 1, 7), (365, 3, 6), (365, 7, 18), (12, 7, 10)]
)
def test_diebold_mariano_uses_the_right_number_of_lags_and_weights(n: int, step: int, lags: int) -> None:
    rng = np.random.default_rng(n + step)
    noise = np.convolve(rng.standard_normal(n + step - 1), np.ones(step), "valid")
    first, second = 1.0 + 0.1 * noise, 1.02 + 0.1 * rng.standard_normal(n)
    d = first - second
    mean = sum(d) / n

    def covariance(lag: int) -> float:
        return sum((d[t] - mean) * (d[t - lag] - mean) for t in range(lag, n)) / n

    variance = covariance(0) + 2 * sum((1 - lag / (lags + 1)) * covariance(lag) for lag in range(1, lags + 1))
    test = diebold_mariano(first, second, step=step)
    assert test.mean_difference == pytest.approx(mean)
    assert test.standard_error == pytest.approx((variance / n) ** 0.5)
    assert test.statistic == pytest.approx(mean / (variance / n) ** 0.5)
    assert test.p_value == student_t_p_value(test.statistic, n - 1)


def test_diebold_mariano_of_equal_or_constantly_different_losses_has_p_value_one() -> None:
    assert diebold_mariano(np.ones(50), np.ones(50), step=1) == DieboldMariano(0.0, 1.0, 0.0, 0.0)
    assert diebold_mariano(np.full(50, 3), np.ones(50), step=1) == DieboldMariano(0.0, 1.0, 2.0, 0.0)


def test_diebold_mariano_needs_some_origins() -> None:
    with pytest.raises(ValueError, match="at least 10 origins, got 9"):
        diebold_mariano(np.ones(9), np.ones(9), step=1)


# Wallace's approximation is better with more degrees of freedom, and worse in the tails.
@pytest.mark.parametrize(("freedom", "error"), [(9, 0.012), (29, 0.0025), (364, 0.00002)])
@pytest.mark.parametrize("statistic", [0.0, 0.3, -1.0, 2.0, -3.5])
def test_p_values_equal_those_of_students_t(statistic, freedom, error):
    from scipy.stats import t

    exact = 2 * t.sf(abs(statistic), freedom)
    assert student_t_p_value(statistic, freedom) == pytest.approx(exact, rel=error)


@pytest.mark.parametrize(("freedom", "error"), [(9, 5e-4), (29, 3e-5), (364, 2e-7)])
def test_the_bound_equals_students_t_and_has_a_p_value_of_five_percent(freedom, error):
    from scipy.stats import t

    assert student_t_bound(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=error)
    assert student_t_p_value(student_t_bound(freedom), freedom) == pytest.approx(0.05, rel=1e-12)
