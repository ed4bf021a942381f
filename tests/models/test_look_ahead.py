"""Which targets and residuals the published models use when only the rows up to a cutoff are known."""

import numpy as np
import pytest

from models.boosting import LEAST_ROWS, WARM_UP, _realised
from models.errors import TrainingFailed
from models.features import Features
from models.lstm.backend import array, tensor
from models.lstm.fleet import targets_known


def _numbered(n: int, *, horizon: int = 2, first: float = 0.0) -> Features:
    """Features and targets that identify their row: row r has feature r and target r * step."""
    rows = first + np.arange(n, dtype=np.float32)
    targets = rows[:, None] * np.arange(1, horizon + 1, dtype=np.float32)
    return Features(rows[:, None], targets, np.ones((n, horizon)))


def test_a_network_learns_from_targets_known_before_its_stop():
    """Row 7 with a stop at row 10 knows the rows 8 and 9: the targets of steps 1 and 2."""
    rows = np.array([[[6, 6]], [[7, 7]], [[8, 8]], [[9, 9]]], np.int32)
    starts, stops = np.array([[0, -1]], np.int32), np.array([[10, 10]], np.int32)
    known = array(targets_known(tensor(rows), tensor(starts), tensor(stops), 3))
    assert known.shape == (4, 1, 2, 3)
    assert known[:, 0, 0].tolist() == [
        [True, True, True],
        [True, True, False],
        [True, False, False],
        [False, False, False],
    ]
    # No target of an empty place in a batch counts.
    assert not known[:, 0, 1].any()


def test_each_chunk_ends_at_the_stop_of_its_own_series():
    rows = np.full((1, 2, 2), 5, np.int32)
    starts, stops = np.zeros((2, 2), np.int32), np.array([[6, 7], [8, 9]], np.int32)
    known = array(targets_known(tensor(rows), tensor(starts), tensor(stops), 2))
    assert known[0].tolist() == [[[False, False], [True, False]], [[True, True], [True, True]]]


@pytest.mark.parametrize("step", [1, 2])
def test_trees_learn_from_targets_realised_among_the_closed_rows(step):
    features, targets = _realised([(_numbered(500), 450)], step)
    rows = np.arange(WARM_UP, 450 - step)
    assert features[:, 0].tolist() == rows.tolist()
    # The last target is the return to row 449, the last closed row.
    assert features[-1, 0] + step == 449
    np.testing.assert_array_equal(targets, rows * step - np.median(rows * step))
    assert targets.dtype == np.float64
    assert np.median(targets) == 0


def test_trees_learn_from_every_series_up_to_its_own_closed_rows_and_skip_gaps():
    own, other, short = _numbered(500), _numbered(500, first=1000), _numbered(500, first=2000)
    own.targets[100, 0] = np.nan
    features, targets = _realised([(own, 300), (other, 200), (short, 50)], 1)
    expected = [row for row in range(WARM_UP, 299) if row != 100] + [1000 + row for row in range(WARM_UP, 199)]
    assert features[:, 0].tolist() == expected
    assert len(targets) == len(expected)


def test_trees_need_enough_realised_targets():
    closed = WARM_UP + LEAST_ROWS + 1
    assert len(_realised([(_numbered(500), closed)], 1)[1]) == LEAST_ROWS
    with pytest.raises(
        TrainingFailed,
        match=f"^{LEAST_ROWS - 1} returns of 1 candles are too few to boost on, {LEAST_ROWS} are needed$",
    ):
        _realised([(_numbered(500), closed - 1)], 1)
