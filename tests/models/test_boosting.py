"""Boosted quantiles: the stored numbers are scikit-learn's trees, and they learn from the past alone."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from synthetic import random_walk

from models.boosting import FITTED, NAMES, BoostingConfig, _realised, _to_levels, boosted_quantiles, fit_boosting
from models.errors import BadWeights, TrainingFailed
from models.features import Features, make_features
from models.quantiles import LEVELS, MEDIAN

FEW = BoostingConfig(rounds=12)


@pytest.fixture(scope="module")
def made():
    return make_features(random_walk(900, seed=3), horizon=2)


@pytest.fixture(scope="module")
def weights(made):
    return fit_boosting([(made, 800)], seed=1, config=FEW)


def test_the_stored_numbers_say_what_scikit_learn_predicts(made, weights):
    from models.boosting import _sum_of_trees

    rows, targets = _realised([(made, 800)], 2)
    for place in (0, 4):
        theirs = HistGradientBoostingRegressor(
            loss="quantile", quantile=FITTED[place], max_iter=12, max_leaf_nodes=6, learning_rate=0.05,
            min_samples_leaf=60, l2_regularization=1.0, max_features=0.5, max_bins=63, early_stopping=False,
            random_state=1,
        ).fit(rows, targets)  # fmt: skip
        ours = _sum_of_trees(made.features[700:], *(weights[name][1, place] for name in NAMES[1:]))
        np.testing.assert_allclose(ours, theirs.predict(made.features[700:]), rtol=1e-12)


def test_quantiles_are_ordered_centred_and_finite(made, weights):
    found = boosted_quantiles(weights, made, np.arange(800, 900), 2)
    assert found.shape == (100, 2, 23)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) >= 0).all()
    assert (found[..., MEDIAN] == 0).all()


def test_the_weights_survive_storage_without_pickle(weights):
    from storage.artifacts import pack, sha256, unpack

    data = pack(weights)
    again = unpack(data, sha256(data))
    assert all(np.array_equal(again[name], weights[name]) for name in NAMES)


def test_nothing_after_the_cutoff_is_learnt_from(made, weights):
    later = made.targets.copy()
    # Row 799 is the last that had closed: a target of step h speaks of it from row 799 - h.
    for step in (1, 2):
        later[800 - step :, step - 1] *= -3
    features = made.features.copy()
    features[799:] = 1
    changed = fit_boosting([(Features(features, later, made.sigma), 800)], seed=1, config=FEW)
    assert all(np.array_equal(changed[name], weights[name]) for name in NAMES)
    later[797, 1] *= -3
    other = fit_boosting([(Features(features, later, made.sigma), 800)], seed=1, config=FEW)
    assert not all(np.array_equal(other[name], weights[name]) for name in NAMES)


def test_a_planted_skew_is_found(made):
    """Where the first feature is high, the lower tail is three times as long."""
    rng = np.random.default_rng(0)
    high = made.features[:, 0] > 0
    targets = rng.standard_normal(made.targets.shape).astype(np.float32)
    targets = np.where((targets < 0) & high[:, None], 3 * targets, targets)
    planted = Features(made.features, targets, made.sigma)
    weights = fit_boosting([(planted, 900)], seed=1, config=BoostingConfig(rounds=60))
    found = boosted_quantiles(weights, planted, np.arange(600, 900), 1)[:, 0] / made.sigma[600:, :1]
    low, high_rows = found[~high[600:], 3].mean(), found[high[600:], 3].mean()
    assert high_rows < 1.8 * low < 0


def test_levels_between_the_fitted_ones_are_interpolated_and_beyond_are_flat():
    carried = np.log([0.5, 0.8, 1.0, 1.0, 1.2, 2.0]) @ _to_levels()
    at = {round(float(level), 3): float(np.exp(value)) for level, value in zip(LEVELS, carried, strict=True)}
    assert at[0.05] == pytest.approx(0.5)
    assert at[0.01] == at[0.025] == pytest.approx(0.5)
    assert at[0.5] == pytest.approx(1.0)
    assert 0.5 < at[0.1] < 0.8
    assert at[0.99] == pytest.approx(2.0)


def test_too_few_rows_and_foreign_weights_are_refused(made):
    with pytest.raises(TrainingFailed, match="too few"):
        fit_boosting([(made, 200)], seed=1)
    with pytest.raises(BadWeights, match="boost_base"):
        boosted_quantiles({"head": np.zeros(3)}, made, np.arange(5), 2)
