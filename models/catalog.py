"""Every forecaster by its name, with what planning asks of it; the heavy ones are imported when they are to work."""

from importlib import import_module
from typing import NamedTuple

from models.interface import Forecaster


class Family(NamedTuple):
    """What is known of a model family without importing it, which takes seconds where it brings TensorFlow along."""

    home: str
    learns: bool
    """Whether training leaves weights behind that age; a model that does not learn has one version without cutoff."""
    min_candles: int
    """Closed candles needed before the first forecast."""


_FAMILIES = {
    "naive": Family("models.naive:Naive", learns=False, min_candles=60),
    "range-ewma": Family("models.range_ewma:RangeEwma", learns=False, min_candles=200),
    "lstm": Family("models.lstm.forecaster:Lstm", learns=True, min_candles=400),
    "blend": Family("models.blend:Blend", learns=True, min_candles=400),
    "tutorial": Family("models.tutorial.forecaster:Tutorial", learns=True, min_candles=730),
}


def family(name: str) -> Family:
    """Return what is known of the model called `name`; raises ValueError that lists the names there are."""
    if name not in _FAMILIES:
        raise ValueError(f"unknown model {name!r}; the models are {', '.join(_FAMILIES)}")
    return _FAMILIES[name]


def forecaster(name: str) -> Forecaster:
    """Return the forecaster called `name`; raises ValueError that lists the names there are."""
    module, _, cls = family(name).home.partition(":")
    built: Forecaster = getattr(import_module(module), cls)()
    return built
