"""A fleet trains many networks at once: each one learns, ignores the others and sees no target after its stop."""

import math

import numpy as np
import pytest
from scipy import stats

from models.errors import TrainingFailed
from models.lstm.fleet import Member, TrainingConfig, _chunk_starts, one_cycle, predict, train_fleet
from models.lstm.network import LEAST_FREEDOM, NetworkConfig, stacked

NETWORK = NetworkConfig(n_features=3, hidden=8, horizon=2)
ROWS = 700


def _market(seed=0, rows=ROWS):
    """Features and returns with a slowly changing scale, and that scale; the first feature is the scale's logarithm.

    The other features are noise.
    """
    rng = np.random.default_rng(seed)
    log_scale = np.sin(np.arange(rows) / 15)
    features = rng.standard_normal((rows, 3), np.float32)
    features[:, 0] = log_scale
    returns = rng.standard_t(5, rows) * np.exp(log_scale)
    targets = np.full((rows, 2), np.nan, np.float32)
    for step in (1, 2):
        targets[:-step, step - 1] = returns[step:]
    return features, targets, log_scale


def _same(a, b):
    return all(np.array_equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_loss_falls_on_a_planted_signal_and_the_forecast_scale_follows_it():
    features, targets, log_scale = _market()
    fitted = train_fleet(
        features, targets, [Member(((0, ROWS),), (seed,), 40, learning_rate=0.02) for seed in range(3)], network=NETWORK
    )
    weights = stacked([member.weights for member in fitted])
    rows = np.arange(100, ROWS)
    forecast, freedom = predict(features, rows, weights, lookback=90)
    for member, scale in zip(fitted, forecast, strict=True):
        assert member.losses[-5:].mean() < member.losses[:5].mean() - 0.1
        assert np.corrcoef(scale[:-1, 0], log_scale[101:])[0, 1] > 0.9
    assert freedom.min() > 2.1


def test_a_member_gets_the_same_weights_alone_and_in_a_fleet():
    features, targets, _ = _market()
    members = [
        Member(((0, stop),), (seed,), epochs)
        for seed, (stop, epochs) in enumerate([(700, 6), (350, 6), (500, 2), (700, 1), *[(600, 3)] * 8])
    ]
    fleet = train_fleet(features, targets, members, network=NETWORK)
    for number in (0, 1, 3, 11):
        (alone,) = train_fleet(features, targets, [members[number]], network=NETWORK)
        assert _same(alone, fleet[number]), number
        assert np.array_equal(alone.losses, fleet[number].losses)
    assert not _same(fleet[4], fleet[5])


def test_the_same_seed_gives_the_same_bits():
    features, targets, _ = _market()
    members = [Member(((0, ROWS),), (1, 2), 3)]
    first, second = (train_fleet(features, targets, members, network=NETWORK)[0] for _ in range(2))
    assert _same(first, second)


def test_a_member_learns_nothing_from_rows_at_or_after_its_stop():
    features, targets, _ = _market()
    members = [Member(((0, 400),), (0,), 4), Member(((0, ROWS),), (0,), 4)]
    before = train_fleet(features, targets, members, network=NETWORK)
    other_features, other_targets, _ = _market(seed=9)
    features[400:] = other_features[400:]
    targets[400:] = other_targets[400:]
    # Targets of earlier rows that are realised at or after the stop change as well.
    targets[399, 0], targets[398:400, 1] = 50.0, -50.0
    after = train_fleet(features, targets, members, network=NETWORK)
    assert _same(before[0], after[0])
    assert not _same(before[1], after[1])


def test_a_member_learns_from_the_last_target_before_its_stop():
    features, targets, _ = _market()
    members = [Member(((0, 400),), (0,), 4)]
    before = train_fleet(features, targets, members, network=NETWORK)
    targets[398, 0] = 50.0
    assert not _same(before[0], train_fleet(features, targets, members, network=NETWORK)[0])


def test_missing_targets_weigh_nothing():
    """An untrained network forecasts one Student t for every row, so the first loss is known for equal targets."""
    features, _, _ = _market()
    targets = np.full((ROWS, 2), np.nan, np.float32)
    targets[::3] = 1.5
    (fitted,) = train_fleet(features, targets, [Member(((0, ROWS),), (0,), 2)], network=NETWORK)
    assert fitted.losses[0] == pytest.approx(-stats.t.logpdf(1.5, LEAST_FREEDOM + math.log(2)), rel=1e-5)
    assert np.isfinite(fitted.losses).all()


def test_a_member_learns_from_all_of_its_series_and_from_nothing_between_them():
    features, targets, _ = _market()
    members = [Member(((0, 300), (350, ROWS)), (0,), 2), Member(((0, 300),), (0,), 2)]
    pooled, single = train_fleet(features, targets, members, network=NETWORK)
    assert not _same(pooled, single)
    features[300:350], targets[300:350] = 5.0, 5.0
    assert _same(pooled, train_fleet(features, targets, members[:1], network=NETWORK)[0])


def test_fine_tuning_starts_from_the_given_weights():
    features, targets, _ = _market()
    (first,) = train_fleet(features, targets, [Member(((0, 500),), (0,), 3)], network=NETWORK)
    (tuned,) = train_fleet(
        features, targets, [Member(((0, ROWS),), (0,), 1, 1e-4, start=first.weights)], network=NETWORK
    )
    moved = max(np.abs(tuned.weights[name] - first.weights[name]).max() for name in first.weights)
    assert 0 < moved < 1e-3


def test_weights_that_are_not_finite_fail_the_training():
    features, targets, _ = _market()
    start = train_fleet(features, targets, [Member(((0, ROWS),), (0,), 1)], network=NETWORK)[0].weights
    start["bias"][0] = np.nan
    with pytest.raises(TrainingFailed, match="net 2 of 2"):
        train_fleet(
            features, targets, [Member(((0, ROWS),), (0,), 1), Member(((0, ROWS),), (0,), 1, start=start)],
            network=NETWORK,
        )  # fmt: skip


def test_a_span_too_short_to_train_on_is_named_in_the_error():
    features, targets, _ = _market()
    with pytest.raises(TrainingFailed, match=r"no training rows.*\(0, 31\)"):
        train_fleet(features, targets, [Member(((0, 31),), (0,), 1)], network=NETWORK)


def test_progress_counts_up_to_all_steps():
    features, targets, _ = _market()
    reports = []
    train_fleet(
        features, targets, [Member(((0, ROWS),), (seed,), 3) for seed in range(9)], network=NETWORK,
        progress=lambda done, total, what: reports.append((done, total, what)),
    )  # fmt: skip
    assert reports[-1] == (6, 6, "training 9 nets")
    steps_done = [done for done, *_ in reports]
    assert steps_done == sorted(steps_done)


def test_a_forecast_is_the_same_alone_and_among_others_and_sees_its_window_only():
    features, targets, _ = _market()
    fitted = train_fleet(features, targets, [Member(((0, 400),), (seed,), 2) for seed in range(2)], network=NETWORK)
    weights = stacked([member.weights for member in fitted])
    rows = np.arange(200, 330)
    together = predict(features, rows, weights, lookback=90)
    for row in (200, 201, 263, 264, 300, 329):
        changed = features.copy()
        changed[row + 1 :] = 1e3
        changed[: row - 89] = -1e3
        alone = predict(changed, np.array([row]), weights, lookback=90)
        for of_one, of_all in zip(alone, together, strict=True):
            assert np.array_equal(of_one[:, 0], of_all[:, row - 200]), row
    with pytest.raises(ValueError, match="89"):
        predict(features, np.array([88]), weights, lookback=90)


def test_the_learning_rate_rises_for_three_tenths_of_the_steps_and_falls_to_nearly_zero():
    rates = one_cycle(3e-3, 40)
    assert rates[0] == pytest.approx(3e-3 / 25)
    assert rates.argmax() == 11
    assert rates.max() == pytest.approx(3e-3)
    assert rates[-1] == pytest.approx(3e-3 / 25e4)
    for steps in (1, 2, 3):
        assert np.isfinite(one_cycle(1.0, steps)).all()


def test_scored_parts_cover_every_row_once_for_every_offset():
    training = TrainingConfig()
    for offset in range(60):
        starts = _chunk_starts(10, 500, offset, training)
        scored = np.concatenate([np.arange(start + 30, start + 90) for start in starts])
        assert np.array_equal(scored, np.arange(scored[0], scored[-1] + 1))
        assert scored[0] == 10 + 30 + offset
        assert scored[-1] >= 498
        assert starts.max() + 30 < 499
