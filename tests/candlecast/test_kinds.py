"""SQL, Python, commands, HTTP API, page, metrics, drift and gate tell live, late and backfilled forecasts apart.

One database holds backfilled forecasts, live ones stored in time, and live ones stored half a day after their first
candle had closed: their first step is late, the others are live.
"""

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from browser import Opened, chromium
from installation import Installation
from sqlalchemy import text
from stores import Store
from web_server import Web

import candlecast
from models.forecasts import Kind
from storage.database.engine import open_database
from tasks.steps.drift import check_drift
from tasks.steps.gate import gate
from tasks.steps.score import score_matured

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
BACKFILLED, IN_TIME, LATE = 30, 40, 40
LAST = FIRST + (BACKFILLED + IN_TIME + LATE - 1) * DAY
STEPS = range(1, 8)
EXPECTED = (
    {("backfill", step): BACKFILLED for step in STEPS}
    | {("live", step): IN_TIME + (LATE if step > 1 else 0) for step in STEPS}
    | {("late", 1): LATE}
)
# The steps of live forecasts, by whether they were stored before their close.
IN_BANDS = {True: 7 * IN_TIME + 6 * LATE, False: LATE}


@pytest.fixture(scope="module")
def installation(tmp_path_factory, prefect_home):
    installation = Installation(tmp_path_factory.mktemp("kinds"), prefect_home)
    engine = open_database(f"sqlite:///{installation.database}")
    store = Store(engine)
    for day in range(BACKFILLED + IN_TIME + LATE + 8):
        store.add_candle(FIRST + (day - 1) * DAY, 100.0, fetched_at=FIRST + (day + 1) * DAY)
    origins = [FIRST + day * DAY for day in range(BACKFILLED + IN_TIME + LATE)]
    versions = {}
    for model in ("naive", "lstm"):
        versions[model] = version = store.add_version(model)
        # All forecasts are far too high, so that late ones would be found as drift if they counted.
        store.add_forecasts(version, origins[:BACKFILLED], model=model, kind=Kind.BACKFILL, centre=200.0)
        for at, origin in enumerate(origins[BACKFILLED:]):
            created_at = origin + (DAY / 4 if at < IN_TIME else 3 * DAY / 2)
            centre = 200.0 if model == "lstm" else 150.0
            store.add_forecasts(version, [origin], model=model, centre=centre, created_at=created_at)
    store.promote(versions["lstm"])
    assert score_matured(engine, series=store.series, now=LAST + 9 * DAY) == 2 * sum(EXPECTED.values())
    yield installation, engine, versions["lstm"]
    engine.dispose()


@pytest.fixture(scope="module")
def web(installation):
    with Web(installation[0]) as running:
        yield running


def counts(rows):
    return {(row["kind"], row["step"]): row["n"] for row in rows if row["model"] == "lstm"}


def before_close(rows):
    return Counter(bool(row["before_close"]) for row in rows if row["model"] == "lstm" and row["kind"] == "live")


def test_sql_tells_the_kinds_apart(installation):
    with installation[1].connect() as conn:
        skill = conn.execute(text("SELECT model, kind, step, n FROM model_skill")).mappings().all()
        bands = conn.execute(text("SELECT model, kind, before_close FROM forecast_bands")).mappings().all()
    assert counts(skill) == EXPECTED
    assert before_close(bands) == IN_BANDS


def test_python_tells_the_kinds_apart(installation):
    engine = installation[1]
    assert counts(candlecast.skill(database=engine).to_dict("records")) == EXPECTED
    for kind in ("live", "late", "backfill"):
        rows = candlecast.skill(database=engine, kind=kind).to_dict("records")
        assert counts(rows) == {key: n for key, n in EXPECTED.items() if key[0] == kind}
    assert before_close(candlecast.forecasts(database=engine, kind="live").to_dict("records")) == IN_BANDS


def test_the_reliability_of_each_kind_counts_its_own_forecasts(installation):
    frame = candlecast.reliability(Store.series, database=installation[1], model="lstm")
    origins = frame.groupby(["kind", "step"])["origins"].max().to_dict()
    assert origins == EXPECTED
    # All these forecasts are far too high, and no close is below the closes before it: all are equal.
    assert set(frame["high"]) == {0.01}
    assert set(frame["realised"]) == {0.0}
    late = candlecast.reliability(Store.series, database=installation[1], kind="late")
    assert set(late["kind"]) == {"late"}


def test_the_commands_tell_the_kinds_apart(installation):
    def printed(*words):
        done = installation[0].run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert counts(printed("skill")) == EXPECTED
    assert counts(printed("skill", "--kind", "late")) == {("late", 1): LATE}
    assert before_close(printed("forecasts", "--kind", "live")) == IN_BANDS


def test_a_hub_file_never_mixes_the_kinds_and_says_which_steps_are_late(installation):
    command = installation[0].run
    mixed = command("forecasts", "--model", "lstm", "--format", "hub")
    assert mixed.returncode == 2
    assert "a hub's file has no column for the kind" in mixed.stderr
    live = command("forecasts", "--model", "lstm", "--kind", "live", "--format", "hub")
    assert len(list(csv.DictReader(io.StringIO(live.stdout)))) == 23 * 7 * (IN_TIME + LATE)
    assert f"{LATE} of {7 * (IN_TIME + LATE)} steps were stored after their close" in " ".join(live.stderr.split())
    backfilled = command("forecasts", "--model", "lstm", "--kind", "backfill", "--format", "hub")
    assert "after their close" not in backfilled.stderr
    latest = command("forecasts", "--format", "hub")
    assert "1 of 7 steps were stored after their close" in " ".join(latest.stderr.split())


def test_the_http_api_and_the_metrics_tell_the_kinds_apart(web):
    assert counts(web.get("/api/v1/skill").json()["rows"]) == EXPECTED
    assert counts(web.get("/api/v1/skill?kind=live").json()["rows"]) == {
        key: n for key, n in EXPECTED.items() if key[0] == "live"
    }
    bands = web.get("/api/v1/forecasts?model=lstm&kind=live&limit=10000").json()["rows"]
    assert before_close(bands) == IN_BANDS
    pits = Counter()
    for row in web.get("/api/v1/calibration").json()["rows"]:
        if row["model"] == "lstm":
            pits[row["kind"], row["step"]] += row["n"]
    assert pits == EXPECTED
    # The champion's newest forecast was stored half a day after its first close.
    line = 'candlecast_forecast_before_close_seconds{model="lstm",series="Bitstamp_BTCUSD_d"} -43200.0'
    assert line in web.get("/metrics").text.splitlines()


def test_the_page_tells_the_kinds_apart(web):
    with chromium() as browser, Opened(browser, viewport={"width": 1280, "height": 900}) as window:
        page = window.open(f"{web.url}/#{Store.series}")
        for kind, n in (("live", IN_TIME), ("late", LATE), ("backfill", BACKFILLED)):
            words = "backfilled" if kind == "backfill" else kind
            assert page.locator(f"#trust-{kind}").inner_text().startswith(f"In {n} {words} forecasts one step ahead")
        assert page.locator("#stored").inner_text().endswith("step 1 is after the fact.")
        assert window.troubles == []


def test_drift_and_the_gate_count_no_late_step(installation):
    _, engine, version = installation
    series = Store.series
    # Forty live days are too few to find drift; with the late ones they would be enough, and all are bad.
    assert check_drift(engine, series=series, now=LAST) is None
    decision = gate(
        engine, series=series, version=version, model="lstm", baseline="naive", start=FIRST, now=LAST + 9 * DAY
    )
    assert decision.evidence["origins"] == BACKFILLED + IN_TIME
