"""When candles open, where several columns say so: which one counts, what contradicts it, and what is local time."""

from datetime import UTC, datetime, timedelta

import pytest

from models.candles import SeriesName
from storage.errors import CddFormatChanged
from storage.source.times import Heard, TimeReader

HOURLY, DAILY = "Bitstamp_BTCUSD_1h", "Bitstamp_BTCUSD_d"
NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def unix(*times: datetime) -> list[str]:
    return [str(int(time.timestamp())) for time in times]


def texts(*times: datetime) -> list[str]:
    return [f"{time:%Y-%m-%d %H:%M:%S}" for time in times]


def seconds(time: datetime) -> int:
    return int(time.timestamp())


def read(series: str, reader: TimeReader | None = None, **columns: list[str]) -> Heard:
    return (reader or TimeReader(SeriesName.parse(series))).read(list(columns.items()))


def test_columns_that_agree_contradict_nothing() -> None:
    hours = [NOON + n * HOUR for n in range(8)]
    heard = read(HOURLY, date=texts(*hours), unix=unix(*hours))
    assert heard.open_time.tolist() == [seconds(hour) for hour in hours]
    assert (heard.contradicted, heard.zones, heard.in_utc.all()) == ({}, [], True)


def test_the_unix_time_counts_and_a_row_whose_date_says_another_hour_is_contradicted() -> None:
    hours = [NOON + n * HOUR for n in range(8)]
    wrong = [*hours[:6], hours[6] + 3 * HOUR, hours[7]]
    day, stamps, date = [f"{hour:%Y-%m-%d}" for hour in hours], unix(*hours), texts(*wrong)
    reason = "its times contradict each other: 'date' says 2020-01-01 21:00, 'day' and 'unix' 2020-01-01 18:00"
    for heard in (read(HOURLY, day=day, unix=stamps, date=date), read(HOURLY, day=day, date=date, unix=stamps)):
        assert heard.open_time.tolist() == [seconds(hour) for hour in hours]
        assert heard.contradicted == {6: (reason, seconds(wrong[6]))}
        assert heard.zones == []


@pytest.mark.parametrize("away_s", [-1, 1])
def test_a_second_is_a_contradiction(away_s: int) -> None:
    hours = [NOON + n * HOUR for n in range(8)]
    wrong = [*hours[:6], hours[6] + timedelta(seconds=away_s), hours[7]]
    assert sorted(read(HOURLY, unix=unix(*hours), date=texts(*wrong)).contradicted) == [6]


def test_a_day_agrees_with_its_own_hours_only() -> None:
    hours = [NOON + n * HOUR for n in (-12, 0, 11, 12, -13)]
    heard = read(HOURLY, unix=unix(*hours), day=["2020-01-01"] * 5)
    assert sorted(heard.contradicted) == [3, 4]


def test_a_shortened_unix_time_agrees_with_what_it_can_mean() -> None:
    # The hours are multiples of 10,000 seconds, to which the unix times are known.
    hours = [NOON + n * 25 * HOUR for n in range(4)]
    heard = read(HOURLY, unix=["1.57787E+12", "1.57798E+12", "1.57808E+12", "1.57813E+12"], date=texts(*hours))
    assert heard.open_time.tolist() == [seconds(hour) for hour in hours]
    assert {row: day for row, (_, day) in heard.contradicted.items()} == {2: seconds(hours[2]), 3: seconds(hours[3])}
    assert heard.contradicted[2][0] == (
        "its times contradict each other: 'unix' says 2020-01-03 19:33, 'date' 2020-01-03 14:00"
    )


def test_of_shortened_unix_times_the_nearest_hour_is_taken_where_no_other_column_says_one() -> None:
    hours = [NOON + n * HOUR for n in range(8)]
    shortened = [f"{round(seconds(hour) / 1000)}" for hour in hours]
    cells = [f"{text[0]}.{text[1:]}E+12" for text in shortened]
    days = [f"{hour:%Y-%m-%d}" for hour in hours]
    for columns in (
        {"unix": cells, "day": days},
        {"unix": cells, "date": [*texts(*hours[:4]), *[""] * 4]},
        {"unix": [*cells[:4], *[""] * 4], "time": [*[""] * 4, *cells[4:]]},
    ):
        heard = read(HOURLY, **columns)
        assert heard.open_time.tolist() == [seconds(hour) for hour in hours]
        assert heard.contradicted == {}


def test_dates_alone_tell_days_apart_and_no_hours() -> None:
    days = [f"2020-01-{day:02}" for day in range(1, 9)]
    assert read(DAILY, date=days).days_only
    midnights = [datetime.fromisoformat(f"{day}T00:00:00Z") for day in days]
    assert not read(DAILY, date=days, unix=unix(*midnights)).days_only
    with pytest.raises(CddFormatChanged, match="the rows are a day apart, the name says an hour$"):
        read(HOURLY, date=days)
    with pytest.raises(CddFormatChanged, match="known to a day only, the name says an hour; the file has lost the hou"):
        read(HOURLY, date=[day for day in days[:2] for _ in range(4)])


def test_a_stretch_of_dates_in_local_time_is_named_and_its_rows_without_unix_time_are_contradicted() -> None:
    hours = [NOON + n * HOUR for n in range(20)]
    local = [*hours[:4], *(hour + 2 * HOUR for hour in hours[4:])]
    stamps = [*unix(*hours[:18]), "", *unix(hours[19])]
    heard = read(HOURLY, unix=stamps, date=texts(*local))
    # One of them is a local midnight, which is local time too.
    assert [zone[:2] for zone in heard.zones] == [("date", 7200)]
    assert heard.zones[0][2:] == (14, seconds(hours[4]), seconds(hours[17]))
    reason = "it has a local time and no unix time: other rows of the file are in local time"
    assert heard.contradicted[18] == (reason, seconds(local[18]))
    # Row 19 is a stretch of one row, which contradicts its unix time.
    assert sorted(heard.contradicted) == [18, 19]


def test_each_distance_from_utc_is_a_zone_also_where_the_dates_have_no_seconds() -> None:
    hours = [NOON + n * HOUR for n in range(12)]
    local = [f"{hour + (1 + n // 6) * HOUR:%Y-%m-%d %H:%M}" for n, hour in enumerate(hours)]
    heard = read(HOURLY, unix=unix(*hours), date=local)
    assert heard.zones == [
        ("date", 3600, 6, seconds(hours[0]), seconds(hours[5])),
        ("date", 7200, 6, seconds(hours[6]), seconds(hours[11])),
    ]
    assert heard.contradicted == {}


@pytest.mark.parametrize(("opens", "says", "local"), [(5, 0, False), (5, 7, True), (0, 2, True)])
def test_a_midnight_beside_days_that_start_at_another_hour_is_no_local_time(opens: int, says: int, local: bool) -> None:
    midnights = [datetime(2020, 1, 1, tzinfo=UTC) + n * DAY for n in range(8)]
    days, dates = [each + opens * HOUR for each in midnights], [each + says * HOUR for each in midnights]
    heard = read(DAILY, unix=unix(*days), date=texts(*dates))
    assert len(heard.zones) == local
    assert len(heard.contradicted) == (0 if local else 8)


# --- one or two unix times that end in many zeros ------------------------------------------------------------------

ROUNDED = ["1577880000000"]


def is_refused(*, reader: TimeReader | None = None, **columns: list[str]) -> bool:
    try:
        heard = read(HOURLY, reader, **columns)
    except CddFormatChanged as error:
        return "may be rounded" in str(error)
    assert heard.open_time.tolist() == [seconds(NOON)]
    return False


def test_a_unix_time_that_may_be_rounded_needs_another_column_that_knows_the_hour_and_says_the_same() -> None:
    assert is_refused(unix=ROUNDED)
    assert not is_refused(unix=ROUNDED, date=texts(NOON))
    assert not is_refused(date=texts(NOON), unix=ROUNDED)
    assert not is_refused(unix=ROUNDED, date=["2020-01-01"], hour=["12"])
    assert is_refused(unix=ROUNDED, date=["2020-01-01"])
    assert is_refused(unix=ROUNDED, date=texts(NOON + HOUR))
    assert is_refused(date=texts(NOON + HOUR), unix=ROUNDED)


def test_unix_times_in_full_in_an_earlier_part_of_a_file_show_that_none_is_rounded() -> None:
    hours = [NOON + n * HOUR for n in range(8)]
    reader = TimeReader(SeriesName.parse(HOURLY))
    reader.read([("unix", unix(*hours)), ("date", texts(*hours))])
    assert not is_refused(reader=reader, unix=ROUNDED)
    for columns in ([("date", texts(*hours))], [("unix", ["1.57788E+12"] * 2), ("date", texts(*hours[:2]))]):
        reader = TimeReader(SeriesName.parse(HOURLY))
        reader.read(columns)
        assert is_refused(reader=reader, unix=ROUNDED)
