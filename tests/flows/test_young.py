"""A market that was listed two months ago: a day never fails because it is young, and says when its models begin."""

from pathlib import Path

import pytest
from installation import rows_of
from markets import write_csv
from synthetic import random_walk

from models.catalog import family

pytestmark = pytest.mark.usefixtures("prefect_server")

SERIES = "Bitstamp_BTCUSD_d"
CANDLES = random_walk(620, seed=1)


def test_a_day_with_too_few_candles_says_from_which_close_each_model_forecasts(installation: Path) -> None:
    from flows.daily import daily

    assert family("naive").min_candles == family("range-ewma").min_candles == 60
    models = "SELECT model FROM forecasts WHERE kind = 'live' ORDER BY model"
    findings = "SELECT message, resolved_at IS NULL FROM findings WHERE code = 'young'"
    for days in (58, 59):
        write_csv(installation / "source", SERIES, CANDLES.iloc[:days])
        daily(now=CANDLES["close_time"].iloc[days - 1].to_pydatetime())
    assert rows_of(installation, models) == []
    # Said once, although the second day is nearer to it.
    assert rows_of(installation, findings) == [
        (
            "too few candles yet for some forecasts, which begin later; naive and range-ewma: from the close of Sun "
            "2015-03-01 on (60 candles)",
            1,
        )
    ]
    write_csv(installation / "source", SERIES, CANDLES.iloc[:60])
    daily(now=CANDLES["close_time"].iloc[59].to_pydatetime())
    assert rows_of(installation, models) == [("naive",), ("range-ewma",)]
    assert [is_open for _, is_open in rows_of(installation, findings)] == [0]
