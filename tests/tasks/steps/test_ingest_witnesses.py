"""The end of an answer and the time of its file: no cut row is stored, and no unfinished day counts as closed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from cdd_server import CddServer, Reply
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from sqlalchemy import Engine, text

from storage.errors import CddFormatChanged, CddUnavailable
from storage.source.client import CddClient
from tasks.steps.ingest import IngestReport, ingest_series

SERIES = "Bitstamp_BTCUSD_d"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
# The newest of the ten days opens on the 10th and closes when the 11th begins.
CLOSES = FIRST + 10 * DAY
HEAD = b"unix,date,symbol,open,high,low,close,Volume BTC,Volume USD\n"
ROWS = [
    f"{int((FIRST + i * DAY).timestamp())},{FIRST + i * DAY:%Y-%m-%d},BTC/USD,100,107,90,101.25,10,1004.75\n".encode()
    for i in range(10)
]
FILE = HEAD + b"".join(ROWS)
NEWEST_FIRST = HEAD + b"".join(reversed(ROWS))


@pytest.fixture
def server() -> Iterator[CddServer]:
    with CddServer() as server:
        yield server


def ingest(
    engine: Engine, server: CddServer, *replies: bytes, now: datetime = CLOSES + HOUR, file_name: str | None = None
) -> IngestReport:
    """Ingest the series from a server that sends these replies, one after the other."""
    server.faults = [Reply(raw=reply) for reply in replies]
    client = CddClient(server.url, sleep=lambda _: None)
    return ingest_series(engine, series=SERIES, client=client, now=now, file_name=file_name)


def days(engine: Engine, *, closed: bool = True) -> list[int]:
    """Return the days of January that have a closed candle, or an unfinished one."""
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT DISTINCT open_time, provisional FROM candles ORDER BY open_time")).all()
    return [int(str(opened)[8:10]) for opened, provisional in rows if bool(provisional) is not closed]


def answer(
    body: bytes,
    *,
    version: str = "1.1",
    length: int | None = -1,
    last_modified: datetime | None = None,
    date: datetime | None = None,
    etag: str | None = None,
    status: str = "200 OK",
) -> bytes:
    """Return an answer as bytes; `length` -1 sends the body's length, None sends no length."""
    lines = [f"HTTP/{version} {status}", "Content-Type: text/csv", "Connection: close"]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length == -1 else length}")
    if last_modified is not None:
        lines.append(f"Last-Modified: {format_datetime(last_modified, usegmt=True)}")
    if date is not None:
        lines.append(f"Date: {format_datetime(date, usegmt=True)}")
    if etag is not None:
        lines.append(f"ETag: {etag}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, *, whole: bool) -> bytes:
    """Return an answer in two chunks; unless `whole`, half of the second one is missing."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    first, second = body[:300], body[300:]
    end = second + b"\r\n0\r\n\r\n" if whole else second[: len(second) // 2]
    return head + b"%x\r\n%b\r\n%x\r\n%b" % (len(first), first, len(second), end)


# --- where the answer ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("cut", [1, 9], ids=lambda cut: f"{cut} bytes short")
@pytest.mark.parametrize("file", [FILE, NEWEST_FIRST], ids=["oldest first", "newest first"])
def test_a_row_in_which_a_body_without_length_ends_is_not_stored(
    engine: Engine, server: CddServer, version: str, cut: int, file: bytes
) -> None:
    report = ingest(engine, server, answer(file[:-cut], version=version, length=None))
    cut_day = 10 if file is FILE else 1
    assert cut_day not in days(engine) + days(engine, closed=False)
    assert (report.rows_in, report.rows_new, report.rows_quarantined) == (10, 9, 1)
    with engine.connect() as conn:
        raw, reason = conn.execute(text("SELECT raw_text, reason FROM quarantine")).one()
    assert file.endswith(raw.encode() + file[-cut:])
    assert "it may be cut" in reason


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_every_row_of_a_body_without_length_that_ends_with_a_line_end_is_stored(
    engine: Engine, server: CddServer, end: bytes
) -> None:
    report = ingest(engine, server, answer(FILE.replace(b"\n", end), version="1.0", length=None))
    assert (report.rows_new, report.rows_quarantined) == (10, 0)


def test_a_last_row_without_line_end_is_stored_if_the_length_is_known(engine: Engine, server: CddServer) -> None:
    report = ingest(engine, server, answer(FILE[:-1], version="1.0"))
    assert (report.rows_new, report.rows_quarantined) == (10, 0)


def test_every_row_of_a_chunked_body_is_stored(engine: Engine, server: CddServer) -> None:
    assert ingest(engine, server, chunked(FILE, whole=True)).rows_new == 10


@pytest.mark.parametrize(
    "cut",
    [chunked(FILE, whole=False), answer(FILE[:-40], length=len(FILE)), answer(FILE[:-40], version="1.0", length=999)],
    ids=["chunked", "HTTP/1.1 with a length", "HTTP/1.0 with a length"],
)
def test_a_cut_body_is_requested_again_and_never_stored(engine: Engine, server: CddServer, cut: bytes) -> None:
    with pytest.raises(CddUnavailable, match="broken off after"):
        ingest(engine, server, cut, cut)
    assert len(server.requests) == 2
    assert days(engine) == []
    assert ingest(engine, server, cut, answer(FILE)).rows_new == 10


# --- when the file was made ----------------------------------------------------------------------------------------


def test_a_file_made_after_its_newest_day_closes_it(engine: Engine, server: CddServer) -> None:
    ingest(engine, server, answer(FILE, last_modified=CLOSES + MINUTE, date=CLOSES + HOUR))
    assert days(engine) == list(range(1, 11))


@pytest.mark.parametrize(
    ("last_modified", "date"),
    [
        (CLOSES + 3 * HOUR, CLOSES - 3 * HOUR),
        (CLOSES + DAY, CLOSES - 3 * HOUR),
        (CLOSES + DAY, None),
        # The server's clock is fast, and so is the time of its file.
        (CLOSES + 3 * HOUR, CLOSES + 4 * HOUR),
    ],
)
def test_a_last_modified_in_the_future_closes_no_candle(
    engine: Engine, server: CddServer, last_modified: datetime, date: datetime | None
) -> None:
    ingest(engine, server, answer(FILE, last_modified=last_modified, date=date), now=CLOSES - 3 * HOUR)
    assert days(engine) == list(range(1, 10))
    assert days(engine, closed=False) == [10]


def ingest_day(engine: Engine, server: CddServer, day: int, *, close: float = 101.25, at: timedelta = 2 * HOUR) -> None:
    """Ingest a file of a source that dates its copies, at a time of the next day; `close` is that of the newest row."""
    now = FIRST + day * DAY + at
    rows = [*ROWS[: day - 1], ROWS[day - 1].replace(b"101.25", str(close).encode())]
    ingest(engine, server, answer(HEAD + b"".join(rows), last_modified=now, date=now), now=now)


def test_a_source_that_dates_its_copies_is_believed_once_its_newest_days_proved_final(
    engine: Engine, server: CddServer
) -> None:
    for day in range(2, 7):
        ingest_day(engine, server, day)
        assert days(engine, closed=False)[-1] == day
        assert days(engine) == list(range(1, day))
    # Of the days 2 to 6 all but the last are known to be final; with the next file there are five of them.
    ingest_day(engine, server, 7, at=HOUR)
    assert days(engine) == list(range(1, 7))
    ingest_day(engine, server, 8)
    assert days(engine) == list(range(1, 9))
    # None of the others came as early as that.
    ingest_day(engine, server, 9, at=HOUR / 2)
    assert days(engine) == list(range(1, 9))


def test_a_source_whose_newest_days_are_unfinished_is_not_believed(engine: Engine, server: CddServer) -> None:
    for day in range(2, 11):
        ingest_day(engine, server, day, close=99)
        assert days(engine) == list(range(1, day))


def test_a_source_that_was_believed_wrongly_is_doubted_once_a_file_shows_it(engine: Engine, server: CddServer) -> None:
    for day in range(2, 8):
        ingest_day(engine, server, day)
    ingest_day(engine, server, 8, close=99)
    assert days(engine) == list(range(1, 9))
    # This file revises the eighth day, after it was read what the files before taught.
    ingest_day(engine, server, 9)
    assert days(engine) == list(range(1, 10))
    ingest_day(engine, server, 10)
    assert days(engine) == list(range(1, 10))


def test_an_unfinished_file_that_stays_does_not_close_its_day_at_the_usual_time(
    engine: Engine, server: CddServer
) -> None:
    for day in range(2, 8):
        ingest_day(engine, server, day)
    # Before the usual time, and the same file again after it: the source has not published yet.
    ingest_day(engine, server, 8, close=99, at=HOUR)
    ingest_day(engine, server, 8, close=99, at=3 * HOUR)
    assert days(engine, closed=False)[-1] == 8
    ingest_day(engine, server, 8, at=4 * HOUR)
    assert days(engine) == list(range(1, 9))


@pytest.mark.parametrize("banner", [b"", b"Created on 01-08-2020 by CryptoDataDownload\n"], ids=["alone", "a banner"])
def test_what_was_learnt_is_heard_without_last_modified_but_not_against_a_banner(
    engine: Engine, server: CddServer, banner: bytes
) -> None:
    for day in range(2, 8):
        ingest_day(engine, server, day)
    now = FIRST + 8 * DAY + 2 * HOUR
    ingest(engine, server, answer(banner + HEAD + b"".join(ROWS[:8]), date=now), now=now)
    assert days(engine)[-1] == (7 if banner else 8)


def test_a_source_that_dates_files_at_the_download_never_closes_a_candle(engine: Engine, server: CddServer) -> None:
    for minutes in (0, 5, 10):
        now = CLOSES + (20 + minutes) * MINUTE
        ingest(engine, server, answer(FILE, last_modified=now, date=now), now=now)
    assert days(engine, closed=False) == [10]
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM downloads")).scalar_one() == 1


@pytest.mark.parametrize("unchanged", ["304 with its time", "304 without", "200"])
def test_a_file_made_just_before_the_request_closes_its_day_at_the_next_request(
    engine: Engine, server: CddServer, unchanged: str
) -> None:
    file_time = CLOSES + 20 * MINUTE
    ingest(engine, server, answer(FILE, last_modified=file_time, date=file_time, etag='"a"'), now=file_time)
    assert days(engine, closed=False) == [10]
    later = file_time + 5 * MINUTE
    whole = answer(FILE, last_modified=file_time, date=later, etag='"a"')
    last_modified = file_time if unchanged == "304 with its time" else None
    not_modified = answer(
        b"", last_modified=last_modified, date=later, etag='"a"', status="304 Not Modified", length=None
    )
    report = ingest(engine, server, *([whole] if unchanged == "200" else [not_modified, whole]), now=later)
    assert report.rows_new == 1
    assert days(engine) == list(range(1, 11))
    assert ingest(engine, server, not_modified, now=later + 5 * MINUTE).outcome == "unchanged"


@pytest.mark.parametrize(
    ("given", "condition"),
    [({"etag": '"a"'}, "If-None-Match"), ({"last_modified": CLOSES + MINUTE}, "If-Modified-Since")],
)
def test_an_unchanged_file_is_not_sent_again(
    engine: Engine, server: CddServer, given: dict[str, Any], condition: str
) -> None:
    ingest(engine, server, answer(FILE, **given))
    not_modified = answer(b"", status="304 Not Modified", length=None, **given)
    assert ingest(engine, server, not_modified, now=CLOSES + 2 * HOUR).outcome == "unchanged"
    assert [condition in request.headers for request in server.requests] == [False, True]


def test_a_years_file_is_asked_for_again_by_its_own_name(engine: Engine, server: CddServer) -> None:
    file_time, later, name = CLOSES + 20 * MINUTE, CLOSES + 25 * MINUTE, "Bitstamp_BTCUSD_2020_d.csv"
    first, again = (answer(FILE, last_modified=file_time, date=date, etag='"a"') for date in (file_time, later))
    not_modified = answer(b"", date=later, etag='"a"', status="304 Not Modified", length=None)
    ingest(engine, server, first, now=file_time, file_name=name)
    ingest(engine, server, not_modified, again, now=later, file_name=name)
    assert days(engine) == list(range(1, 11))
    assert [request.path for request in server.requests] == [f"/cdd/{name}"] * 3


def test_a_file_that_lacks_the_days_before_its_time_closes_no_candle(engine: Engine, server: CddServer) -> None:
    ingest(
        engine, server, answer(FILE, last_modified=CLOSES + 2 * DAY, date=CLOSES + 2 * DAY + HOUR), now=CLOSES + 3 * DAY
    )
    assert days(engine, closed=False) == [10]


def test_a_banner_with_the_newest_rows_day_closes_no_candle_for_any_last_modified(
    engine: Engine, server: CddServer
) -> None:
    file = b"Created on 01-10-2020 by CryptoDataDownload\n" + FILE
    ingest(engine, server, answer(file, last_modified=CLOSES + MINUTE, date=CLOSES + HOUR))
    assert days(engine, closed=False) == [10]


def test_a_file_whose_rows_go_on_after_its_download_is_refused(engine: Engine, server: CddServer) -> None:
    too_early = CLOSES - DAY - 2 * HOUR
    with pytest.raises(CddFormatChanged, match="the rows go on to 2020-01-10 00:00 UTC and 0 more, after the file was"):
        ingest(engine, server, answer(FILE, last_modified=too_early - HOUR, date=too_early), now=too_early)
    with pytest.raises(CddFormatChanged, match="the clock of this machine is slow"):
        ingest(engine, server, answer(FILE), now=too_early)
    assert days(engine) == days(engine, closed=False) == []


@pytest.mark.parametrize("date", [None, CLOSES + HOUR], ids=["no Date", "Date"])
@pytest.mark.parametrize("last_modified", [None, CLOSES + MINUTE])
def test_a_single_row_in_the_future_is_set_aside_and_closes_no_candle(
    engine: Engine, server: CddServer, date: datetime | None, last_modified: datetime | None
) -> None:
    row_of_2099 = ROWS[9].replace(b"1578614400,2020-01-10", b"4070908800,2099-01-01")
    body = answer(HEAD + row_of_2099 + b"".join(ROWS), date=date, last_modified=last_modified)
    report = ingest(engine, server, body)
    assert (report.rows_in, report.rows_new, report.rows_quarantined) == (11, 10, 1)
    # The tenth day is the newest one, and closed only by the file's own time.
    assert days(engine, closed=last_modified is not None)[-1] == 10
    with engine.connect() as conn:
        raw, reason = conn.execute(text("SELECT raw_text, reason FROM quarantine")).one()
    assert raw.encode() + b"\n" == row_of_2099
    assert reason == "it opens in the future: after the file was fetched (2020-01-11 01:00 UTC)"


def test_a_newest_row_in_the_future_of_only_our_clock_or_only_the_servers_is_stored(
    engine: Engine, server: CddServer
) -> None:
    slow, right = CLOSES - 2 * DAY, CLOSES - HOUR
    ingest(engine, server, answer(FILE, date=right), now=slow)
    assert days(engine, closed=False) == [10]
    ingest(engine, server, answer(FILE, date=slow), now=right)
    assert days(engine, closed=False) == [10]
