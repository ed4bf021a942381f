"""Windows, splits and scaling: equal to the tutorial's function, and nothing crosses the cutoff."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BadWeights
from models.tutorial.scaling import Scaling, fit_scaling
from models.tutorial.windows import make_windows, split_windows


def tutorial(data, window_size):
    """The tutorial's loop, which the fast function must equal."""
    X, y, i = [], [], 0
    while (i + window_size) <= len(data) - 1:
        X.append(data[i : i + window_size])
        y.append(data[i + window_size])
        i += 1
    return np.array(X), np.array(y)


@given(n=st.integers(2, 40), window_size=st.integers(1, 12))
def test_windows_of_one_horizon_and_one_feature_equal_the_tutorials(n, window_size):
    data = np.arange(n, dtype=float)[:, None] * 1.5
    if n <= window_size:
        with pytest.raises(ValueError, match="rows for a window"):
            make_windows(data, window_size)
        return
    X, y = tutorial(data, window_size)
    windows = make_windows(data, window_size)
    assert np.array_equal(windows.X, X)
    assert np.array_equal(windows.y, y)
    assert windows.X.shape == (n - window_size, window_size, 1)


def test_a_window_of_one_row_pairs_each_row_with_the_next():
    windows = make_windows([1.0, 2.0, 3.0], 1)
    assert windows.X.shape == (2, 1, 1)
    assert windows.X.ravel().tolist() == [1, 2]
    assert windows.y.ravel().tolist() == [2, 3]


def test_many_features_and_horizons():
    data = np.stack([np.arange(10.0), np.arange(10.0) * 100], axis=1)
    windows = make_windows(data, 3, horizons=(1, 4), target=1)
    assert windows.X.shape == (4, 3, 2)
    assert windows.X[0].tolist() == [[0, 0], [1, 100], [2, 200]]
    assert windows.y[0].tolist() == [300, 600]
    assert windows.y[-1].tolist() == [600, 900]
    assert windows.last_row.tolist() == [2, 3, 4, 5]


def test_windows_that_touch_a_gap_are_left_out():
    times = np.array([0, 1, 2, 3, 7, 8, 9, 10])
    windows = make_windows(np.arange(8.0), 2, times=times)
    assert windows.last_row.tolist() == [1, 2, 5, 6]


def test_windows_beside_a_gap_keep_their_inputs_targets_rows_and_horizons():
    windows = make_windows(np.arange(6) * 10, 2, horizons=(1, 2), times=np.array([0, 1, 2, 3, 4, 9]))
    assert windows.last_row.tolist() == [1, 2]
    assert windows.X[:, :, 0].tolist() == [[0, 10], [10, 20]]
    assert windows.y.tolist() == [[20, 30], [30, 40]]
    assert windows.horizons == (1, 2)


def test_whole_numbers_come_out_as_floats():
    windows = make_windows([1, 2, 3], 1)
    assert (windows.X.dtype, windows.y.dtype) == (np.float64, np.float64)


@pytest.mark.parametrize("times", [[3, 2, 1, 0], [0, 1, 1, 2]])
def test_unordered_or_repeated_times_are_refused(times):
    days = np.array(times) * np.timedelta64(1, "D") + np.datetime64("2020-01-01")
    for clock in (np.array(times), days):
        with pytest.raises(ValueError, match="^expected times that ascend, oldest row first; sort the rows$"):
            make_windows(np.arange(4.0), 1, times=clock)


@pytest.mark.parametrize(
    ("data", "window_size", "horizons", "got"),
    [
        (np.zeros((4, 2, 2)), 1, (1,), r"\(4, 2, 2\), 1 and \(1,\)"),
        (np.zeros(4), 0, (1,), r"\(4, 1\), 0 and \(1,\)"),
        (np.zeros(4), 1, (), r"\(4, 1\), 1 and \(\)"),
        (np.zeros(4), 1, (1, 0), r"\(4, 1\), 1 and \(1, 0\)"),
    ],
)
def test_input_that_makes_no_windows_is_refused_with_its_shape(data, window_size, horizons, got):
    with pytest.raises(ValueError, match=f"a window of at least 1 row and horizons from 1, got {got}$"):
        make_windows(data, window_size, horizons=horizons)


def test_too_few_rows_are_refused_with_the_number_needed():
    assert len(make_windows(np.zeros(5), 3, horizons=(1, 2)).X) == 1
    with pytest.raises(ValueError, match="at least 5 rows for a window of 3 and horizon 2, got 4"):
        make_windows(np.zeros(4), 3, horizons=(1, 2))


def test_training_targets_end_at_the_cutoff_and_test_windows_begin_there():
    # The last rows are 0 to 5, their targets one and two rows later; row 4 is the last known row.
    train, test = split_windows(make_windows(np.arange(8.0), 1, horizons=(1, 2)), 4)
    assert train.last_row.tolist() == [0, 1, 2]
    assert train.y.tolist() == [[1, 2], [2, 3], [3, 4]]
    assert test.last_row.tolist() == [4, 5]
    assert test.X.ravel().tolist() == [4, 5]


@given(n=st.integers(12, 60), window_size=st.integers(1, 5), horizon=st.integers(1, 4), cutoff=st.integers(0, 59))
def test_nothing_after_the_cutoff_reaches_the_training_windows(n, window_size, horizon, cutoff):
    data = np.random.default_rng(n).random((n, 2))
    changed = data.copy()
    changed[cutoff + 1 :] += 5
    (train, test), (again, _) = (
        split_windows(make_windows(rows, window_size, horizons=range(1, horizon + 1)), cutoff)
        for rows in (data, changed)
    )
    assert np.array_equal(train.X, again.X)
    assert np.array_equal(train.y, again.y)
    assert (test.last_row >= cutoff).all()
    for kind in ("standard", "minmax"):
        ours, theirs = (fit_scaling(rows, cutoff_row=cutoff, kind=kind) for rows in (data, changed))
        assert np.array_equal(ours.shift, theirs.shift)
        assert np.array_equal(ours.scale, theirs.scale)


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_scaling_inverts_and_survives_storage(kind):
    rows = np.random.default_rng(1).normal(50, 9, (30, 3))
    fitted = fit_scaling(rows, cutoff_row=19, kind=kind)
    stored = Scaling.from_weights(fitted.as_weights())
    np.testing.assert_allclose(stored.invert(stored.apply(rows)), rows)
    scaled = stored.apply(rows[:20])
    if kind == "standard":
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(scaled.std(axis=0), 1)
    else:
        np.testing.assert_allclose([scaled.min(), scaled.max()], [0, 1], atol=1e-12)


def test_a_model_without_its_scaling_is_refused():
    with pytest.raises(BadWeights, match="scaling_shift"):
        Scaling.from_weights({"kernel": np.zeros(2)})
