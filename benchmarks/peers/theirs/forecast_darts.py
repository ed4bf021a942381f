"""Forecast with darts' BlockRNNModel, one network for all markets."""

import logging
import time
import warnings

import numpy as np
import torch
from answering import answer
from darts import TimeSeries
from darts.models import BlockRNNModel
from darts.utils.likelihood_models.torch import QuantileRegression
from spans import from_the_origins, to_forecast_from, to_learn_from

INPUT, HIDDEN, STEPS = 90, 32, 1000

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")
# A second thread does not help with such small matrices.
torch.set_num_threads(1)


def forecast(
    known: int, markets: list[list[float | None]], origins: list[int], levels: list[float], horizon: int, windows: int
) -> dict[str, object]:
    """Return quantiles of log returns, (n_markets, n_origins, horizon, n_levels), and the CPU seconds of the training.

    The network learns from the first `known` log closes of each market. It has the size of candlecast's, is trained for
    1,000 steps of `windows` windows, each scaled by its own mean and deviation, and has otherwise the library's
    defaults.
    """
    began = time.process_time()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    model = BlockRNNModel(
        INPUT, horizon, model="LSTM", hidden_dim=HIDDEN, n_rnn_layers=1, batch_size=windows, random_state=1,
        likelihood=QuantileRegression(levels), use_reversible_instance_norm=True,
        n_epochs=STEPS, pl_trainer_kwargs={"max_steps": STEPS, **quiet},
    )  # fmt: skip
    model.fit([_series(values) for values in to_learn_from(markets, known, horizon, INPUT + horizon).values()])
    cpu = time.process_time() - began
    inputs = [_series(values) for values in to_forecast_from(markets, origins, horizon, INPUT).values()]
    forecasts = model.predict(horizon, inputs, predict_likelihood_parameters=True, batch_size=1024, show_warnings=False)
    quantiles = np.stack([one.values() for one in forecasts])
    return {"quantiles": from_the_origins(quantiles, len(markets), len(origins), horizon), "training_cpu": cpu}


def _series(values: np.ndarray) -> TimeSeries:
    return TimeSeries.from_values(values.astype(np.float32))


answer(forecast=forecast)
