"""All models by name, with what planning needs to know about each; a forecaster is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from models.candles import Interval, SeriesName

# Settings and commands ask for the names, so importing this stays cheap.
if TYPE_CHECKING:
    from models.interface import Forecaster


class Family(NamedTuple):
    """What is known about a model without importing it, which takes seconds if it imports TensorFlow."""

    home: str
    learns: bool
    """Whether it is trained, and again as data grows. A model that does not learn has one version without cutoff."""
    pooled: bool
    """Whether one version serves every series of an interval, or each series has versions of its own."""
    min_candles: int
    """Closed candles that a series needs before its first forecast."""
    min_training: int = 0
    """Closed candles that one market needs at a cutoff, so that there is something to learn from."""


class Scope(NamedTuple):
    """Which series a trained version serves: one, or every series of an interval (`series` is None)."""

    interval: Interval
    series: str | None = None

    def __str__(self) -> str:
        return self.series or f"all {self.interval} series"


_FAMILIES = {
    "naive": Family("models.naive:Naive", learns=False, pooled=False, min_candles=60),
    "range-ewma": Family("models.range_ewma:RangeEwma", learns=False, pooled=False, min_candles=60),
    "lstm": Family("models.lstm.forecaster:Lstm", learns=True, pooled=True, min_candles=60, min_training=400),
    "blend": Family("models.blend:Blend", learns=True, pooled=True, min_candles=60, min_training=400),
    "tutorial": Family(
        "models.tutorial.forecaster:Tutorial", learns=True, pooled=False, min_candles=730, min_training=730
    ),
}


MODEL_NAMES = tuple(_FAMILIES)


def checked_model(name: str, *, quoted: bool = True) -> str:
    """Return `name` if it is the name of a model.

    Raises ValueError that lists the models; it quotes `name`, unless that may be a secret in the wrong place.
    """
    if name not in _FAMILIES:
        raise ValueError(f"unknown model{f' {name!r}' if quoted else ''}; the models are {', '.join(MODEL_NAMES)}")
    return name


def family(name: str) -> Family:
    """Return what is known about the model called `name`; raises ValueError as `checked_model` does."""
    return _FAMILIES[checked_model(name)]


def scope(model: str, series: str) -> Scope:
    """Return which series share a version of `model` with `series`; raises ValueError as `checked_model` does."""
    return Scope(SeriesName.parse(series).interval, None if family(model).pooled else series)


def forecaster(name: str) -> "Forecaster":
    """Return the forecaster called `name`; raises ValueError as `checked_model` does."""
    module, _, cls = family(name).home.partition(":")
    built: Forecaster = getattr(import_module(module), cls)()
    return built
