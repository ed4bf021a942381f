"""A day waits for each series' candle: nobody waits for another, and nothing is given up without a word."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cdd_server import CddServer, Reply, Request
from events import arrived
from installation import rows_of
from prefect_parts import ROOT
from waiting import DAY, JumpingClock, live_day, market

pytestmark = pytest.mark.usefixtures("prefect_server")

CLOSE = datetime(2026, 4, 23, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
START = CLOSE + 5 * MINUTE


def stored(installation: Path, series: str, origin: datetime = CLOSE) -> dict[str, datetime]:
    """When each model's live forecast from `origin` was stored."""
    query = (
        f"SELECT model, created_at FROM forecasts WHERE kind = 'live' AND series = '{series}' "
        f"AND origin = '{origin:%Y-%m-%d %H:%M:%S}'"
    )
    return {model: datetime.fromisoformat(at).replace(tzinfo=UTC) for model, at in rows_of(installation, query)}


@pytest.fixture
def source(installation: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A source whose clock is that of the day, and an installation that asks it."""
    with CddServer() as server:
        settings = {"SOURCE": server.url, "FETCH_INTERVAL_S": "0", "MODEL": "naive"}
        for name, value in settings.items():
            monkeypatch.setenv(f"CANDLECAST_{name}", value)
        yield server


def test_each_series_is_forecast_minutes_after_its_own_candle(installation: Path, source: CddServer) -> None:
    delays = {"Bitstamp_TRXUSD_d": 2 * HOUR, "Bitstamp_ETHUSD_d": 6 * HOUR, "Bitstamp_LTCUSD_d": 10 * MINUTE}
    out = {}
    for name, delay in delays.items():
        one = market(source, name, n=230, ends=CLOSE)
        one.publish(228, 30 * MINUTE)
        out[name] = one.publish(229, delay)
    clock = JumpingClock(START)
    source.clock = clock
    live_day(clock, *delays)
    for name, at in out.items():
        created_at = stored(installation, name)
        assert set(created_at) == {"naive", "range-ewma"}
        assert all(timedelta(0) <= when - at <= 6 * MINUTE for when in created_at.values()), (name, created_at, at)
    # The forecast from the close before, made while the day waited, has no note: two hours later it is old news.
    notes = [payload["message"].splitlines()[0] for payload in arrived("candlecast.note", "Bitstamp_TRXUSD_d")]
    assert notes == ["Bitstamp_TRXUSD_d, after the close of 2026-04-22"]
    assert rows_of(installation, "SELECT count(*) FROM findings WHERE code = 'late'") == [(0,)]


@pytest.mark.slow
def test_a_candle_that_does_not_come_is_late_and_the_next_run_takes_it(installation: Path, source: CddServer) -> None:
    from flows.daily import DailyFailed

    name = "Bitstamp_XLMUSD_d"
    one = market(source, name, n=232, ends=CLOSE + 2 * DAY)
    one.publish(228, 30 * MINUTE)
    clock = JumpingClock(START)
    source.clock = clock
    with pytest.raises(DailyFailed, match="late: the candle of Wed 2026-04-22 has not been published in time"):
        live_day(clock, name)
    assert clock() == CLOSE + 12 * HOUR
    late = "SELECT message, resolved_at IS NULL FROM findings WHERE code = 'late'"
    assert rows_of(installation, late) == [("the candle of Wed 2026-04-22 has not been published in time", 1)]
    # From what is stored the champion has spoken all the same.
    assert set(stored(installation, name, CLOSE - DAY)) == {"naive", "range-ewma"}
    (payload,) = arrived("candlecast.late", name)
    assert payload["message"].startswith(f"{name}: the candle of Wed 2026-04-22")
    # Both days come at once, the day after.
    at = one.publish(230, 2 * HOUR)
    clock = JumpingClock(START + DAY)
    source.clock = clock
    live_day(clock, name)
    assert clock() - at <= 6 * MINUTE
    assert rows_of(installation, late) == [("the candle of Wed 2026-04-22 has not been published in time", 0)]
    assert rows_of(installation, "SELECT count(*) FROM current_candles") == [(231,)]
    assert set(stored(installation, name, CLOSE + DAY)) == {"naive", "range-ewma"}
    assert stored(installation, name) == {}


def test_a_series_is_scored_and_forecast_while_another_one_is_late(installation: Path, source: CddServer) -> None:
    from flows.daily import DailyFailed

    punctual, late = (
        market(source, name, n=231, ends=CLOSE + DAY) for name in ("Bitstamp_NEOUSD_d", "Bitstamp_EOSUSD_d")
    )
    for one in (punctual, late):
        one.publish(229, 10 * MINUTE)
    clock = JumpingClock(START)
    source.clock = clock
    live_day(clock, punctual.series, late.series)
    at = punctual.publish(230, HOUR)
    clock = JumpingClock(START + DAY)
    source.clock = clock
    with pytest.raises(DailyFailed, match="Bitstamp_EOSUSD_d: late"):
        live_day(clock, late.series, punctual.series)
    assert clock() == CLOSE + DAY + 12 * HOUR
    scored = rows_of(
        installation,
        "SELECT f.series, f.model, s.scored_at FROM scores s JOIN forecasts f ON f.id = s.forecast WHERE s.step = 1",
    )
    assert {(series, model) for series, model, _ in scored} == {
        (punctual.series, model) for model in ("naive", "range-ewma")
    }
    times = [datetime.fromisoformat(scored_at).replace(tzinfo=UTC) for _, _, scored_at in scored]
    times += stored(installation, punctual.series, CLOSE + DAY).values()
    assert len(times) == 4
    assert all(timedelta(0) <= moment - at <= 6 * MINUTE for moment in times)


@pytest.mark.slow
@pytest.mark.parametrize(
    "last_modified_of",
    [lambda at: at, lambda _at: None, lambda at: at + 9 * DAY],
    ids=["its time", "no time", "the future"],
)
def test_a_partial_day_is_not_taken_for_the_whole_one(
    installation: Path, source: CddServer, last_modified_of: Any
) -> None:
    name = "Bitstamp_XRPUSD_d"
    one = market(source, name, n=231, ends=CLOSE + DAY)
    # Ten minutes before its end, and whole two hours after it; the row of the next day follows, so that it is closed
    # whatever the time of the file.
    one.publish(229, -10 * MINUTE, partial=True, last_modified=last_modified_of)
    at = CLOSE + 2 * HOUR
    source.publish(name, one.file(230, partial=True), at, last_modified=last_modified_of(at))
    clock = JumpingClock(START)
    source.clock = clock
    live_day(clock, name)
    assert timedelta(0) <= clock() - at <= 6 * MINUTE
    ((close,),) = rows_of(installation, f"SELECT close FROM current_candles WHERE close_time = '{CLOSE:%F %T}'")
    assert close == one.candles["close"].iloc[229]
    assert all(timedelta(0) <= when - at <= 6 * MINUTE for when in stored(installation, name).values())


@pytest.mark.slow
@pytest.mark.parametrize("honest", [True, False], ids=["dated once", "dated anew for each answer"])
def test_a_file_that_is_too_new_is_fetched_again_when_its_age_can_tell(
    installation: Path, source: CddServer, monkeypatch: pytest.MonkeyPatch, honest: bool
) -> None:
    from flows.daily import DailyFailed

    monkeypatch.setenv("CANDLECAST_POLL_INTERVAL_S", "10")
    monkeypatch.setenv("CANDLECAST_WAIT_HOURS", "0.5")
    name = "Bitstamp_BCHUSD_d"
    one = market(source, name, n=230, ends=CLOSE)
    one.publish(228, 30 * MINUTE)
    at = one.publish(229, 10 * MINUTE)
    clock = JumpingClock(START)
    source.clock = clock
    if not honest:
        # No row follows the newest candle, and nothing says that it is over.
        source.answer = lambda request: source.dated(request, clock())
        with pytest.raises(DailyFailed, match="late"):
            live_day(clock, name)
        assert len(source.requests) < 400
        assert stored(installation, name) == {}
        return
    live_day(clock, name)
    assert clock() - at <= 2 * MINUTE
    assert set(stored(installation, name)) == {"naive", "range-ewma"}
    assert rows_of(installation, "SELECT count(*) FROM downloads WHERE outcome = 'stored'") == [(3,)]


@pytest.mark.slow
def test_a_source_that_refuses_is_asked_again_until_it_serves(installation: Path, source: CddServer) -> None:
    name = "Bitstamp_ADAUSD_d"
    one = market(source, name, n=230, ends=CLOSE)
    one.publish(228, 30 * MINUTE)
    clock = JumpingClock(START)
    source.clock = clock
    live_day(clock, name, wait=False)
    one.publish(229, 30 * MINUTE)
    serves_at = CLOSE + 3 * HOUR
    source.requests.clear()
    source.answer = lambda _: Reply(403, b"<html><h1>Forbidden</h1></html>") if clock() < serves_at else None
    live_day(clock, name)
    assert timedelta(0) <= clock() - serves_at <= 6 * MINUTE
    # Once every five minutes; a refusal is not tried a second time at once.
    assert 30 <= len(source.requests) <= 40
    assert set(stored(installation, name)) == {"naive", "range-ewma"}
    refusals = rows_of(installation, "SELECT DISTINCT reason FROM downloads WHERE outcome = 'unavailable'")
    assert len(refusals) == 1
    assert "the source refuses this client (HTTP 403)" in refusals[0][0]
    assert "set CANDLECAST_USER_AGENT to a name that the source accepts" in refusals[0][0]
    assert rows_of(installation, "SELECT count(*) FROM findings WHERE code = 'late' AND resolved_at IS NULL") == [(0,)]


@pytest.mark.slow
def test_questions_are_conditional_and_become_dense_around_the_usual_time(
    installation: Path, source: CddServer
) -> None:
    name = "Bitstamp_BCHUSD_d"
    one = market(source, name, n=240, ends=CLOSE)
    one.publish(229, 2 * HOUR)
    clock = JumpingClock(one.closes[229] + 5 * MINUTE)
    source.clock = clock
    for day in range(230, 240):
        one.publish(day, 4 * HOUR + day % 3 * MINUTE)
    for day in range(229, 240):
        clock.at = one.closes[day] + 5 * MINUTE
        source.requests.clear()
        live_day(clock, name)
    # The first file was fetched within a minute: its time told nothing of the history, and of its newest candle only
    # when the file was fetched again.
    assert rows_of(installation, "SELECT count(*) FROM arrivals WHERE published_at IS NOT NULL") == [(11,)]
    # From 00:05: every quarter of an hour until half past three, then every five minutes until two past four.
    assert 18 <= len(source.requests) <= 24
    assert all("If-None-Match" in request.headers for request in source.requests)
    created_at = stored(installation, name)
    assert created_at["naive"] - (CLOSE + 4 * HOUR + 2 * MINUTE) <= 6 * MINUTE


def test_without_wait_a_day_does_not_wait_and_an_unpublished_candle_is_no_failure(
    installation: Path, source: CddServer, capsys: pytest.CaptureFixture[str]
) -> None:
    from candlecast.commands.summary import print_what_is_not_published
    from flows.settings import Settings

    name = "Bitstamp_LTCUSD_d"
    one = market(source, name, n=230, ends=CLOSE)
    one.publish(228, 30 * MINUTE)
    clock = JumpingClock(START)
    source.clock = clock
    live_day(clock, name, wait=False)
    assert clock() == START
    assert len(source.requests) == 1
    assert set(stored(installation, name, CLOSE - DAY)) == {"naive", "range-ewma"}
    print_what_is_not_published(Settings(), [name], now=START)
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line == (
        f"{name}: the candle of Wed 2026-04-22 is not published yet (usual time of publication not known yet); "
        "the candle of Tue 2026-04-21 is the newest stored"
    )


@pytest.mark.parametrize("module", ["flows.daily.scheduled", "candlecast.orchestrator.served.scheduled"])
def test_a_day_that_waits_imports_nothing_heavy(module: str) -> None:
    heavy = "pandas", "scipy", "sklearn", "tensorflow", "keras", "matplotlib"
    program = (
        f"import sys; from prefect.flows import load_flow_from_entrypoint; load_flow_from_entrypoint({module!r}); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def silent_source(source: CddServer, silent: set[str], over: threading.Event) -> None:
    def answer(request: Request) -> Reply | None:
        if any(f"/{name}.csv" in request.path for name in silent):
            over.wait(60)
            return Reply(drop=True)
        return None

    source.answer = answer


def test_sources_that_hang_cost_no_series_its_forecast(
    installation: Path, source: CddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang(installation, source, monkeypatch, count=5)


@pytest.mark.slow
def test_fifty_sources_that_hang_cost_no_series_its_forecast(
    installation: Path, source: CddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang(installation, source, monkeypatch, count=50)


# Of one request to a source that hangs.
TIMEOUT_S = 45


def hang(installation: Path, source: CddServer, monkeypatch: pytest.MonkeyPatch, *, count: int) -> None:
    """Have `count` sources hang beside one that is well; every series is to be forecast while they still hang."""
    import time

    from flows.daily import DailyFailed
    from storage.database.engine import open_database
    from storage.source.client import CddClient
    from tasks.steps.ingest import ingest_series

    monkeypatch.setattr("tasks.steps.asking.QUICK", timedelta(seconds=2))
    monkeypatch.setenv("CANDLECAST_FETCH_TIMEOUT_S", str(TIMEOUT_S))
    # Of another pair: stored sources of one pair are compared, and all these markets are the same one moved by a day.
    names = [f"Hanging{number}_LTCUSD_d" for number in range(count)]
    well = "Bitstamp_BTCUSD_d"
    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    for name in names:
        market(source, name, n=230, ends=CLOSE - DAY).publish(229, HOUR)
        source.clock = lambda: CLOSE - 12 * HOUR
        ingest_series(engine, series=name, client=CddClient(source.url), now=CLOSE - 12 * HOUR)
    engine.dispose()
    market(source, well, n=230, ends=CLOSE).publish(229, 4 * MINUTE)
    source.clock = lambda: START
    over = threading.Event()
    silent_source(source, set(names), over)
    seconds: list[float] = []
    began = time.monotonic()

    def watch() -> None:
        query = "SELECT count(DISTINCT series) FROM forecasts WHERE kind = 'live'"
        while rows_of(installation, query) != [(count + 1,)] and time.monotonic() - began < 300:
            time.sleep(0.2)
        seconds.append(time.monotonic() - began)
        over.set()

    watching = threading.Thread(target=watch)
    watching.start()
    with pytest.raises(DailyFailed, match="Hanging0_LTCUSD_d: the download was not stored"):
        live_day(JumpingClock(START), well, *names, wait=False)
    watching.join()
    print(f"{count} series that hang: all forecast after {seconds[0]:.0f} s")
    # While the first of them still hangs; a day with very many takes time for their forecasts alone.
    assert seconds[0] < max(TIMEOUT_S, 10 + 3 * count)
    assert set(stored(installation, well)) == {"naive", "range-ewma"}
    for name in names:
        assert set(stored(installation, name, CLOSE - DAY)) == {"naive", "range-ewma"}
