"""Which candles of a frame a forecast may see."""

from datetime import timedelta

from synthetic import random_walk

from models.candles import CANDLE_COLUMNS
from models.frames import closed_by


def test_a_candle_has_closed_at_the_instant_of_its_close_and_not_before() -> None:
    candles = random_walk(5)
    instant = candles["close_time"].iloc[2].to_pydatetime()
    assert closed_by(candles, instant).equals(candles.iloc[:3])
    assert closed_by(candles, instant - timedelta(microseconds=1)).equals(candles.iloc[:2])
    # Also of a part of a frame, the rows are counted from 0 and the columns are those of every candle frame.
    part = closed_by(candles.iloc[1:], instant)
    assert list(part.index) == [0, 1]
    assert tuple(part.columns) == tuple(CANDLE_COLUMNS)
