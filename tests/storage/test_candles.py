"""Reading candles as known at an instant, in that instant's revision: rows, frames, close times and counts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from models.candles import CANDLE_COLUMNS
from models.history import CandleHistory
from storage.candles import (
    CandleRow,
    closed_count,
    latest_close_time,
    newest_fetch,
    not_before,
    read_candle_rows,
    read_close_times,
    read_history,
)

OTHER = "Kraken_ETHEUR_d"
DAY = timedelta(days=1)
# Candles open at whole seconds; revisions become known at times with microseconds.
ONE_SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (datetime(2020, 1, 6, tzinfo=UTC) + n * DAY for n in range(4))
FIRST, SECOND, THIRD = (datetime(2020, 2, n, 0, 20, 0, 250_000, tzinfo=UTC) for n in (1, 2, 3))


@pytest.fixture
def revised(store: Any) -> Any:
    """Monday's candle was fetched three times and changed twice, Tuesday's fetched once, Wednesday's twice.

    Wednesday's was unfinished at first, and Thursday's has not closed yet. Another market has candles of the same days
    and an older one, all fetched later.
    """
    store.add_candle(WEDNESDAY, 299.0, fetched_at=SECOND, provisional=True)
    store.add_candle(TUESDAY, 200.0, fetched_at=FIRST)
    store.add_candle(MONDAY, 102.0, fetched_at=THIRD)
    store.add_candle(MONDAY, 101.0, fetched_at=SECOND)
    store.add_candle(MONDAY, 100.0, fetched_at=FIRST)
    store.add_candle(WEDNESDAY, 300.0, fetched_at=THIRD)
    store.add_candle(THURSDAY, 399.0, fetched_at=THIRD, provisional=True)
    store.add_series(OTHER)
    for day in (MONDAY - DAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY):
        store.add_candle(day, 7.0, series=OTHER, fetched_at=THIRD + DAY)
    return store


def closes(store: Any, **filters: Any) -> list[float]:
    with store.engine.connect() as conn:
        return [row.close for row in read_candle_rows(conn, **{"series": store.series, **filters})]


def history_of(store: Any, series: str | None = None) -> CandleHistory:
    with store.engine.connect() as conn:
        return read_history(conn, series=series or store.series)


def test_each_candle_is_in_the_revision_that_was_known(revised: Any) -> None:
    assert closes(revised, as_of=FIRST - MICROSECOND) == []
    assert closes(revised, as_of=FIRST) == [100, 200]
    assert closes(revised, as_of=SECOND - MICROSECOND) == [100, 200]
    assert closes(revised, as_of=SECOND) == [101, 200]
    assert closes(revised, as_of=THIRD - MICROSECOND) == [101, 200]
    assert closes(revised, as_of=THIRD) == closes(revised) == [102, 200, 300]


def test_a_later_unfinished_revision_does_not_hide_a_closed_one(revised: Any) -> None:
    revised.add_candle(TUESDAY, 199.0, fetched_at=THIRD, provisional=True)
    assert closes(revised) == closes(revised, as_of=THIRD + DAY) == [102, 200, 300]


def test_both_bounds_are_included_and_a_page_begins_after_its_key(revised: Any) -> None:
    assert closes(revised, start=TUESDAY) == [200, 300]
    assert closes(revised, start=TUESDAY + ONE_SECOND) == [300]
    assert closes(revised, end=TUESDAY) == [102, 200]
    assert closes(revised, end=TUESDAY - ONE_SECOND) == [102]
    assert closes(revised, start=TUESDAY, end=TUESDAY) == [200]
    assert closes(revised, limit=2) == [102, 200]
    assert closes(revised, after=MONDAY, limit=1) == [200]
    assert closes(revised, after=WEDNESDAY) == []


def test_a_row_holds_the_candle_as_it_was_stored(store: Any) -> None:
    store.add_candle(
        MONDAY, 3.0, fetched_at=FIRST, open=2.0, high=4.0, low=1.0, volume_base=5.5, volume_quote=6.5, trades=8
    )
    store.add_candle(TUESDAY, 9.0, fetched_at=SECOND)
    with store.engine.connect() as conn:
        assert read_candle_rows(conn, series=store.series) == [
            CandleRow(MONDAY, TUESDAY, 2.0, 4.0, 1.0, 3.0, 5.5, 6.5, 8, FIRST),
            CandleRow(TUESDAY, WEDNESDAY, 9.0, 9.0, 9.0, 9.0, None, None, None, SECOND),
        ]


def test_each_close_time_up_to_the_end_is_returned_once(revised: Any) -> None:
    def times(end: datetime) -> list[datetime]:
        with revised.engine.connect() as conn:
            return read_close_times(conn, series=revised.series, end=end)

    # A revision does not count as another candle.
    assert times(THURSDAY + DAY) == [TUESDAY, WEDNESDAY, THURSDAY]
    assert times(WEDNESDAY) == [TUESDAY, WEDNESDAY]
    assert times(WEDNESDAY - ONE_SECOND) == [TUESDAY]
    assert times(TUESDAY - ONE_SECOND) == []


def test_counts_and_newest_times_are_of_closed_candles_of_one_series(revised: Any, store: Any) -> None:
    with revised.engine.connect() as conn:
        assert closed_count(conn, series=revised.series) == 3
        assert latest_close_time(conn, series=revised.series) == THURSDAY
        assert newest_fetch(conn, series=revised.series) == THIRD
        assert newest_fetch(conn, series=OTHER) == THIRD + DAY
    store.add_series("Kraken_BTCUSD_d")
    with revised.engine.connect() as conn:
        assert closed_count(conn, series="Kraken_BTCUSD_d") == 0
        assert latest_close_time(conn, series="Kraken_BTCUSD_d") is None
        assert newest_fetch(conn, series="Kraken_BTCUSD_d") is None
    store.add_candle(MONDAY, 1.0, series="Kraken_BTCUSD_d", provisional=True)
    with revised.engine.connect() as conn:
        assert latest_close_time(conn, series="Kraken_BTCUSD_d") is None
        assert newest_fetch(conn, series="Kraken_BTCUSD_d") == store.now


def test_a_history_gives_each_instants_revisions_and_later_candles_in_their_first_revision(revised: Any) -> None:
    history = history_of(revised)
    views = {
        instant: list(history.known_at(instant)["close"])
        for instant in (MONDAY, FIRST, SECOND - MICROSECOND, SECOND, THIRD - MICROSECOND, THIRD, THIRD + DAY, None)
    }
    assert list(views.values()) == [[100, 200, 300]] * 3 + [[101, 200, 300]] * 2 + [[102, 200, 300]] * 3
    # Instants between which nothing was revised share one frame.
    assert history.known_at(MONDAY) is history.known_at(SECOND - MICROSECOND)
    assert history.known_at(SECOND) is history.known_at(THIRD - MICROSECOND)
    assert history.known_at(THIRD) is history.known_at()
    assert all(list(history.known_at(instant).index) == [0, 1, 2] for instant in views)
    for instant in (MONDAY, SECOND, THIRD):
        times, closes = history.closes_at(instant)
        assert closes.tolist() == views[instant]
        assert times.tolist() == [int(day.timestamp()) * 1_000_000 for day in (TUESDAY, WEDNESDAY, THURSDAY)]


def test_a_later_candles_revisions_are_seen_from_their_own_instants(store: Any) -> None:
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        store.add_candle(day, 100.0, fetched_at=FIRST)
    store.add_candle(TUESDAY, 101.0, fetched_at=SECOND)
    store.add_candle(TUESDAY, 102.0, fetched_at=THIRD)
    history = history_of(store)
    known = {instant: list(history.known_at(instant)["close"]) for instant in (FIRST, SECOND, THIRD)}
    assert known == {FIRST: [100, 100, 100], SECOND: [100, 101, 100], THIRD: [100, 102, 100]}
    assert list(history.known_at(SECOND - MICROSECOND)["close"]) == [100, 100, 100]


def test_a_history_stored_by_an_instant_lacks_later_fetches(revised: Any) -> None:
    history = history_of(revised)
    assert history.last_fetch == THIRD
    assert history.stored_by(THIRD) is history
    before = history.stored_by(THIRD - MICROSECOND)
    assert before.last_fetch == SECOND
    assert list(before.known_at()["close"]) == [101, 200]
    assert list(before.known_at(FIRST)["close"]) == [100, 200]
    assert list(history.stored_by(FIRST).known_at()["close"]) == [100, 200]
    nothing = history.stored_by(FIRST - MICROSECOND)
    assert nothing.last_fetch is None
    assert nothing.known_at().empty
    assert nothing.stored_by(MONDAY) is nothing


def test_a_history_is_a_frame_of_the_stored_numbers(store: Any) -> None:
    store.add_candle(
        MONDAY, 3.0, fetched_at=FIRST, open=2.0, high=4.0, low=1.0, volume_base=5.5, volume_quote=6.5, trades=8
    )
    store.add_candle(TUESDAY, 9.0, fetched_at=SECOND)
    frame = history_of(store).known_at()
    assert tuple(frame.columns) == tuple(CANDLE_COLUMNS)
    assert frame.iloc[0].to_dict() == {
        "open_time": pd.Timestamp(MONDAY), "close_time": pd.Timestamp(TUESDAY), "open": 2.0, "high": 4.0, "low": 1.0,
        "close": 3.0, "volume_base": 5.5, "volume_quote": 6.5, "trades": 8.0,
    }  # fmt: skip
    assert frame.loc[1, ["volume_base", "volume_quote", "trades"]].isna().all()
    assert {str(frame[name].dtype) for name in ("open_time", "close_time")} == {"datetime64[us, UTC]"}
    assert {str(frame[name].dtype) for name in frame.columns[2:]} == {"float64"}


def test_a_series_without_candles_has_an_empty_frame_of_the_same_kind(store: Any) -> None:
    history = history_of(store)
    empty = history.known_at()
    assert history.last_fetch is None
    assert history.known_at(FIRST).empty
    assert (len(empty), tuple(empty.columns)) == (0, tuple(CANDLE_COLUMNS))
    store.add_candle(MONDAY, 100.0)
    assert list(empty.dtypes) == list(history_of(store).known_at().dtypes)


def test_not_before_is_the_later_of_a_time_and_a_historys_last_fetch(revised: Any) -> None:
    history = history_of(revised)
    assert not_before(history, FIRST) == THIRD
    assert not_before(history, THIRD + DAY) == THIRD + DAY
    assert not_before(history.stored_by(MONDAY), MONDAY) == MONDAY
