"""The source that plays CryptoDataDownload publishes each series by its habit, the same way for the same seed."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from agreed_clock import AgreedClock
from cdd_server import CddServer
from faulty_source import RECORDED, FaultySource, Market
from synthetic import random_walk
from timetable import DAY, DRIFT, HOUR, JITTER, MINUTE, Edition, Habit, Timetable
from waiting import JumpingClock, SharedClock, market

CLOSE = datetime(2026, 4, 23, tzinfo=UTC)
DAYS = 60


def editions(habit: Habit, seed: int = 1) -> list[list[Edition]]:
    """The files of sixty days; the first closes at CLOSE."""
    timetable = Timetable(habit, seed=seed)
    return [timetable.editions(day, CLOSE + day * DAY) for day in range(DAYS)]


def delays(habit: Habit) -> list[timedelta]:
    """How long after the close of each published day its whole file comes."""
    return [files[-1].at - (CLOSE + day * DAY) for day, files in enumerate(editions(habit)) if files]


@pytest.mark.parametrize("habit", Habit)
def test_equal_seeds_give_equal_times_and_others_do_not(habit: Habit) -> None:
    assert editions(habit) == editions(habit)
    assert editions(habit) != editions(habit, seed=2)


@pytest.mark.parametrize("habit", Habit)
def test_each_whole_file_comes_after_its_close_and_before_a_day_gives_it_up(habit: Habit) -> None:
    assert all(6 * MINUTE <= delay <= 660 * MINUTE for delay in delays(habit))


def test_times_are_fixed_drift_or_jitter() -> None:
    assert len(set(delays(Habit.FIXED))) == 1
    steps = [after - before for before, after in zip(delays(Habit.DRIFTING), delays(Habit.DRIFTING)[1:], strict=False)]
    assert steps == [DRIFT] * 45 + [-DRIFT] * 14
    jittering = delays(Habit.JITTERING)
    assert len(set(jittering)) == DAYS
    assert JITTER < max(jittering) - min(jittering) <= 2 * JITTER


def test_days_are_skipped_now_and_then_or_come_two_at_once() -> None:
    assert 3 <= editions(Habit.SKIPPING).count([]) <= 20
    assert [not files for files in editions(Habit.IN_PAIRS)] == [True, False] * (DAYS // 2)
    assert all(all(editions(habit)) for habit in set(Habit) - {Habit.SKIPPING, Habit.IN_PAIRS})


def test_a_partial_day_is_published_ten_minutes_before_its_end_and_completed_later() -> None:
    for day, (early, whole) in enumerate(editions(Habit.PARTIAL_FIRST)):
        assert early == Edition(CLOSE + day * DAY - 10 * MINUTE, early.at, partial=True)
        assert not whole.partial


def test_files_are_dated_when_they_are_published_or_in_the_future_or_not_at_all() -> None:
    undated = {Habit.UNDATED, Habit.DATED_ANEW}
    assert {one.last_modified for habit in undated for files in editions(habit) for one in files} == {None}
    for habit in set(Habit) - undated:
        ages = {one.last_modified - one.at for files in editions(habit) for one in files if one.last_modified}
        assert ages == {9 * DAY if habit is Habit.FUTURE else timedelta(0)}, habit


@pytest.mark.parametrize("habit", Habit)
def test_the_server_publishes_by_its_clock_as_the_timetable_has_it(habit: Habit) -> None:
    timetable, clock = Timetable(habit, seed=3), JumpingClock(CLOSE)
    with CddServer() as server:
        server.clock = clock
        one = market(server, "Bitstamp_BTCUSD_d", n=9, ends=CLOSE + 8 * DAY)
        one.publish_day(1, Timetable(Habit.FIXED, seed=1))
        published = [(day, edition) for day in range(2, 8) for edition in one.publish_day(day, timetable)]
        url = server.url + "Bitstamp_BTCUSD_d.csv"
        for day, edition in published:
            clock.at = edition.at - timedelta(seconds=1)
            before = requests.get(url, timeout=5)
            clock.at = edition.at
            after = requests.get(url, timeout=5)
            assert before.content != after.content
            rows = [line.split(",") for line in after.text.splitlines()[1:]]
            newest = rows[1] if edition.followed and not edition.partial else rows[0]
            assert int(newest[0]) == one.candles["open_time"].iloc[day].timestamp()
            assert (float(newest[5]) == one.candles["close"].iloc[day]) is not edition.partial
            dated = clock() if edition.dated_anew else edition.last_modified
            assert after.headers.get("Last-Modified") == (dated and format_datetime(dated, usegmt=True))
            # An unchanged file is not sent twice.
            again = requests.get(url, headers={"If-None-Match": after.headers["ETag"]}, timeout=5)
            assert again.status_code == 304


def test_a_clock_in_a_file_is_seen_elsewhere_and_goes_on(tmp_path: Path) -> None:
    clock = SharedClock(tmp_path / "clock", CLOSE)
    assert clock.seconds_until(CLOSE + DAY, asking=False) == 0
    assert SharedClock(tmp_path / "clock")() == CLOSE + DAY == clock()


def test_the_clock_of_two_runs_jumps_only_when_both_wait(tmp_path: Path) -> None:
    one, other = (AgreedClock(tmp_path / "clock", name, runs=2, start=CLOSE) for name in ("one", "other"))
    with ThreadPoolExecutor() as pool:
        later = pool.submit(one.seconds_until, CLOSE + 2 * HOUR, asking=False)
        assert one() == CLOSE
        assert other.seconds_until(CLOSE + HOUR, asking=False) == 0
        assert other() == CLOSE + HOUR
        assert not later.done()
        other.leave()
        assert later.result(10) == 0
    assert one() == CLOSE + 2 * HOUR


@pytest.mark.parametrize("kind", ["away", "html", "denied", "yesterday", "cut"])
def test_a_faulty_source_knows_what_it_shows(kind: str) -> None:
    clock = JumpingClock(CLOSE)
    with CddServer() as server:
        server.clock = clock
        one = Market(server, "Bitstamp_BTCUSD_d", random_walk(9, start=CLOSE - 8 * DAY))
        for day in (6, 7):
            one.publish_day(day, Timetable(Habit.FIXED, seed=1))
        source = FaultySource(server, [one])
        source.break_down(one.series, kind, CLOSE, random.Random(1), hours=8)
        newest = []
        for clock.at in (CLOSE + 7 * HOUR, CLOSE + 10 * HOUR):
            reply = requests.get(server.url + "Bitstamp_BTCUSD_d.csv", timeout=5)
            rows = [line.split(",") for line in reply.text.splitlines()[1:]]
            closes = {datetime.fromtimestamp(int(row[0]), UTC): float(row[5]) for row in rows if len(row) == 8}
            file = source.content(one.series, clock.at)
            newest.append(None if file is None else max(file.closes))
            assert (file is None) == (not closes)
            # The newest row may not be over.
            assert file is None or set(sorted(closes.items())[:-1]) <= set(file.closes.items())
        # Without a date the cut file does not show that its newest candle was over.
        before = None if kind in RECORDED else one.opened[6]
        assert newest == [before, one.opened[7]]
