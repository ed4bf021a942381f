"""Fit darts' recurrent network to one synthetic market."""

import logging
import warnings

import numpy as np
from answering import answer
from darts import TimeSeries
from darts.models import BlockRNNModel
from darts.utils.likelihood_models.torch import GaussianLikelihood

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


def fit(
    features: list[list[float]], target: list[float], fits: int, hidden: int, lookback: int, horizon: int,
    batch: int, steps: int,
) -> int:  # fmt: skip
    """Fit `fits` networks, one after the other; returns the number of weights of one network.

    The likelihood is normal, because darts has no Student-t.
    """
    known = TimeSeries.from_values(np.array(features, np.float32))
    market = TimeSeries.from_values(np.array(target, np.float32))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    for seed in range(fits):
        model = BlockRNNModel(
            lookback, horizon, model="LSTM", hidden_dim=hidden, n_rnn_layers=1, batch_size=batch, n_epochs=steps,
            likelihood=GaussianLikelihood(), random_state=seed, pl_trainer_kwargs={"max_steps": steps, **quiet},
        )  # fmt: skip
        model.fit(market, past_covariates=known)
    return sum(weights.numel() for weights in model.model.parameters())


answer(fit=fit)
