"""Forecast with neuralforecast's LSTM, one network for all markets."""

import logging
import time
import warnings

import numpy as np
import pandas as pd
import torch
from answering import answer
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import LSTM
from spans import Series, from_the_origins, to_forecast_from, to_learn_from

INPUT, HIDDEN = 90, 32
START = "2000-01-01"  # any date: the model has no calendar

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")
# A second thread does not help with such small matrices.
torch.set_num_threads(1)


def forecast(
    known: int, markets: list[list[float | None]], origins: list[int], levels: list[float], horizon: int, windows: int
) -> dict[str, object]:
    """Return quantiles of log returns, (n_markets, n_origins, horizon, n_levels), and the CPU seconds of the training.

    The network learns from the first `known` log closes of each market. It has the size of candlecast's, `windows`
    windows in each step, and otherwise the library's defaults.
    """
    began = time.process_time()
    model = LSTM(
        h=horizon, loss=MQLoss(quantiles=levels), input_size=INPUT, encoder_n_layers=1, encoder_hidden_size=HIDDEN,
        decoder_hidden_size=HIDDEN, windows_batch_size=windows, random_seed=1,
        logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    fitted = NeuralForecast([model], freq="D")
    fitted.fit(_frame(to_learn_from(markets, known, horizon, INPUT + horizon)))
    cpu = time.process_time() - began
    forecasts = fitted.predict(_frame(to_forecast_from(markets, origins, horizon, INPUT)))
    forecasts = forecasts.sort_values(["unique_id", "ds"], kind="stable")
    quantiles = forecasts[[name for name in forecasts.columns if name.startswith("LSTM")]].to_numpy()
    return {"quantiles": from_the_origins(quantiles, len(markets), len(origins), horizon), "training_cpu": cpu}


def _frame(series: Series) -> pd.DataFrame:
    first = np.datetime64(START, "ns")
    return pd.DataFrame(
        {
            "unique_id": np.repeat(list(series), [len(values) for values in series.values()]),
            "ds": np.concatenate(
                [first + np.arange(len(values)) * np.timedelta64(1, "D") for values in series.values()]
            ),
            "y": np.concatenate(list(series.values())),
        }
    )


answer(forecast=forecast)
