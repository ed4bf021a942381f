"""The series that a global model learns from: the log returns over 1 to `horizon` days of each market.

Each is one series, because step h of the series of h-day returns is the return from the origin to h days later.
"""

import numpy as np

Series = dict[str, np.ndarray]


def to_learn_from(markets: list[list[float | None]], known: int, horizon: int, least: int) -> Series:
    """Return the returns known after `known` days by market and span; markets with fewer than `least` are left out.

    `markets`: the log closes of each market on the same days, None before its first.
    """
    series = {}
    for number, closes in enumerate(markets):
        values = np.array([value for value in closes[:known] if value is not None])
        for span in range(1, horizon + 1):
            if len(values) - span >= least:
                series[f"{number}-{span}"] = values[span:] - values[:-span]
    return series


def to_forecast_from(markets: list[list[float | None]], origins: list[int], horizon: int, length: int) -> Series:
    """Return the newest `length` returns at each origin, ordered by market, origin and span."""
    return {
        f"{number:03}-{origin:06}-{span}": values[origin + 1 - length : origin + 1]
        - values[origin + 1 - length - span : origin + 1 - span]
        for number, values in enumerate(np.array(markets, float))
        for origin in origins
        for span in range(1, horizon + 1)
    }


def from_the_origins(forecasts: np.ndarray, markets: int, origins: int, horizon: int) -> list[object]:
    """Return the quantiles of the returns from each origin, (markets, origins, horizon, levels).

    `forecasts`: (series, horizon, levels) in the order of `to_forecast_from`. Quantiles that are fitted separately may
    cross; sorting them never makes the score worse.
    """
    by_span = forecasts.reshape(markets, origins, horizon, horizon, -1)
    steps = np.arange(horizon)
    return np.sort(by_span[:, :, steps, steps], axis=-1).astype(float).tolist()
