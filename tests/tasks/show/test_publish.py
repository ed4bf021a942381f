"""The table of a forecast for people."""

from datetime import timedelta

from sqlalchemy import Engine
from stores import Store

from storage.database.engine import reading
from storage.forecasts import read_bands
from tasks.show.publish import forecast_table


def test_all_prices_of_a_forecast_have_the_same_decimals(engine: Engine) -> None:
    store = Store(engine)
    version = store.add_version("naive")
    store.add_forecasts(version, [store.origin + timedelta(days=1)], centre=992.0)
    with reading(engine) as conn:
        rows = forecast_table(read_bands(conn))
    texts = [text for row in rows for name, text in row.items() if name == "median" or name.endswith("band")]
    prices = [price for text in texts for price in str(text).split(" – ")]
    assert {len(price.split(".")[1]) for price in prices} == {3}
    # Some are below and some above a thousand.
    assert {len(price) for price in prices} == {len("999.000"), len("1,000.000")}
