"""Every forecaster by its name; the heavy ones are imported when they are asked for."""

from importlib import import_module

from models.forecaster import Forecaster

_HOMES = {
    "naive": "models.naive:Naive",
    "range-ewma": "models.range_ewma:RangeEwma",
    "lstm": "models.lstm:Lstm",
    "blend": "models.blend:Blend",
    "tutorial": "models.tutorial:Tutorial",
}


def forecaster(name: str) -> Forecaster:
    """Return the forecaster called `name`; raises ValueError that lists the names there are."""
    if name not in _HOMES:
        raise ValueError(f"unknown model {name!r}; the models are {', '.join(_HOMES)}")
    module, _, cls = _HOMES[name].partition(":")
    built: Forecaster = getattr(import_module(module), cls)()
    return built
