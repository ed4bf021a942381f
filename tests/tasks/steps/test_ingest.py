"""Ingesting from a local server into real databases: nothing is lost, stored twice or half-written."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cdd_server import CddServer, Reply
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from sqlalchemy import Engine, text

from models.candles import UnknownSeries
from storage.candles import read_candle_rows, read_history
from storage.errors import CddFormatChanged, CddNotFound, CddRefused, CddUnavailable, StorageError
from storage.findings import read_findings
from storage.source.client import CddClient
from tasks.steps.holds import Held
from tasks.steps.ingest import IngestReport, ingest_series

FIXTURES = Path(__file__).parents[2] / "fixtures" / "cdd"
SERIES = "Coinbase_BTCUSD_d"
NOW = datetime(2025, 10, 1, 0, 20, tzinfo=UTC)
DAY = timedelta(days=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
HEAD = "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD\n"


def csv(
    n: int, *, first: datetime = datetime(2020, 1, 1, tzinfo=UTC), changed: dict[int, float] | None = None
) -> bytes:
    """A file of `n` days, newest first, with some closes replaced."""
    rows = []
    for i in range(n):
        at = first + i * DAY
        close = (changed or {}).get(i, 100.0 + (at - START).days % 7)
        rows.append(f"{int(at.timestamp())},{at:%Y-%m-%d},BTC/USD,100,{max(close, 107)},90,{close},10,1000")
    return (HEAD + "\n".join(reversed(rows)) + "\n").encode()


@pytest.fixture
def server() -> Iterator[CddServer]:
    with CddServer() as server:
        yield server


@pytest.fixture
def client(server: CddServer) -> CddClient:
    return CddClient(server.url, tries=2, sleep=lambda _: None)


def ingest(
    engine: Engine, client: CddClient, *, day: int = 0, accept: bool = False, series: str = SERIES
) -> IngestReport:
    return ingest_series(engine, series=series, client=client, now=NOW + day * DAY, accept=accept)


def count(engine: Engine, table: str, where: str = "1 = 1") -> int:
    with engine.connect() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())


def test_every_row_of_a_file_is_stored_or_quarantined(engine: Engine, client: CddClient, server: CddServer) -> None:
    server.put(SERIES, (FIXTURES / "impossible_rows.csv").read_bytes())
    report = ingest(engine, client)
    assert (report.rows_in, report.rows_new, report.rows_quarantined) == (8, 3, 5)
    assert count(engine, "quarantine") == 5
    with engine.connect() as conn:
        raw = conn.execute(text("SELECT raw_text FROM quarantine WHERE line_number = 4")).scalar_one()
        row = conn.execute(text("SELECT rows_in, rows_new, rows_quarantined, outcome FROM downloads")).one()
    assert "abc" in raw
    assert tuple(row) == (8, 3, 5, "stored")


def test_a_time_that_is_twice_in_a_file_of_many_blocks_is_stored_once(
    engine: Engine, client: CddClient, server: CddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.source.cells.BLOCK_CHARACTERS", 500)
    monkeypatch.setattr("storage.source.file.ROWS_AT_ONCE", 2)
    monkeypatch.setattr("storage.source.file.HELD_BACK", 1)
    hours = [
        f"{int((START + n * DAY / 24).timestamp())},,BTC/USD,100,107,90,{100 + n % 7},10,1000" for n in range(30, 0, -1)
    ]
    # Hour 29 comes again some blocks later: first unchanged, then at the end with another close.
    changed = hours[1].replace(",101,", ",102,")
    lines = [*hours[:20], hours[1], *hours[20:], changed]
    server.put("Coinbase_BTCUSD_1h", (HEAD + "\n".join(lines) + "\n").encode())
    report = ingest(engine, client, series="Coinbase_BTCUSD_1h")
    assert (report.rows_in, report.rows_new, report.rows_equal, report.rows_quarantined) == (32, 30, 1, 1)
    with engine.connect() as conn:
        refused = conn.execute(text("SELECT line_number, raw_text, reason FROM quarantine")).one()
        stored = [row.close for row in read_candle_rows(conn, series="Coinbase_BTCUSD_1h")]
    assert tuple(refused) == (33, changed, "a duplicate: the same time stands earlier in the file")
    assert stored[28] == 101


def test_the_newest_candle_is_stored_but_not_read_until_it_has_closed(
    engine: Engine, client: CddClient, server: CddServer
) -> None:
    server.put(SERIES, csv(5, changed={4: 101.5}))
    assert ingest(engine, client).rows_new == 5
    with engine.connect() as conn:
        assert len(read_candle_rows(conn, series=SERIES)) == len(read_history(conn, series=SERIES).known_at()) == 4
    assert count(engine, "candles", "provisional") == 1
    server.put(SERIES, csv(6, changed={4: 99.0}))
    report = ingest(engine, client, day=1)
    assert (report.rows_new, report.rows_equal, report.rows_revised) == (2, 4, 0)
    with engine.connect() as conn:
        rows = read_candle_rows(conn, series=SERIES)
    assert [row.close for row in rows] == [100, 101, 102, 103, 99]


def test_an_equal_file_adds_nothing(engine: Engine, client: CddClient, server: CddServer) -> None:
    server.put(SERIES, csv(20))
    ingest(engine, client)
    assert ingest(engine, client, day=1).outcome == "unchanged"
    server.etags = False
    assert ingest(engine, client, day=2).outcome == "unchanged"
    server.put(SERIES, csv(20) + b"\n")
    report = ingest(engine, client, day=3)
    assert (report.rows_in, report.rows_equal, report.rows_new) == (20, 20, 0)
    assert count(engine, "candles") == 20


def test_yesterdays_file_served_again_changes_no_candle(engine: Engine, client: CddClient, server: CddServer) -> None:
    yesterday, today = csv(20, changed={19: 91.0}), csv(21)
    server.put(SERIES, yesterday)
    ingest(engine, client)
    server.put(SERIES, today)
    ingest(engine, client, day=1)
    with engine.connect() as conn:
        before = read_candle_rows(conn, series=SERIES)
    # The newest candle of this file was unfinished when the file was made; its final values are stored now.
    server.put(SERIES, yesterday)
    report = ingest(engine, client, day=2)
    assert (report.outcome, report.rows_new, report.rows_revised) == ("stored", 0, 0)
    with engine.connect() as conn:
        assert read_candle_rows(conn, series=SERIES) == before
    server.put(SERIES, today)
    assert ingest(engine, client, day=3).rows_new == 0
    with engine.connect() as conn:
        assert read_candle_rows(conn, series=SERIES) == before


def test_a_changed_candle_is_a_revision_and_the_earlier_one_can_still_be_read(
    engine: Engine, client: CddClient, server: CddServer
) -> None:
    server.put(SERIES, csv(20))
    ingest(engine, client)
    server.put(SERIES, csv(21, changed={3: 104.0}))
    report = ingest(engine, client, day=10)
    assert report.rows_revised == 1
    assert report.largest_revision == pytest.approx(1 / 103)
    with engine.connect() as conn:
        as_of_before = read_candle_rows(conn, series=SERIES, as_of=NOW + DAY)
        newest = read_candle_rows(conn, series=SERIES)
        assert (as_of_before[3].close, newest[3].close) == (103, 104)
        assert len(as_of_before) == 19
        assert len(newest) == 20
        history = read_history(conn, series=SERIES)
        frames = [history.known_at(at) for at in (START, NOW + 10 * DAY - timedelta(seconds=1), NOW + 10 * DAY, None)]
        assert [frame["close"].iloc[3] for frame in frames] == [103, 103, 104, 104]
        # For earlier instants a candle that was fetched later has its first revision.
        assert [len(frame) for frame in frames] == [20] * 4
        assert frames[0] is frames[1]
        assert [f.count for f in read_findings(conn, series=SERIES) if f.code == "revision"] == [1]


def test_a_file_that_lacks_many_candles_is_held_until_a_person_accepts_it(
    engine: Engine, client: CddClient, server: CddServer
) -> None:
    server.put(SERIES, csv(200))
    ingest(engine, client)
    server.put(SERIES, csv(190, first=datetime(2020, 1, 11, tzinfo=UTC)))
    for day in (1, 2):
        with pytest.raises(Held, match="lacks 10 of the 199 stored candles"):
            ingest(engine, client, day=day)
    assert count(engine, "candles") == 200
    assert count(engine, "downloads", "outcome = 'held'") == 2
    assert ingest(engine, client, day=3, accept=True).outcome == "stored"
    assert count(engine, "candles") == 200  # nothing is deleted


def test_a_file_that_changes_many_candles_is_held(engine: Engine, client: CddClient, server: CddServer) -> None:
    server.put(SERIES, csv(200))
    ingest(engine, client)
    server.put(SERIES, csv(200, changed=dict.fromkeys(range(0, 70, 7), 106.9)))
    with pytest.raises(Held, match="changes 10 of the 199"):
        ingest(engine, client, day=1)
    assert count(engine, "candles") == 200


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("html", CddRefused),
        ("empty", CddRefused),
        ("wrong_columns", CddFormatChanged),
        ("header_only", CddFormatChanged),
        ("other_pair", CddFormatChanged),
    ],
)
def test_a_file_that_is_not_of_the_series_is_refused_and_changes_no_candle(
    engine: Engine, client: CddClient, server: CddServer, name: str, error: type[Exception]
) -> None:
    server.put(SERIES, (FIXTURES / f"{name}.csv").read_bytes())
    with pytest.raises(error):
        ingest(engine, client)
    assert [count(engine, table) for table in ("series", "downloads", "candles", "quarantine")] == [0, 0, 0, 0]
    server.put(SERIES, csv(10))
    ingest(engine, client)
    server.put(SERIES, (FIXTURES / f"{name}.csv").read_bytes())
    with pytest.raises(error):
        ingest(engine, client, day=1)
    assert count(engine, "candles") == 10
    assert count(engine, "downloads", "outcome <> 'stored' AND reason IS NOT NULL") == 1


def test_a_file_without_a_single_candle_is_refused_with_the_first_reason(
    engine: Engine, client: CddClient, server: CddServer
) -> None:
    server.put(SERIES, HEAD.encode() + b"1577836800,2020-01-01,BTC/USD,1,x,1,1,1,1\n")
    with pytest.raises(CddFormatChanged, match="not one of the file's 1 rows .* not a number"):
        ingest(engine, client)


def test_a_single_unfinished_candle_is_stored_and_not_read(
    engine: Engine, client: CddClient, server: CddServer
) -> None:
    server.put(SERIES, (FIXTURES / "one_candle.csv").read_bytes())
    assert ingest(engine, client).rows_new == 1
    with engine.connect() as conn:
        assert read_candle_rows(conn, series=SERIES) == []
        assert read_history(conn, series=SERIES).known_at().empty


def test_an_answer_that_is_an_error_page_is_recorded(engine: Engine, client: CddClient, server: CddServer) -> None:
    server.put(SERIES, csv(10))
    ingest(engine, client)
    server.faults = [Reply(503)] * 2
    with pytest.raises(CddUnavailable):
        ingest(engine, client, day=1)
    assert count(engine, "downloads", "outcome = 'unavailable'") == 1
    server.files.clear()
    with pytest.raises(CddNotFound):
        ingest(engine, client, day=2)


def test_revisions_stay_in_order_when_the_clock_goes_back(engine: Engine, client: CddClient, server: CddServer) -> None:
    server.put(SERIES, csv(20))
    ingest(engine, client)
    server.put(SERIES, csv(20, changed={3: 104.0}))
    ingest(engine, client, day=-400)
    with engine.connect() as conn:
        assert read_candle_rows(conn, series=SERIES)[3].close == 104


def test_gaps_are_findings_until_a_file_fills_them(engine: Engine, client: CddClient, server: CddServer) -> None:
    lines = csv(30).decode().splitlines(keepends=True)
    server.put(SERIES, "".join([*lines[:10], *lines[15:]]).encode())
    ingest(engine, client)
    with engine.connect() as conn:
        (gap,) = [f for f in read_findings(conn, series=SERIES) if f.code == "gap"]
    assert gap.count == 5
    assert gap.severity == "warning"
    assert gap.remedy
    server.put(SERIES, csv(30))
    assert ingest(engine, client, day=1).rows_new == 5
    with engine.connect() as conn:
        assert [f.code for f in read_findings(conn, series=SERIES)] == ["stale"]
        assert {f.code for f in read_findings(conn, series=SERIES, resolved=True)} == {"gap", "stale"}


def test_no_request_is_sent_for_a_malformed_series(engine: Engine, client: CddClient, server: CddServer) -> None:
    with pytest.raises(UnknownSeries):
        ingest(engine, client, series="../../etc/passwd")
    assert server.requests == []


def test_the_sample_ingests_with_its_gap_as_a_finding(engine: Engine, sample_csv: Path) -> None:
    report = ingest_series(engine, series=SERIES, client=CddClient(str(sample_csv.parent)), now=NOW)
    assert (report.rows_in, report.rows_new) == (1770, 1770)
    with engine.connect() as conn:
        findings = {f.code: f for f in read_findings(conn, series=SERIES)}
        candles = read_history(conn, series=SERIES).known_at()
    assert findings["gap"].count == 12
    assert f"{findings['gap'].first_time:%Y-%m-%d}..{findings['gap'].last_time:%Y-%m-%d}" == "2019-03-20..2019-03-31"
    assert len(candles) == 1769
    assert candles["close_time"].iloc[-1].isoformat() == "2019-10-17T00:00:00+00:00"


def test_real_files_in_time_order_make_a_history_that_can_be_read_as_of(
    engine: Engine, shared_data: Path, tmp_path: Path
) -> None:
    """Real files of 2020, 2022 and 2025: later ones revise candles, and earlier revisions can still be read."""
    series = "Bitstamp_BTCUSD_d"
    reports = []
    for vintage in ("2020-11-19", "2022-08-20", "2025-07-05", "2025-09-24"):
        (tmp_path / f"{series}.csv").write_bytes((shared_data / f"{series}__{vintage}.csv").read_bytes())
        at = datetime.fromisoformat(vintage).replace(tzinfo=UTC) + timedelta(hours=1)
        client = CddClient(str(tmp_path))
        try:
            reports.append(ingest_series(engine, series=series, client=client, now=at))
        except Held:
            reports.append(ingest_series(engine, series=series, client=client, now=at, accept=True))
    assert [report.rows_new for report in reports] == [2172, 2823 - 2171, 3873 - 2822, 3954 - 3872]
    # The upstream source changed: the prices of 856 days moved, and the volumes of others.
    assert reports[1].rows_revised >= 856
    assert [report.rows_revised for report in reports[2:]] == [0, 0]
    with engine.connect() as conn:
        before = read_candle_rows(conn, series=series, as_of=datetime(2020, 11, 20, tzinfo=UTC))
        after = read_candle_rows(conn, series=series)
    assert len(before) == 2171
    assert len(after) == 3953
    moved = {row.open_time: row for row in after}
    # 854 closed days, and the day that was unfinished when the first file was made.
    assert sum(moved[row.open_time].open != row.open for row in before) == 854


def test_a_file_that_is_no_longer_updated_is_one_finding(engine: Engine, client: CddClient, server: CddServer) -> None:
    server.put(SERIES, csv(20))
    at = START + timedelta(days=20)

    def findings(now: datetime) -> list[str]:
        ingest_series(engine, series=SERIES, client=client, now=now)
        with engine.connect() as conn:
            return [f.code for f in read_findings(conn, series=SERIES)]

    assert findings(at) == []
    assert findings(at + DAY) == []
    assert findings(at + 3 * DAY) == ["stale"]
    assert findings(at + 4 * DAY) == ["stale"]
    assert count(engine, "findings") == 1
    server.put(SERIES, csv(25))
    assert findings(at + 5 * DAY) == []


def test_closes_far_from_those_of_another_exchange_are_a_finding(
    engine: Engine, client: CddClient, server: CddServer
) -> None:
    server.put("Bitstamp_BTCUSD_d", csv(40))
    server.put("Bitstamp_ETHUSD_d", csv(40, changed={5: 50.0}))
    server.put("Binance_BTCUSDT_d", csv(40, changed={7: 106.9, 8: 106.0}).replace(b"BTC/USD", b"BTC/USDT"))
    for series in ("Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d"):
        if series.startswith("Bitstamp_ETH"):
            server.put(series, server.files[f"/cdd/{series}.csv"].replace(b"BTC/USD", b"ETH/USD"))
        ingest(engine, client, series=series)
    ingest(engine, client, series="Binance_BTCUSDT_d")
    with engine.connect() as conn:
        (outlier,) = [f for f in read_findings(conn) if f.code == "outlier"]
    assert (outlier.series, outlier.count) == ("Binance_BTCUSDT_d", 1)
    assert "Bitstamp_BTCUSD_d, 6.9% at most" in outlier.message


def test_highs_and_lows_far_outside_those_of_another_exchange_are_findings_with_their_day(
    engine: Engine, client: CddClient, server: CddServer
) -> None:
    """Each is well within what its own neighbours allow, so only the other market shows it."""
    wicks = csv(40).decode().splitlines()
    for age, low, high in ((3, 50, 107), (9, 90, 200), (12, 61, 107), (14, 90, 160)):
        cells = wicks[age].split(",")
        wicks[age] = ",".join([*cells[:4], str(high), str(low), *cells[6:]])
    server.put("Bitstamp_BTCUSD_d", csv(40))
    server.put("Binance_BTCUSDT_d", "\n".join([*wicks, ""]).replace("BTC/USD", "BTC/USDT").encode())
    for series in ("Bitstamp_BTCUSD_d", "Binance_BTCUSDT_d"):
        ingest(engine, client, series=series)
    with engine.connect() as conn:
        findings = [f for f in read_findings(conn) if f.code in ("outlier", "wick")]
    assert [(f.series, f.message) for f in findings] == [
        ("Binance_BTCUSDT_d", "close of Sat 2020-02-01: the high is 200, that of Bitstamp_BTCUSD_d is 107"),
        ("Binance_BTCUSDT_d", "close of Fri 2020-02-07: the low is 50, that of Bitstamp_BTCUSD_d is 90"),
    ]
    assert [f.first_time for f in findings] == [datetime(2020, 2, 1, tzinfo=UTC), datetime(2020, 2, 7, tzinfo=UTC)]


def test_real_closes_of_two_exchanges_differ_in_january_2015(engine: Engine, shared_data: Path, tmp_path: Path) -> None:
    for series, vintage in (("Bitstamp_BTCUSD_d", "2020-11-19"), ("Coinbase_BTCUSD_d", "2018-05-26")):
        (tmp_path / f"{series}.csv").write_bytes((shared_data / f"{series}__{vintage}.csv").read_bytes())
        ingest_series(engine, series=series, client=CddClient(str(tmp_path)), now=NOW)
    with engine.connect() as conn:
        outliers = [f for f in read_findings(conn, series="Coinbase_BTCUSD_d") if f.code == "outlier"]
    (outlier,) = [f for f in outliers if "closes are over" in f.message]
    assert outlier.first_time is not None
    assert outlier.last_time is not None
    assert f"{outlier.first_time:%Y-%m}" <= "2015-01" <= f"{outlier.last_time:%Y-%m}"


def test_zero_volume_days_are_marked_and_kept(engine: Engine, client: CddClient, server: CddServer) -> None:
    server.put("Bitstamp_BTCUSD_d", (FIXTURES / "outage.csv").read_bytes())
    ingest(engine, client, series="Bitstamp_BTCUSD_d")
    with engine.connect() as conn:
        findings = {f.code: f for f in read_findings(conn, series="Bitstamp_BTCUSD_d")}
        assert len(read_candle_rows(conn, series="Bitstamp_BTCUSD_d")) == 2
    assert findings["zero-volume"].count == 1


@pytest.mark.parametrize("seed", range(3))
def test_every_row_of_a_damaged_file_is_counted(engine: Engine, tmp_path: Path, seed: int) -> None:
    import random

    rng = random.Random(seed)
    originals = [path.read_bytes() for path in sorted(FIXTURES.glob("*.csv")) if b"BTC" in path.read_bytes()]
    stored = 0
    for case in range(40):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(0, 4)):
            at = rng.randrange(len(data) + 1)
            data[at:at] = rng.choice((b"0", b",", b"\n", b"x", bytes(data[:60]), b"-"))
        (tmp_path / f"{SERIES}.csv").write_bytes(bytes(data))
        client = CddClient(str(tmp_path))
        before = count(engine, "candles"), count(engine, "quarantine")
        try:
            report = ingest_series(engine, series=SERIES, client=client, now=NOW + case * DAY, accept=True)
        except StorageError:
            assert (count(engine, "candles"), count(engine, "quarantine")) == before
            continue
        stored += 1
        assert report.rows_in == report.rows_new + report.rows_equal + report.rows_revised + report.rows_quarantined
        assert count(engine, "candles") - before[0] == report.rows_new + report.rows_revised
        newest = "download = (SELECT max(id) FROM downloads)"
        # A row that is in a file twice, or was in an earlier file, is stored once.
        assert bool(report.rows_quarantined) <= count(engine, "quarantine", newest) <= report.rows_quarantined
        assert count(engine, "quarantine") <= before[1] + report.rows_quarantined
    assert stored > 10
