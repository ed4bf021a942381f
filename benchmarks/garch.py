"""GARCH(1,1) with Student-t innovations, the usual model of econometrics, for comparison; it is never published."""

from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.frames import CandleFrame
from models.metrics import LEVELS
from models.quantiles import centred
from models.schedule import by_quarter
from models.volatility import log_returns

PATHS = 4000
# arch recommends returns in percent.
PERCENT = 100.0


def garch_quantiles(
    candles: CandleFrame,
    origins: Sequence[datetime],
    fit: Callable[[list[float]], tuple[float, float, float, float]],
    horizon: int = 7,
) -> NDArray[np.float64]:
    """Return quantiles of log returns, (n_origins, horizon, 23), with median zero like the product's.

    At each quarter's start `fit` estimates omega, alpha, beta and nu from all returns up to it. From each origin PATHS
    paths are simulated, starting at the filtered variance, with the same draws at every origin of a quarter.
    """
    returns = np.nan_to_num(log_returns(candles)) * PERCENT
    closes = candles["close_time"].to_numpy("datetime64[s]")
    row_of = {moment.to_pydatetime(): row for row, moment in enumerate(candles["close_time"])}
    quantiles = {}
    for start, group in by_quarter(origins).items():
        known = int((closes <= np.datetime64(start.replace(tzinfo=None), "s")).sum())
        omega, alpha, beta, freedom = fit(returns[1:known].tolist())
        rng = np.random.default_rng(0)
        draws = rng.standard_t(freedom, (PATHS // 2, horizon)) * np.sqrt((freedom - 2) / freedom)
        draws = np.concatenate([draws, -draws])
        variance = np.empty(len(returns))
        variance[0] = returns[1:known].var()
        for row in range(1, len(returns)):
            variance[row] = omega + alpha * returns[row - 1] ** 2 + beta * variance[row - 1]
        for origin in group:
            row = row_of[origin]
            ahead = np.full(PATHS, omega + alpha * returns[row] ** 2 + beta * variance[row])
            total = np.zeros(PATHS)
            steps = np.empty((horizon, len(LEVELS)))
            for step in range(horizon):
                shock = np.sqrt(ahead) * draws[:, step]
                total = total + shock
                steps[step] = np.quantile(total, LEVELS)
                ahead = omega + alpha * shock**2 + beta * ahead
            quantiles[origin] = steps / PERCENT
    return centred(np.array([quantiles[origin] for origin in origins]))
