"""Forecast with neuralforecast's LSTM."""

import logging
import warnings

import numpy as np
import pandas as pd
import torch
from answering import answer
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import LSTM

INPUT, HIDDEN, WINDOWS = 90, 32, 32
START = "2000-01-01"  # any date: the model has no calendar

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")
# A second thread does not help with such small matrices.
torch.set_num_threads(1)


def forecast(known: int, log_close: list[float], origins: list[int], levels: list[float], horizon: int) -> list[object]:
    """Return quantiles of log returns, (n_origins, horizon, n_levels), by a network trained on `known` closes.

    It learns the log returns over 1 to `horizon` days, as one series each: step h of the series of h-day returns is the
    return from the origin to h days later. The network has the size of candlecast's, and otherwise the library's
    defaults.
    """
    values = np.array(log_close)
    spans = range(1, horizon + 1)
    series = pd.concat([_frame(f"{span}", values[span:known] - values[: known - span]) for span in spans])
    model = LSTM(
        h=horizon, loss=MQLoss(quantiles=levels), input_size=INPUT, encoder_n_layers=1, encoder_hidden_size=HIDDEN,
        decoder_hidden_size=HIDDEN, windows_batch_size=WINDOWS, random_seed=1,
        logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    fitted = NeuralForecast([model], freq="D")
    fitted.fit(series)
    inputs = [
        _frame(
            f"{origin:06}-{span}", values[origin + 1 - INPUT : origin + 1] - values[origin + 1 - INPUT - span :][:INPUT]
        )
        for origin in origins
        for span in spans
    ]
    forecasts = fitted.predict(pd.concat(inputs)).sort_values(["unique_id", "ds"], kind="stable")
    quantiles = forecasts[[name for name in forecasts.columns if name.startswith("LSTM")]].to_numpy()
    quantiles = quantiles.reshape(len(origins), horizon, horizon, len(levels))
    steps = np.arange(horizon)
    # Quantiles that are fitted separately may cross; sorting them never makes the score worse.
    return np.sort(quantiles[:, steps, steps], axis=-1).astype(float).tolist()


def _frame(name: str, values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": name, "ds": pd.date_range(START, periods=len(values)), "y": values})


answer(forecast=forecast)
