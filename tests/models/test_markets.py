"""Which markets are learnt from: each coin once, sound ones only, and nothing after the cutoff decides."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from synthetic import random_walk

from models.markets import LEAST_CANDLES, coin, is_sound, markets_to_learn_from


def _cutoff(candles: pd.DataFrame, row: int = -1) -> datetime:
    instant: datetime = candles["close_time"].iloc[row].to_pydatetime()
    return instant


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ("Bitstamp_BTCUSD_d", "BTC"),
        ("Kraken_XBTEUR_d", "BTC"),
        ("Binance_BTCUSDT_1h", "BTC"),
        ("Binance_ETHBTC_d", "ETH/BTC"),
        ("Binance_BNBETH_d", "BNB/ETH"),
    ],
)
def test_money_is_one_quote_currency_and_a_pair_of_coins_a_market_of_its_own(series: str, expected: str) -> None:
    assert coin(series) == expected


def test_the_longest_series_of_a_coin_at_the_cutoff_is_learnt_from_and_the_first_name_decides_a_tie() -> None:
    long, short = random_walk(600), random_walk(600).iloc[100:].reset_index(drop=True)
    markets = {"Kraken_XBTUSD_d": long, "Bitstamp_BTCUSD_d": short, "Bitstamp_ETHUSD_d": random_walk(600, seed=1)}
    assert markets_to_learn_from(markets, _cutoff(long)) == ["Bitstamp_ETHUSD_d", "Kraken_XBTUSD_d"]
    twins = {"Kraken_XBTUSD_d": long, "Bitstamp_BTCUSD_d": long}
    assert markets_to_learn_from(twins, _cutoff(long)) == ["Bitstamp_BTCUSD_d"]


def test_candles_after_the_cutoff_decide_nothing() -> None:
    long, growing = random_walk(600, drop=slice(0, 100)), random_walk(900)
    # By the cutoff `growing` has fewer candles, later it has more.
    late = growing.iloc[300:].reset_index(drop=True)
    markets = {"Kraken_BTCUSD_d": long, "Bitstamp_BTCUSD_d": late}
    cutoff = _cutoff(long)
    assert markets_to_learn_from(markets, cutoff) == ["Kraken_BTCUSD_d"]
    assert markets_to_learn_from(markets, cutoff + timedelta(days=300)) == ["Bitstamp_BTCUSD_d"]
    broken = late.copy()
    broken.loc[(late["close_time"] > cutoff).to_numpy(), ["open", "high", "low", "close"]] = 1.0
    assert markets_to_learn_from(markets | {"Bitstamp_BTCUSD_d": broken}, cutoff) == ["Kraken_BTCUSD_d"]


def test_a_market_that_is_short_pegged_or_still_is_not_sound() -> None:
    walk = random_walk(400)
    assert is_sound(walk)
    assert is_sound(walk.iloc[:LEAST_CANDLES])
    assert not is_sound(walk.iloc[: LEAST_CANDLES - 1])
    assert not is_sound(random_walk(400, sigma=0.001))
    # A fifth of the candles may stand still.
    for every, sound in ((5, True), (4, False)):
        still = walk.copy()
        rows = np.arange(400) % every == 0
        for column in ("high", "low"):
            still.loc[rows, column] = still.loc[rows, "close"]
        assert is_sound(still) is sound
    assert markets_to_learn_from({"Bitstamp_BTCUSD_d": still}, _cutoff(walk)) == []


def test_an_hourly_market_may_move_less() -> None:
    hourly = random_walk(400, sigma=0.002, length=timedelta(hours=1))
    assert is_sound(hourly)
    assert not is_sound(random_walk(400, sigma=0.002))
