"""Forecast with statsforecast's automatic models."""

import numpy as np
from answering import answer
from statsforecast.models import AutoETS, AutoTheta

MODELS = {"AutoETS": AutoETS, "AutoTheta": AutoTheta}


def forecast(model: str, log_close: list[float], origins: list[int], levels: list[float], horizon: int) -> list[object]:
    """Return quantiles of log returns, (n_origins, horizon, n_levels), by a model refitted at every origin.

    It is fitted to all log prices up to the origin, with the library's defaults (no season). The quantiles are the
    edges of the library's prediction intervals; the middle one is the mean, the median of its normal distribution.
    """
    values = np.array(log_close)
    return [_quantiles(MODELS[model](), values[: row + 1], levels, horizon).tolist() for row in origins]


def _quantiles(model: AutoETS | AutoTheta, seen: np.ndarray, levels: list[float], horizon: int) -> np.ndarray:
    widths = sorted({round(100 * (1 - 2 * level)) for level in levels if level < 0.5})
    columns = model.forecast(y=seen, h=horizon, level=widths)
    edges = [
        columns["mean"] if level == 0.5 else columns[f"{'lo' if level < 0.5 else 'hi'}-{round(abs(100 - 200 * level))}"]
        for level in levels
    ]
    return np.stack(edges, axis=-1) - seen[-1]


answer(forecast=forecast)
