"""Fit neuralforecast's LSTM to one synthetic market."""

import logging
import warnings

import pandas as pd
from answering import answer
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import DistributionLoss
from neuralforecast.models import LSTM

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


def fit(
    features: list[list[float]], target: list[float], fits: int, hidden: int, lookback: int, horizon: int,
    batch: int, steps: int,
) -> int:  # fmt: skip
    """Fit `fits` networks with a Student-t loss, one after the other; returns the weights per network."""
    names = [f"x{place}" for place in range(len(features[0]))]
    market = pd.DataFrame(features, columns=names).assign(
        unique_id="market", ds=pd.date_range("2020-01-01", periods=len(target)), y=target
    )
    for seed in range(fits):
        model = LSTM(
            h=horizon, input_size=lookback, loss=DistributionLoss("StudentT"), hist_exog_list=names,
            encoder_n_layers=1, encoder_hidden_size=hidden, decoder_hidden_size=hidden, windows_batch_size=batch,
            max_steps=steps, random_seed=seed,
            logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        fitted = NeuralForecast([model], freq="D")
        fitted.fit(market)
    return sum(weights.numel() for weights in fitted.models[0].parameters())


answer(fit=fit)
