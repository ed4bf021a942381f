from datetime import UTC, datetime

import numpy as np
import pytest
from synthetic import MARKET, random_walk

from models.errors import NotEnoughCandles
from models.forecasts import QUANTILE_LEVELS
from models.frames import closed_by
from models.interface import TrainRequest
from models.naive import Naive
from models.range_ewma import RangeEwma

CANDLES = random_walk(600)
CLOSES = [instant.to_pydatetime() for instant in CANDLES["close_time"]]
ORIGINS = CLOSES[450:470]
MODEL = Naive()
TRAINED = MODEL.train([TrainRequest({MARKET: CANDLES}, ORIGINS[0])])[0]


def test_the_median_is_the_last_close_at_every_step() -> None:
    for origin, forecast in zip(ORIGINS, MODEL.forecast(TRAINED, CANDLES, ORIGINS), strict=True):
        close = closed_by(CANDLES, origin)["close"].iloc[-1]
        assert [step[11] for step in forecast.values] == pytest.approx([close] * 7)


def test_bands_are_the_quantiles_of_the_past_years_returns() -> None:
    (forecast,) = MODEL.forecast(TRAINED, CANDLES, ORIGINS[:1], horizon=3)
    past = np.log(closed_by(CANDLES, ORIGINS[0])["close"].to_numpy()[-365:])
    for step in (1, 3):
        slow = [past[i + step] - past[i] for i in range(365 - step)]
        expected = np.quantile(slow, QUANTILE_LEVELS)
        expected = np.exp(past[-1] + expected - expected[11])
        np.testing.assert_allclose(forecast.values[step - 1], expected, rtol=1e-12)


def test_candles_after_an_origin_change_no_forecast() -> None:
    batch = MODEL.forecast(TRAINED, CANDLES, ORIGINS)
    changed = CANDLES.copy()
    changed.loc[changed["close_time"] > ORIGINS[5], ["open", "high", "low", "close"]] *= 7.0
    assert MODEL.forecast(TRAINED, changed, ORIGINS[:6]) == batch[:6]
    assert MODEL.forecast(TRAINED, closed_by(CANDLES, ORIGINS[3]), [ORIGINS[3]]) == [batch[3]]


def test_returns_over_a_gap_do_not_widen_the_bands() -> None:
    with_gap = random_walk(600, drop=slice(400, 412))
    log_close = np.log(with_gap["close"].to_numpy())[-365:]
    (forecast,) = MODEL.forecast(TRAINED, with_gap, [with_gap["close_time"].iloc[-1].to_pydatetime()], horizon=1)
    gap = int(np.argmax(np.diff(with_gap["open_time"].iloc[-365:].to_numpy())))
    expected = np.quantile(np.delete(np.diff(log_close), gap), QUANTILE_LEVELS)
    np.testing.assert_allclose(np.log(forecast.values[0]) - log_close[-1], expected - expected[11], atol=1e-12)


@pytest.mark.parametrize("model", [Naive(), RangeEwma()], ids=["naive", "range-ewma"])
def test_sixty_candles_are_enough_and_fewer_are_not(model: Naive | RangeEwma) -> None:
    origins = CLOSES[58:61]
    trained = model.train([TrainRequest({MARKET: CANDLES}, origins[0])])[0]
    assert len(model.forecast(trained, CANDLES, origins[1:])) == 2
    with pytest.raises(NotEnoughCandles, match="60 closed candles are needed.*there are 59 by 2015-03-01"):
        model.forecast(trained, CANDLES, origins[:1])


def test_a_year_full_of_gaps_is_refused_with_the_step_that_has_no_returns() -> None:
    # Every fifth day is missing, so there are returns over up to three days, but none over four.
    with_gap = CANDLES.drop(index=range(0, 600, 5)).reset_index(drop=True)
    origin = with_gap["close_time"].iloc[-1].to_pydatetime()
    assert len(MODEL.forecast(TRAINED, with_gap, [origin], horizon=3)) == 1
    with pytest.raises(NotEnoughCandles, match=f"returns of 4 candles without a gap.* by {origin.isoformat()[:10]}"):
        MODEL.forecast(TRAINED, with_gap, [origin], horizon=4)
    # range-ewma has its own surprises of 1 to 3 candles, and those of many markets for longer steps.
    base = RangeEwma()
    (forecast,) = base.forecast(base.train([TrainRequest({MARKET: with_gap}, origin)])[0], with_gap, [origin])
    assert forecast.values[6][-1] > forecast.values[3][-1] > forecast.values[0][-1]


def test_an_origin_at_which_no_candle_closes_is_refused() -> None:
    with pytest.raises(ValueError, match="at which a candle closes, got 2016-05-05T12:00"):
        MODEL.forecast(TRAINED, CANDLES, [datetime(2016, 5, 5, 12, tzinfo=UTC)])


def test_quantiles_rise_and_prices_are_positive() -> None:
    wild = random_walk(200, sigma=0.9)
    (forecast,) = MODEL.forecast(TRAINED, wild, [wild["close_time"].iloc[-1].to_pydatetime()])
    values = np.array(forecast.values)
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values > 0).all()
