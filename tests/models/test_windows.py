"""Windows, splits and scaling: the tutorial's function exactly, and nothing across the cutoff."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BadWeights
from models.scaling import Scaling, fit_scaling
from models.windows import make_windows, split_windows


def tutorial(data, window_size):
    """The tutorial's own loop, kept as the slow obvious version."""
    X, y, i = [], [], 0
    while (i + window_size) <= len(data) - 1:
        X.append(data[i : i + window_size])
        y.append(data[i + window_size])
        i += 1
    return np.array(X), np.array(y)


@given(n=st.integers(2, 40), window_size=st.integers(1, 12))
def test_one_horizon_and_one_feature_are_the_tutorials_windows(n, window_size):
    data = np.arange(n, dtype=float)[:, None] * 1.5
    if n <= window_size:
        with pytest.raises(ValueError, match="rows for a window"):
            make_windows(data, window_size)
        return
    X, y = tutorial(data, window_size)
    made = make_windows(data, window_size)
    assert np.array_equal(made.X, X)
    assert np.array_equal(made.y, y)
    assert made.X.shape == (n - window_size, window_size, 1)


def test_a_window_of_one_row_pairs_each_row_with_the_next():
    made = make_windows([1.0, 2.0, 3.0], 1)
    assert made.X.shape == (2, 1, 1)
    assert made.X.ravel().tolist() == [1, 2]
    assert made.y.ravel().tolist() == [2, 3]


def test_many_features_and_horizons():
    data = np.stack([np.arange(10.0), np.arange(10.0) * 100], axis=1)
    made = make_windows(data, 3, horizons=(1, 4), target=1)
    assert made.X.shape == (4, 3, 2)
    assert made.X[0].tolist() == [[0, 0], [1, 100], [2, 200]]
    assert made.y[0].tolist() == [300, 600]
    assert made.y[-1].tolist() == [600, 900]
    assert made.last_row.tolist() == [2, 3, 4, 5]


def test_windows_that_touch_a_gap_are_left_out():
    times = np.array([0, 1, 2, 3, 7, 8, 9, 10])
    made = make_windows(np.arange(8.0), 2, times=times)
    assert made.last_row.tolist() == [1, 2, 5, 6]


def test_times_out_of_order_are_refused():
    with pytest.raises(ValueError, match="ascend"):
        make_windows(np.arange(4.0), 1, times=np.array([3, 2, 1, 0]))


@given(n=st.integers(12, 60), window_size=st.integers(1, 5), horizon=st.integers(1, 4), cutoff=st.integers(0, 59))
def test_nothing_after_the_cutoff_reaches_what_is_learnt(n, window_size, horizon, cutoff):
    data = np.random.default_rng(n).random((n, 2))
    changed = data.copy()
    changed[cutoff + 1 :] += 5
    (learnt, judged), (again, _) = (
        split_windows(make_windows(rows, window_size, horizons=range(1, horizon + 1)), cutoff)
        for rows in (data, changed)
    )
    assert np.array_equal(learnt.X, again.X)
    assert np.array_equal(learnt.y, again.y)
    assert (judged.last_row >= cutoff).all()
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
    seen = stored.apply(rows[:20])
    if kind == "standard":
        np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(seen.std(axis=0), 1)
    else:
        np.testing.assert_allclose([seen.min(), seen.max()], [0, 1], atol=1e-12)


def test_a_model_without_its_scaling_is_refused():
    with pytest.raises(BadWeights, match="scaling_shift"):
        Scaling.from_weights({"kernel": np.zeros(2)})
