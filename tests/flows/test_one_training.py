"""One training serves every series of an interval; markets that are only learnt from are fetched for it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cdd_server import CddServer
from installation import rows_of
from markets import write_csv
from synthetic import random_walk

pytestmark = pytest.mark.usefixtures("prefect_server")

BTC, ETH, LTC = "Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d", "Bitstamp_LTCUSD_d"
NOW = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)


@pytest.fixture
def small_networks(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation for `lstm`, with two months of evidence."""
    monkeypatch.setenv("CANDLECAST_MODEL", "lstm")
    monkeypatch.setenv("CANDLECAST_SKILL_DAYS", "60")


@pytest.mark.usefixtures("small_networks")
def test_one_version_is_trained_judged_and_speaks_for_every_series(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.daily import daily

    monkeypatch.setenv("CANDLECAST_SERIES", f"{BTC},{ETH}")
    for seed, name in enumerate((BTC, ETH)):
        write_csv(installation / "source", name, random_walk(520, seed=seed))
    daily(now=NOW)
    live = "SELECT id, series, interval, learnt_from FROM model_versions WHERE model = 'lstm' AND purpose = 'live'"
    ((version, series, interval, learnt_from),) = rows_of(installation, live)
    assert (series, interval, learnt_from) == (None, "d", f'["{BTC}", "{ETH}"]')
    judged = f"SELECT series FROM promotions WHERE model_version = {version} ORDER BY series"
    assert rows_of(installation, judged) == [(BTC,), (ETH,)]
    forecast_by_lstm = "SELECT series FROM forecasts WHERE model = 'lstm' AND kind = 'live' ORDER BY series"
    assert rows_of(installation, forecast_by_lstm) == [(BTC,), (ETH,)]
    quarters = "SELECT cutoff, count(*) FROM model_versions WHERE model = 'lstm' AND purpose = 'backfill' GROUP BY 1"
    assert {count for _, count in rows_of(installation, quarters)} == {1}
    before = rows_of(installation, "SELECT count(*) FROM model_versions WHERE model = 'lstm'")
    # A further series costs forecasts and a decision, and no training.
    monkeypatch.setenv("CANDLECAST_SERIES", f"{BTC},{ETH},{LTC}")
    # Sixty candles are enough for it.
    write_csv(installation / "source", LTC, random_walk(520, seed=5).iloc[-60:])
    daily(now=NOW + timedelta(hours=1))
    assert rows_of(installation, "SELECT count(*) FROM model_versions WHERE model = 'lstm'") == before
    assert rows_of(installation, judged) == [(BTC,), (ETH,), (LTC,)]
    assert rows_of(installation, forecast_by_lstm) == [(BTC,), (ETH,), (LTC,)]


@pytest.mark.usefixtures("small_networks")
def test_a_market_whose_candle_is_late_is_forecast_by_no_version_that_has_seen_more(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.daily import daily

    monkeypatch.setenv("CANDLECAST_SERIES", f"{BTC},{ETH}")
    write_csv(installation / "source", BTC, random_walk(520))
    write_csv(installation / "source", ETH, random_walk(519, seed=1))
    daily(now=NOW)
    forecast_by_lstm = "SELECT series FROM forecasts WHERE model = 'lstm' AND kind = 'live' ORDER BY series"
    assert rows_of(installation, forecast_by_lstm) == [(BTC,)]
    ahead = "SELECT count(*) FROM forecasts f JOIN model_versions m ON m.id = f.model_version WHERE m.cutoff > f.origin"
    assert rows_of(installation, ahead) == [(0,)]
    write_csv(installation / "source", ETH, random_walk(520, seed=1))
    daily(now=NOW + timedelta(hours=1))
    assert rows_of(installation, forecast_by_lstm) == [(BTC,), (ETH,)]
    assert rows_of(installation, ahead) == [(0,)]


@pytest.mark.usefixtures("small_networks")
def test_markets_to_learn_from_are_fetched_for_a_training_and_one_that_is_lacking_is_named(
    installation: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.daily import daily

    with CddServer() as server:
        for seed, name in enumerate((BTC, ETH)):
            file = write_csv(installation / "files", name, random_walk(520, seed=seed))
            server.put(name, file.read_bytes())
        monkeypatch.setenv("CANDLECAST_SOURCE", server.url)
        monkeypatch.setenv("CANDLECAST_FETCH_INTERVAL_S", "0")
        monkeypatch.setenv("CANDLECAST_LEARN_FROM", f"{BTC},{ETH},{LTC},Bitstamp_BTCUSD_1h")
        daily(now=NOW)
        assert f"has no {LTC} to learn from" in caplog.text
        daily(now=NOW + timedelta(hours=1))
    learnt = "SELECT learnt_from FROM model_versions WHERE model = 'lstm' AND purpose = 'live'"
    assert rows_of(installation, learnt) == [(f'["{BTC}", "{ETH}"]',)]
    # It is learnt from and not forecast.
    assert rows_of(installation, f"SELECT count(*) FROM forecasts WHERE series = '{ETH}'") == [(0,)]
    assert rows_of(installation, "SELECT name FROM series ORDER BY name") == [(BTC,), (ETH,)]
