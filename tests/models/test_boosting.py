"""Boosted quantiles: the stored numbers predict as scikit-learn does, and training uses no row after the cutoff."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from synthetic import random_walk

from models.boosting import FITTED, NAMES, BoostingConfig, _realised, _to_levels, boosted, fit_boosting
from models.errors import BadWeights, TrainingFailed
from models.features import Features, make_features
from models.metrics import LEVELS
from models.quantiles import MEDIAN

FEW = BoostingConfig(rounds=12)


@pytest.fixture(scope="module")
def features():
    return make_features(random_walk(900, seed=3), horizon=2)


@pytest.fixture(scope="module")
def weights(features):
    return fit_boosting([(features, 800)], seed=1, config=FEW)


def test_the_stored_numbers_predict_as_scikit_learn_does(features, weights):
    from models.boosting import _sum_of_trees

    rows, targets = _realised([(features, 800)], 2)
    for place in (0, 4):
        theirs = HistGradientBoostingRegressor(
            loss="quantile", quantile=FITTED[place], max_iter=12, max_leaf_nodes=6, learning_rate=0.05,
            min_samples_leaf=60, l2_regularization=1.0, max_features=0.5, max_bins=63, early_stopping=False,
            random_state=1,
        ).fit(rows, targets)  # fmt: skip
        ours = _sum_of_trees(features.features[700:], *(weights[name][1, place] for name in NAMES[1:]))
        whole = np.quantile(targets, FITTED[place])
        np.testing.assert_allclose(ours * whole, theirs.predict(features.features[700:]), rtol=1e-12)


def test_quantiles_are_ordered_symmetric_and_finite_and_the_skew_leaves_the_median(features, weights):
    trees = boosted(weights, features, np.arange(800, 900), 2)
    assert trees.quantiles.shape == (100, 2, 23)
    assert np.isfinite(trees.quantiles).all()
    assert (np.diff(trees.quantiles, axis=-1) >= 0).all()
    assert (trees.quantiles == -trees.quantiles[..., ::-1]).all()
    assert trees.skew.shape == (100, 23)
    assert (trees.skew[:, MEDIAN] == 0).all()
    assert (np.diff(trees.quantiles[:, 0] + trees.skew, axis=-1) >= -1e-12).all()


def test_the_trend_of_the_years_learnt_from_is_not_forecast(features):
    """Three in four returns are small losses, the fourth a gain: nothing of a row tells which comes."""
    rng = np.random.default_rng(0)
    targets = np.where(rng.random(features.targets.shape) < 0.75, -0.3, 2.0) * rng.random(features.targets.shape)
    planted = Features(features.features, targets.astype(np.float32), features.sigma)
    trees = boosted(fit_boosting([(planted, 900)], seed=1, config=FEW), planted, np.arange(600, 900), 2)
    width = trees.quantiles[:, 0, 19] - trees.quantiles[:, 0, 3]
    assert np.abs(trees.skew[:, [3, 19]]).mean() < 0.1 * width.mean()


def test_more_rows_than_the_most_are_sampled(features, weights):
    asked = BoostingConfig(rounds=12, most_rows=400)
    sampled = fit_boosting([(features, 800)], seed=1, config=asked)
    assert np.array_equal(sampled["boost_base"], weights["boost_base"])
    assert not np.array_equal(sampled["boost_numbers"], weights["boost_numbers"])
    again = fit_boosting([(features, 800)], seed=1, config=asked)
    assert all(np.array_equal(again[name], sampled[name]) for name in NAMES)


def test_the_weights_survive_storage_without_pickle(weights):
    from storage.artifacts import pack, sha256, unpack

    data = pack(weights)
    again = unpack(data, sha256(data))
    assert all(np.array_equal(again[name], weights[name]) for name in NAMES)


def test_training_uses_no_target_after_the_cutoff(features, weights):
    later = features.targets.copy()
    # Row 799 is the last closed one; the target of step h in row 799 - h is the return to it.
    for step in (1, 2):
        later[800 - step :, step - 1] *= -3
    rows = features.features.copy()
    rows[799:] = 1
    changed = fit_boosting([(Features(rows, later, features.sigma), 800)], seed=1, config=FEW)
    assert all(np.array_equal(changed[name], weights[name]) for name in NAMES)
    later[797, 1] *= -3
    other = fit_boosting([(Features(rows, later, features.sigma), 800)], seed=1, config=FEW)
    assert not all(np.array_equal(other[name], weights[name]) for name in NAMES)


def test_boosting_learns_a_planted_skew(features):
    """Where the first feature is high, the lower tail is three times as long."""
    rng = np.random.default_rng(0)
    high = features.features[:, 0] > 0
    targets = rng.standard_normal(features.targets.shape).astype(np.float32)
    targets = np.where((targets < 0) & high[:, None], 3 * targets, targets)
    planted = Features(features.features, targets, features.sigma)
    weights = fit_boosting([(planted, 900)], seed=1, config=BoostingConfig(rounds=60))
    trees = boosted(weights, planted, np.arange(600, 900), 1)
    quantiles = (trees.quantiles[:, 0] + trees.skew) / features.sigma[600:, :1]
    where_low, where_high = quantiles[~high[600:], 3].mean(), quantiles[high[600:], 3].mean()
    assert where_high < 1.8 * where_low < 0


def test_levels_between_the_fitted_ones_are_interpolated_and_outer_levels_are_flat():
    log_quantiles = np.log([0.5, 0.8, 1.0, 1.0, 1.2, 2.0]) @ _to_levels()
    at = {round(float(level), 3): float(np.exp(value)) for level, value in zip(LEVELS, log_quantiles, strict=True)}
    assert at[0.05] == pytest.approx(0.5)
    assert at[0.01] == at[0.025] == pytest.approx(0.5)
    assert at[0.5] == pytest.approx(1.0)
    assert 0.5 < at[0.1] < 0.8
    assert at[0.99] == pytest.approx(2.0)


def test_too_few_rows_and_foreign_weights_are_refused(features):
    with pytest.raises(TrainingFailed, match="too few"):
        fit_boosting([(features, 200)], seed=1)
    with pytest.raises(BadWeights, match="boost_base"):
        boosted({"head": np.zeros(3)}, features, np.arange(5), 2)
