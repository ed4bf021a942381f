from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select

from storage.series import SeriesRow, series_names, series_summary
from storage.tables import series

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_series_is_stored_once_with_the_parts_of_its_name(store: Any, engine: Engine) -> None:
    store.add_series("Bitstamp_BTCUSD_d")
    with engine.connect() as conn:
        assert conn.execute(select(series)).all() == [
            ("Bitstamp_BTCUSD_d", "Bitstamp", "BTCUSD", "d", "BTC", "USD", store.now)
        ]


def test_names_are_sorted(store: Any, engine: Engine) -> None:
    for name in ("Kraken_ETHEUR_1h", "Binance_BTCUSDT_d"):
        store.add_series(name)
    with engine.connect() as conn:
        assert series_names(conn) == ["Binance_BTCUSDT_d", "Bitstamp_BTCUSD_d", "Kraken_ETHEUR_1h"]


def test_the_summary_counts_each_closed_candle_once(store: Any, engine: Engine) -> None:
    store.add_series("Kraken_ETHEUR_1h")
    store.add_candle(FIRST, 1.0)
    store.add_candle(FIRST, 2.0, fetched_at=store.now + DAY)
    store.add_candle(FIRST + DAY, 3.0)
    store.add_candle(FIRST + 2 * DAY, 4.0, provisional=True)
    with engine.connect() as conn:
        assert series_summary(conn) == [
            SeriesRow("Bitstamp_BTCUSD_d", "Bitstamp", "BTCUSD", "d", 2, FIRST, FIRST + 2 * DAY),
            SeriesRow("Kraken_ETHEUR_1h", "Kraken", "ETHEUR", "1h", 0, None, None),
        ]
