"""The training of many markets on a GPU: `make gpu`. Without a card nothing here runs."""

from datetime import timedelta

import numpy as np
import pytest
from synthetic import random_walk

from models.interface import TrainRequest
from models.lstm.backend import on_accelerator
from models.lstm.forecaster import Lstm

pytestmark = pytest.mark.gpu


def test_the_networks_of_forty_markets_and_eighteen_quarters_are_trained_on_the_card_within_ten_minutes() -> None:
    assert on_accelerator(), "no GPU is visible to the networks' library"
    markets = {f"Bitstamp_C{chr(65 + number // 26)}{chr(65 + number % 26)}USD_d": random_walk(2000, seed=number)
               for number in range(40)}  # fmt: skip
    last = next(iter(markets.values()))["close_time"].iloc[-1].to_pydatetime()
    cutoffs = [last - timedelta(days=91 * quarter) for quarter in range(18)]
    trained = Lstm().train([TrainRequest(markets, cutoff) for cutoff in cutoffs])
    assert sum(model.seconds for model in trained) < 600
    assert {len(model.config["learnt_from"]) for model in trained} == {40}
    assert not any(model.device.endswith("on cpu") for model in trained)
    assert all(np.isfinite(values).all() for model in trained for values in model.weights.values())
