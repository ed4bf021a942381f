"""What a market is like before it has shown it: the season and the surprises of many markets in 2018-2020.

Printed by `python benchmarks/prior.py` from the 29 files of CryptoDataDownload named in docs/forecasting.md (the
longest series of each coin, from each series' 60th candle on, to 2020-12-31). For origins before 2021 these numbers are
in-sample.
"""

import numpy as np
from numpy.typing import NDArray

# fmt: off
# The variance of Monday to Sunday (UTC), and of the hours of the day from 00:00 UTC on, over the mean.
WEEKDAYS = (1.047, 0.985, 1.122, 1.184, 0.975, 0.793, 0.895)
HOURS = (
    1.264, 0.962, 0.817, 0.693, 0.772, 0.738, 0.815, 0.816, 0.945, 0.942, 0.985, 0.985,
    1.231, 1.161, 1.178, 1.202, 1.362, 0.983, 0.897, 0.937, 1.131, 1.008, 1.086, 1.088,
)
# The quantiles of the returns of 1 to 7 candles over the volatility that was forecast, at the 23 levels.
SURPRISES = (
    (-2.592, -1.874, -1.424, -1.023, -0.788, -0.615, -0.477, -0.358, -0.265, -0.176, -0.087, 0.003,
     0.089, 0.173, 0.264, 0.367, 0.488, 0.628, 0.804, 1.045, 1.5, 1.993, 2.68),
    (-2.634, -1.88, -1.4, -0.977, -0.75, -0.591, -0.462, -0.355, -0.255, -0.17, -0.089, -0.007,
     0.077, 0.165, 0.259, 0.363, 0.476, 0.615, 0.78, 1.04, 1.485, 1.961, 2.629),
    (-2.692, -1.957, -1.471, -0.997, -0.767, -0.602, -0.468, -0.362, -0.267, -0.178, -0.089, -0.007,
     0.08, 0.17, 0.27, 0.37, 0.49, 0.633, 0.817, 1.078, 1.516, 1.943, 2.641),
    (-2.881, -1.991, -1.473, -1.027, -0.777, -0.597, -0.464, -0.361, -0.269, -0.176, -0.091, -0.008,
     0.079, 0.168, 0.267, 0.37, 0.495, 0.641, 0.826, 1.077, 1.524, 1.986, 2.789),
    (-2.856, -2.035, -1.489, -1.022, -0.778, -0.605, -0.479, -0.362, -0.265, -0.175, -0.094, -0.01,
     0.074, 0.167, 0.265, 0.378, 0.498, 0.647, 0.826, 1.092, 1.549, 2.044, 2.797),
    (-2.945, -2.036, -1.482, -1.017, -0.773, -0.607, -0.475, -0.366, -0.267, -0.176, -0.09, -0.008,
     0.077, 0.169, 0.267, 0.375, 0.504, 0.654, 0.831, 1.098, 1.54, 2.049, 2.872),
    (-3.149, -2.055, -1.484, -1.007, -0.768, -0.609, -0.476, -0.368, -0.268, -0.176, -0.088, -0.008,
     0.079, 0.167, 0.266, 0.379, 0.504, 0.648, 0.833, 1.105, 1.563, 2.084, 2.882),
)
# fmt: on


def season(slots: int) -> NDArray[np.float64]:
    """Return the variance factors of the 7 days of the week or the 24 hours of the day, mean one."""
    return np.array({7: WEEKDAYS, 24: HOURS}[slots])


def surprises(step: int) -> NDArray[np.float64]:
    """Return the quantiles, (23,), of the surprises `step` candles on; from the last step on those of the last."""
    return np.array(SURPRISES[min(step, len(SURPRISES)) - 1])
