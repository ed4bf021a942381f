"""The checks of doctor: what they report about a database and a Prefect server, and their remedies."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cdd_server import CddServer, Reply
from markets import ingest
from prefect_parts import free_port
from sqlalchemy import text
from synthetic import random_walk

from candlecast.commands.doctor import Check, examine
from flows.settings import Settings
from models.catalog import scope
from storage.database.engine import open_database
from storage.decisions import promote
from storage.registry import register

SERIES = "Bitstamp_BTCUSD_d"
OTHER = "Bitstamp_ETHUSD_d"
CANDLES = 40


class House:
    """A database whose newest candle ended last midnight, and the source beside it."""

    def __init__(self, folder: Path) -> None:
        self.midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.source = folder / "source"
        self.settings = Settings(
            database_url=f"sqlite:///{folder / 'candlecast.db'}",
            source=str(self.source),
            series=(SERIES, OTHER),
        )
        self.engine = open_database(self.settings.database_url)
        self.ingest(SERIES, ended=self.midnight)

    def ingest(self, series: str, *, ended: datetime) -> None:
        candles = random_walk(CANDLES, start=ended - timedelta(days=CANDLES))
        ingest(self.engine, self.source, series, candles, now=ended + timedelta(minutes=20))

    def champion(self, *, cutoff: datetime, model: str = "lstm") -> int:
        with self.engine.begin() as conn:
            version = register(
                conn,
                scope=scope(model, SERIES),
                model=model,
                config={},
                seed=0,
                cutoff=cutoff,
                data_fingerprint="f" * 64,
                device="cpu",
                seconds=1.0,
                purpose="live",
                code_version="0.1.0",
                created_at=cutoff,
                weights=None,
                learnt_from=(SERIES, OTHER),
            )
            promote(conn, version=version, series=SERIES, reason="test", decided_at=cutoff)
        return version

    def checks(self) -> dict[str, Check]:
        return {check.check: check for check in examine(self.settings)}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    with_data = House(tmp_path)
    yield with_data
    with_data.engine.dispose()


def test_checks_that_pass_have_no_remedy(house: House) -> None:
    house.ingest(OTHER, ended=house.midnight)
    version = house.champion(cutoff=house.midnight)
    checks = house.checks()
    assert list(checks) == [
        "source",
        "database",
        "file",
        f"data of {SERIES}",
        f"arrivals of {SERIES}",
        f"champion of {SERIES}",
        f"data of {OTHER}",
        f"arrivals of {OTHER}",
        f"champion of {OTHER}",
        "blend for d series",
        "prefect",
        "device",
    ]
    assert [check.check for check in checks.values() if not check.ok] == [f"champion of {OTHER}"]
    assert {check.remedy for check in checks.values() if check.ok} == {""}
    assert checks[f"champion of {SERIES}"].found == (
        f"version {version} (lstm) since {house.midnight:%Y-%m-%d}, trained up to {house.midnight:%Y-%m-%d}"
    )


def test_doctor_says_what_the_networks_learnt_from_and_how_old_they_are(house: House) -> None:
    assert house.checks()["blend for d series"] == Check("blend for d series", True, "not trained yet")
    cutoff = house.midnight - timedelta(days=3)
    version = house.champion(cutoff=cutoff, model="blend")
    assert house.checks()["blend for d series"].found == (
        f"version {version} learnt from 2 series up to {cutoff:%Y-%m-%d}, 3 days ago: {SERIES}, {OTHER}"
    )


def test_doctor_shows_the_usual_and_todays_time_of_publication(house: House) -> None:
    house.ingest(OTHER, ended=house.midnight)
    words = house.checks()[f"arrivals of {OTHER}"].found
    assert words.startswith("usual time of publication not known yet; today ")
    assert words.endswith("(as far as it was seen)")


@pytest.mark.parametrize(("hours", "advised"), [(15.0, False), (12.0, True)])
def test_doctor_names_the_setting_to_raise_where_the_candle_often_comes_after_the_wait(
    house: House, hours: float, advised: bool
) -> None:
    candles = random_walk(CANDLES + 6, start=house.midnight - timedelta(days=CANDLES + 6))
    for n in range(CANDLES, CANDLES + 6):
        seen = house.midnight - timedelta(days=CANDLES + 6 - n) + timedelta(hours=14)
        ingest(house.engine, house.source, OTHER, candles.head(n), now=seen)
    house.settings = replace(house.settings, wait_hours=hours)
    words = house.checks()[f"arrivals of {OTHER}"].found
    assert words.startswith("usually published 14:00 UTC")
    advice = (
        "; a day waits until 12 h after the close, and the candle often comes later: "
        "raise CANDLECAST_WAIT_HOURS (12 now, 23 at most)"
    )
    assert (advice in words) == advised


def test_each_series_reports_its_missing_parts(house: House) -> None:
    checks = house.checks()
    assert checks[f"data of {SERIES}"].ok
    assert checks[f"champion of {SERIES}"] == Check(
        f"champion of {SERIES}", False, "none", f"run: candlecast daily {SERIES}"
    )
    assert checks[f"data of {OTHER}"] == Check(
        f"data of {OTHER}", False, "no candles stored", f"run: candlecast ingest {OTHER}"
    )
    assert f"champion of {OTHER}" not in checks


def test_candles_are_late_after_two_intervals_and_half_a_day(house: House) -> None:
    house.ingest(OTHER, ended=house.midnight - timedelta(days=3))
    checks = house.checks()
    assert checks[f"data of {SERIES}"].ok
    late = checks[f"data of {OTHER}"]
    assert not late.ok
    assert f"the newest stored close is that of {house.midnight - timedelta(days=4):%a %Y-%m-%d}, " in late.found
    assert "schedule" in late.remedy


@pytest.mark.parametrize(("days", "ok"), [(98, True), (99, False)])
def test_a_champion_is_stale_once_a_training_from_scratch_and_a_fine_tuning_are_overdue(
    house: House, days: int, ok: bool
) -> None:
    house.champion(cutoff=house.midnight - timedelta(days=days))
    check = house.checks()[f"champion of {SERIES}"]
    assert (check.ok, check.remedy) == (ok, "" if ok else f"run: candlecast train {SERIES}")


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(house: House) -> None:
    with house.engine.begin() as conn:
        conn.execute(text("DROP VIEW IF EXISTS latest_forecasts"))
        conn.execute(text("ALTER TABLE promotions RENAME TO elsewhere"))
    checks = house.checks()
    assert not checks[f"data of {SERIES}"].ok
    assert "promotions" in checks[f"data of {SERIES}"].found
    assert checks[f"data of {SERIES}"].remedy
    assert checks["device"].ok


@pytest.fixture(params=[200, 503])
def prefect(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A server that answers with the given status at the path of Prefect's health check."""
    status: int = request.param
    with CddServer() as server:
        server.answer = lambda request_: Reply(status if request_.path == "/api/health" else 404)
        yield f"127.0.0.1:{server.port}/api", status


def test_prefects_server_is_asked_and_its_password_kept(
    house: House, prefect: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, status = prefect
    monkeypatch.setenv("PREFECT_API_URL", f"http://me:secret@{address}/")
    check = house.checks()["prefect"]
    assert check.ok == (status == 200)
    assert (check.remedy == "") == check.ok
    assert address in check.found
    assert "secret" not in check.found


def test_a_server_that_does_not_answer_is_to_be_started(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", address)
    assert house.checks()["prefect"] == Check(
        "prefect", False, f"{address}: ConnectionError", "start it: candlecast serve"
    )
