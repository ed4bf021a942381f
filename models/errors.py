"""What can go wrong in the numerics, split by what the caller does next.

ModelError
├── NotEnoughCandles     wait for more history, or lower the lookback
├── BadWeights           the stored weights are corrupted or foreign: train again
├── TrainingFailed       the challenger is unusable: keep the champion, tell a person
└── NetworksUnusable     this machine cannot import TensorFlow: the models that need none go on
"""


class ModelError(Exception):
    """Base of every error that `models` raises on purpose."""


class NotEnoughCandles(ModelError):
    """A model needs more closed candles than it was given."""


class BadWeights(ModelError):
    """Weights whose hash, names or shapes are not those that were registered."""


class TrainingFailed(ModelError):
    """Training ended without usable weights (a NaN loss, no training rows)."""


class NetworksUnusable(ModelError):
    """The library that computes the networks is missing, or dies when it is imported."""
