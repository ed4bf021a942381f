"""The daily flow under a real Prefect server: a forecast every day, whatever else goes wrong."""

import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from installation import rows_of
from markets import write_csv
from prefect_parts import stored_artifacts
from synthetic import random_walk

from models.candles import Interval
from models.wording import close_name

pytestmark = pytest.mark.usefixtures("prefect_server")

SERIES = "Bitstamp_BTCUSD_d"
NOW = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)
CANDLES = random_walk(620, seed=1)


def live(installation: Path) -> list[tuple[object, ...]]:
    return rows_of(installation, "SELECT model, origin FROM forecasts WHERE kind = 'live' ORDER BY origin, model")


def test_a_day_stores_everything_and_a_second_run_stores_nothing(
    installation: Path,
) -> None:
    from flows.daily import daily

    write_csv(installation / "source", SERIES, CANDLES)
    daily(now=NOW)
    assert [model for model, _ in live(installation)] == ["naive", "range-ewma"]
    tables = ("candles", "downloads", "forecasts", "forecast_values", "scores", "model_versions", "promotions")
    counts = {table: rows_of(installation, f"SELECT count(*) FROM {table}") for table in tables}
    assert counts["candles"] == [(621,)]
    assert rows_of(installation, "SELECT count(*) FROM scores")[0][0] > 2000  # type: ignore[operator]
    (chart,) = (installation / "reports" / SERIES).glob("*.png")
    assert chart.read_bytes().startswith(b"\x89PNG")
    daily(now=NOW + timedelta(hours=1))
    assert {table: rows_of(installation, f"SELECT count(*) FROM {table}") for table in tables} == counts


def test_the_forecast_its_picture_and_findings_are_artifacts(installation: Path) -> None:
    from flows.daily import daily

    write_csv(installation / "source", "Bitstamp_LTCUSD_d", CANDLES)
    daily(series=["Bitstamp_LTCUSD_d"], now=NOW)
    keys = {f"{what}-bitstamp-ltcusd-d" for what in ("forecast", "fan", "findings")}
    assert stored_artifacts(keys) == keys


def test_with_the_source_away_the_champion_forecasts_and_the_flow_fails(installation: Path) -> None:
    from flows.daily import DailyFailed, daily
    from storage.database.engine import open_database
    from storage.source.client import CddClient
    from tasks.steps.ingest import ingest_series

    write_csv(installation / "source", SERIES, CANDLES.iloc[:600])
    # As after a run that stored the candles and was killed before its forecast.
    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    ingest_series(engine, series=SERIES, client=CddClient(str(installation / "source")), now=NOW)
    engine.dispose()
    shutil.rmtree(installation / "source")
    assert live(installation) == []
    with pytest.raises(DailyFailed, match="download was not stored"):
        daily(now=NOW + timedelta(days=1))
    assert [model for model, _ in live(installation)] == ["naive", "range-ewma"]


def test_a_day_runs_its_central_queries_once(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries for the champion, the training due and the newest forecast run once, or twice with a training between."""
    import flows.daily
    import flows.learning
    import tasks.show.charts
    import tasks.steps.forecast

    calls: Counter[str] = Counter()

    def counted(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def call(*args: object, **kwargs: object) -> object:
            calls[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    counted(tasks.steps.forecast, "ensure_champion")
    counted(flows.learning, "plan_trainings")
    counted(tasks.show.charts, "read_bands")
    write_csv(installation / "source", SERIES, CANDLES)
    # range-ewma is registered and judged on the first day.
    flows.daily.daily(now=NOW)
    assert calls == {"ensure_champion": 2, "plan_trainings": 1, "read_bands": 1}
    calls.clear()
    flows.daily.daily(now=NOW + timedelta(hours=1))
    assert calls == {"ensure_champion": 1, "plan_trainings": 1, "read_bands": 1}


def test_a_day_without_enough_to_learn_from_is_no_failure_and_says_from_when_on_there_is(
    installation: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.daily import daily

    monkeypatch.setenv("CANDLECAST_MODEL", "lstm")
    write_csv(installation / "source", SERIES, CANDLES.iloc[:250])
    daily(now=NOW)
    message = (
        f"lstm is not trained yet: it needs 400 candles of one market to learn from, and the longest, {SERIES}, has "
        f"them from the {close_name(CANDLES['close_time'].iloc[399].to_pydatetime(), Interval.DAY)} on"
    )
    assert message in caplog.text
    assert [model for model, _ in live(installation)] == ["naive", "range-ewma"]
    findings = "SELECT message, resolved_at IS NULL FROM findings WHERE code = 'untrained'"
    assert rows_of(installation, findings) == [(message, 1)]
    # Said once, and no longer when there is enough.
    write_csv(installation / "source", SERIES, CANDLES.iloc[:251])
    daily(now=NOW + timedelta(hours=1))
    assert rows_of(installation, findings) == [(message, 1)]


def test_a_bad_training_does_not_stop_the_forecast(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.daily import DailyFailed, daily

    monkeypatch.setenv("CANDLECAST_MODEL", "lstm")
    # As steady as a stable coin: there is nothing to learn from.
    write_csv(installation / "source", SERIES, random_walk(620, seed=1, sigma=0.0005))
    with pytest.raises(DailyFailed, match="lstm needs a market with 400 closed candles .* data check has 0"):
        daily(now=NOW)
    assert [model for model, _ in live(installation)] == ["naive", "range-ewma"]


def test_one_series_trouble_does_not_stop_the_others(installation: Path) -> None:
    from flows.daily import DailyFailed, daily

    write_csv(installation / "source", SERIES, CANDLES)
    with pytest.raises(DailyFailed, match="Bitstamp_NOUSD_d: the download was not stored"):
        daily(series=["Bitstamp_NOUSD_d", SERIES], now=NOW)
    assert [model for model, _ in live(installation)] == ["naive", "range-ewma"]


def test_every_series_has_its_forecast_before_any_training_begins(installation: Path) -> None:
    from flows.daily import daily

    both = ["Bitstamp_ETHUSD_d", SERIES]
    for name in both:
        write_csv(installation / "source", name, CANDLES)
    daily(series=both, now=NOW)
    counts = rows_of(installation, "SELECT kind, count(DISTINCT series), count(*) > 0 FROM forecasts GROUP BY kind")
    assert counts == [("backfill", 2, 1), ("live", 2, 1)]
    # Row numbers rise with time, and a training writes the backfilled forecasts that its challenger is judged by.
    query = "SELECT max(id) FILTER (WHERE kind = 'live') < min(id) FILTER (WHERE kind = 'backfill') FROM forecasts"
    assert rows_of(installation, query) == [(1,)]


@pytest.mark.slow
def test_the_model_that_was_asked_for_forecasts_from_its_first_training_on(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from candlecast.commands.summary import print_summary
    from flows.daily import daily
    from flows.settings import Settings
    from storage.database.engine import open_database
    from storage.decisions import promote

    settings = {"MODEL": "lstm", "SKILL_DAYS": "30", "FINE_TUNE_DAYS": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(f"CANDLECAST_{name}", value)
    write_csv(installation / "source", SERIES, CANDLES.iloc[:420])
    daily(now=NOW)
    by = "SELECT model_version FROM forecasts WHERE model = 'lstm' AND kind = 'live' ORDER BY origin"
    ((first,),) = rows_of(installation, "SELECT id FROM model_versions WHERE model = 'lstm' AND purpose = 'live'")
    # The gate did not promote it, but it still forecasts from the day on which it was trained.
    assert rows_of(installation, "SELECT DISTINCT model FROM latest_forecasts") == [("naive",)]
    assert rows_of(installation, by) == [(first,)]
    write_csv(installation / "source", SERIES, CANDLES.iloc[:421])
    daily(now=NOW + timedelta(days=1))
    assert rows_of(installation, by) == [(first,)] * 2
    scored = (
        "SELECT count(*) FROM scores s JOIN forecasts f ON f.id = s.forecast WHERE f.kind = 'live' AND model = 'lstm'"
    )
    assert rows_of(installation, scored) == [(1,)]
    newest = "SELECT max(id) FROM model_versions WHERE model = 'lstm' AND purpose = 'live'"
    ((tuned,),) = rows_of(installation, newest)
    assert tuned > first  # type: ignore[operator]
    # The newest version forecasts the next day; where an older version is champion, the champion does.
    write_csv(installation / "source", SERIES, CANDLES.iloc[:422])
    daily(now=NOW + timedelta(days=2))
    assert rows_of(installation, by) == [(first,), (first,), (tuned,)]
    print_summary(Settings(), [SERIES])
    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    with engine.begin() as conn:
        promote(conn, version=first, reason="by hand", decided_at=NOW)  # type: ignore[arg-type]
    engine.dispose()
    write_csv(installation / "source", SERIES, CANDLES.iloc[:423])
    daily(now=NOW + timedelta(days=3))
    assert rows_of(installation, by) == [(first,), (first,), (tuned,), (first,)]


def test_new_days_are_forecast_from_their_own_origin_and_old_ones_scored(installation: Path) -> None:
    from flows.daily import daily

    for day, n in enumerate((610, 611, 612)):
        write_csv(installation / "source", SERIES, CANDLES.iloc[:n])
        daily(now=NOW + timedelta(days=day))
    origins = [origin for model, origin in live(installation) if model == "naive"]
    assert len(set(origins)) == 3
    scored = rows_of(
        installation,
        "SELECT f.origin, s.step FROM scores s JOIN forecasts f ON f.id = s.forecast "
        "WHERE f.kind = 'live' AND f.model = 'naive' ORDER BY 1, 2",
    )
    assert [step for _, step in scored] == [1, 2, 1]


def test_retrain_and_backfill_can_run_as_separate_flows(installation: Path) -> None:
    from flows.backfill import backfill
    from flows.daily import daily
    from flows.retrain import retrain

    write_csv(installation / "source", SERIES, CANDLES)
    daily(now=NOW)
    assert retrain([SERIES], now=NOW) == []
    start, end = (CANDLES["close_time"].iloc[row].to_pydatetime() for row in (215, 229))
    done = backfill([SERIES], start, end, ["naive"], now=NOW)
    assert [(report.origins, report.stored) for report in done] == [(15, 15)]
    with pytest.raises(ValueError, match="before its start"):
        backfill([SERIES], end, start)


def test_after_a_missed_week_the_newest_origin_is_forecast_and_all_that_matured_is_scored(installation: Path) -> None:
    from flows.daily import daily

    for day, n in ((0, 600), (7, 607)):
        write_csv(installation / "source", SERIES, CANDLES.iloc[:n])
        daily(now=NOW + timedelta(days=day))
    # A forecast made after its days have passed would not be live.
    origins = [origin for model, origin in live(installation) if model == "naive"]
    assert len(origins) == 2
    scored = rows_of(
        installation,
        "SELECT f.origin, s.step FROM scores s JOIN forecasts f ON f.id = s.forecast "
        "WHERE f.kind = 'live' AND f.model = 'naive' ORDER BY 1, 2",
    )
    assert scored == [(origins[0], step) for step in range(1, 8)]


def test_a_source_away_for_three_days_costs_the_forecasts_of_those_days_and_no_candle(installation: Path) -> None:
    from flows.daily import DailyFailed, daily

    start = CANDLES["close_time"].iloc[599].to_pydatetime() + timedelta(minutes=20)
    write_csv(installation / "source", SERIES, CANDLES.iloc[:600])
    daily(now=start)
    away = installation / "source"
    away.rename(installation / "away")
    stale = []
    for day in (1, 2, 3):
        with pytest.raises(DailyFailed, match="download was not stored"):
            daily(now=start + timedelta(days=day))
        stale.append(rows_of(installation, "SELECT code FROM findings WHERE code = 'stale' AND resolved_at IS NULL"))
    assert stale == [[], [], [("stale",)]]
    (installation / "away").rename(away)
    write_csv(away, SERIES, CANDLES.iloc[:604])
    daily(now=start + timedelta(days=4))
    assert rows_of(installation, "SELECT count(*) FROM current_candles") == [(604,)]
    assert len([origin for model, origin in live(installation) if model == "naive"]) == 2
    assert rows_of(installation, "SELECT code FROM findings WHERE code = 'stale' AND resolved_at IS NULL") == []


def test_a_clock_that_jumps_back_and_forth_changes_nothing_that_is_stored(installation: Path) -> None:
    from flows.daily import daily

    write_csv(installation / "source", SERIES, CANDLES.iloc[:600])
    daily(now=NOW)
    before = rows_of(installation, "SELECT * FROM current_candles"), live(installation)
    daily(now=NOW - timedelta(days=400))
    assert (rows_of(installation, "SELECT * FROM current_candles"), live(installation)) == before
    write_csv(installation / "source", SERIES, CANDLES.iloc[:601])
    daily(now=NOW - timedelta(days=300))
    assert rows_of(installation, "SELECT count(*) FROM current_candles") == [(601,)]
    assert len([origin for model, origin in live(installation) if model == "naive"]) == 2
