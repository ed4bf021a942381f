"""Findings, doctor, the HTTP API, /healthz, the metrics and the page agree on which series are stale.

One database holds a series on each side of the bound, with and without a known time of publication.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from browser import Opened, chromium
from installation import Installation
from stores import Store
from web_server import Web

from candlecast.commands.doctor import examine
from flows.settings import Settings
from models.candles import Interval
from storage.database.engine import open_database, reading
from storage.health import check_age

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
# So far on either side of the bound: more than this test takes.
MARGIN = 5 * MINUTE
# Two missing days, and half a day where the source's usual time of publication is not known.
UNKNOWN = 2 * DAY + 12 * HOUR
# Where it is known to be two hours after the close: that, and an hour.
KNOWN = 2 * DAY + 3 * HOUR
STALE = {
    "Bitstamp_BTCUSD_d": False,
    "Bitstamp_ETHUSD_d": True,
    "Kraken_BTCUSD_d": False,
    "Kraken_ETHUSD_d": True,
}


@pytest.fixture
def installation(tmp_path: Path, prefect_home: Path) -> Installation:
    installation = Installation(tmp_path, prefect_home)
    engine = open_database(f"sqlite:///{installation.database}")
    store = Store(engine)
    now = datetime.now(UTC).replace(microsecond=0)
    for series, stale in STALE.items():
        store.add_series(series)
        is_known = series.startswith("Kraken")
        close = now - (KNOWN if is_known else UNKNOWN) + (-MARGIN if stale else MARGIN)
        for day in range(9, -1, -1):
            closed = close - day * DAY
            # Candles that came together are a history, which does not say when the source publishes.
            came = closed + 2 * HOUR if is_known else now
            store.add_candle(closed - DAY, 100.0, series=series, fetched_at=came, file_time=came if is_known else None)
        version = store.add_version(series=series)
        store.promote(version, series=series)
        store.add_forecasts(version, [close], series=series)
    engine.dispose()
    return installation


def test_all_agree_on_both_sides_of_the_bound(installation: Installation) -> None:
    settings = Settings(
        database_url=f"sqlite:///{installation.database}",
        source=str(installation.folder),
        series=tuple(STALE),
    )
    checks = {check.check: check.ok for check in examine(settings)}
    assert {series: not checks[f"data of {series}"] for series in STALE} == STALE
    engine = open_database(settings.database_url)
    with reading(engine) as conn:
        seen = {
            series: bool(check_age(conn, series=series, interval=Interval.DAY, now=datetime.now(UTC)))
            for series in STALE
        }
    engine.dispose()
    assert seen == STALE
    with Web(installation) as web:
        answered = {row["name"]: row["stale"] for row in web.get("/api/v1/series").json()["rows"]}
        assert answered == STALE
        health = web.get("/healthz").json()
        assert {series: series in health["stale"] for series in health["data_age_s"]} == STALE
        assert (health["status"], health["late"]) == ("degraded", [])
        metrics = web.get("/metrics").text
        for series, stale in STALE.items():
            assert f'candlecast_data_stale{{series="{series}"}} {float(stale)}' in metrics
        with chromium() as browser:
            for series in ("Kraken_BTCUSD_d", "Kraken_ETHUSD_d"):
                with Opened(browser) as window:
                    page = window.open(f"{web.url}/#{series}")
                    assert page.locator("#series").input_value() == series
                    assert page.locator("#notice").is_visible() == STALE[series]
