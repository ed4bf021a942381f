"""The client with a local server in place of CDD: which requests it repeats or refuses, and how it spaces them."""

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from cdd_server import CddServer, Reply

from models.candles import SeriesName
from storage.errors import CddNotFound, CddRefused, CddUnavailable
from storage.source.client import CddClient

SERIES = SeriesName.parse("Bitstamp_BTCUSD_d")
CSV = b"unix,date,open,high,low,close\n1577923200,2020-01-02,7200,7210,6900,6950\n"


def size(client: CddClient, **conditions: str | None) -> int:
    """Fetch the series, delete the file and return its size."""
    with closing(client.fetch(SERIES, **conditions)) as fetched:
        return fetched.size


@pytest.fixture
def server() -> Iterator[CddServer]:
    with CddServer() as server:
        server.put(str(SERIES), CSV)
        yield server


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def client(server: CddServer, naps: list[float]) -> CddClient:
    return CddClient(server.url, timeout_s=5, sleep=naps.append)


def test_a_fetched_file_has_its_bytes_hash_and_time(server: CddServer, client: CddClient) -> None:
    server.last_modified = "Thu, 02 Jan 2020 23:59:59 GMT"
    fetched = client.fetch(SERIES)
    assert fetched.body is not None
    assert fetched.body.read() == CSV
    assert fetched.size == len(CSV)
    assert fetched.http_status == 200
    assert fetched.file_time == datetime(2020, 1, 2, 23, 59, 59, tzinfo=UTC)
    assert len(fetched.sha256 or "") == 64
    assert server.requests[0].path == "/cdd/Bitstamp_BTCUSD_d.csv"
    assert server.requests[0].headers["User-Agent"].startswith("candlecast/")
    fetched.close()


def test_an_unchanged_file_is_not_sent_again(server: CddServer, client: CddClient) -> None:
    first = client.fetch(SERIES)
    first.close()
    again = client.fetch(SERIES, etag=first.etag)
    assert again.body is None
    assert again.http_status == 304
    server.etags, server.last_modified = False, "Thu, 02 Jan 2020 23:59:59 GMT"
    assert client.fetch(SERIES, last_modified=server.last_modified).body is None


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_request_is_repeated_once_after_a_temporary_failure(
    server: CddServer, client: CddClient, naps: list[float], status: int
) -> None:
    server.faults = [Reply(status, b"busy")]
    assert size(client) == len(CSV)
    assert len(server.requests) == 2
    assert len(naps) == 1


@pytest.mark.parametrize("broken", [Reply(drop=True), Reply(200, CSV, cut=20)], ids=["closed", "cut"])
def test_a_request_is_repeated_once_after_a_broken_connection(
    server: CddServer, client: CddClient, broken: Reply
) -> None:
    server.faults = [broken]
    assert size(client) == len(CSV)
    assert len(server.requests) == 2


def test_the_second_request_waits_for_a_short_retry_after(
    server: CddServer, client: CddClient, naps: list[float]
) -> None:
    server.faults = [Reply(429, headers={"Retry-After": "2"})]
    assert size(client) == len(CSV)
    assert naps == [2]


def test_the_client_does_not_sleep_through_a_long_retry_after(
    server: CddServer, client: CddClient, naps: list[float]
) -> None:
    server.faults = [Reply(429, headers={"Retry-After": "60"})]
    with pytest.raises(CddUnavailable) as caught:
        client.fetch(SERIES)
    assert caught.value.retry_after_s == 60
    assert naps == []


def test_a_server_that_stays_down_gets_two_requests(server: CddServer, client: CddClient) -> None:
    server.faults = [Reply(503)] * 20
    with pytest.raises(CddUnavailable, match="503"):
        client.fetch(SERIES)
    assert len(server.requests) == 2


def test_a_server_that_hangs_gets_one_request_that_ends_within_seconds(server: CddServer, naps: list[float]) -> None:
    server.faults = [Reply(200, CSV, slow_head=True, bytes_per_s=0.01)] * 2
    client = CddClient(server.url, timeout_s=1, sleep=naps.append)
    began = time.monotonic()
    # Either the wait for the answer ends first or the deadline of the whole request, with a message each.
    with pytest.raises(CddUnavailable, match="did not answer"):
        client.fetch(SERIES)
    assert time.monotonic() - began < 5
    assert len(server.requests) == 1
    assert naps == []


def test_requests_are_spaced_even_if_some_start_late(server: CddServer) -> None:
    oversleeps = itertools.cycle([0.6, 0.0])
    client = CddClient(server.url, interval_s=0.4, sleep=lambda seconds: time.sleep(seconds + next(oversleeps)))
    for _ in range(5):
        size(client)
    gaps = [after.at - before.at for before, after in pairwise(server.requests)]
    # Spaced by a timetable, the request after a late one would follow at once. On a busy machine a request may reach
    # the server some time after the client started it, and the next one sooner.
    assert min(gaps) > 0.2
    assert max(gaps) > 0.8


def test_a_repeated_request_is_spaced_like_any_other(server: CddServer) -> None:
    server.faults = [Reply(429, headers={"Retry-After": "0"})]
    assert size(CddClient(server.url, interval_s=0.4)) == len(CSV)
    assert server.requests[1].at - server.requests[0].at > 0.2


def test_a_missing_series_is_requested_once(server: CddServer, client: CddClient) -> None:
    with pytest.raises(CddNotFound, match="Nowhere_BTCUSD_d"):
        client.fetch(SeriesName.parse("Nowhere_BTCUSD_d"))
    assert len(server.requests) == 1


def test_a_body_that_is_always_cut_is_never_accepted(server: CddServer, client: CddClient) -> None:
    server.faults = [Reply(200, CSV, cut=30)] * 2
    with pytest.raises(CddUnavailable, match="broken off after 30 bytes"):
        client.fetch(SERIES)


def test_a_file_larger_than_the_limit_is_refused(server: CddServer) -> None:
    server.put(str(SERIES), CSV + b"x" * 5000)
    with pytest.raises(CddRefused, match="larger than 1,000 bytes"):
        CddClient(server.url, max_bytes=1000).fetch(SERIES)


def test_a_compressed_bomb_is_refused_by_its_uncompressed_size(server: CddServer) -> None:
    import gzip

    bomb = gzip.compress(b"0" * 3_000_000)
    server.faults = [Reply(200, bomb, {"Content-Encoding": "gzip"})]
    with pytest.raises(CddRefused, match="uncompressed"):
        CddClient(server.url, max_bytes=1_000_000).fetch(SERIES)


def test_a_body_that_comes_byte_by_byte_is_given_up_at_the_deadline(server: CddServer) -> None:
    server.faults = [Reply(200, CSV * 2000, bytes_per_s=200)] * 2
    with pytest.raises(CddUnavailable, match="not received whole within 0.5 s"):
        CddClient(server.url, timeout_s=0.5, tries=1, sleep=lambda _: None).fetch(SERIES)


def test_headers_that_come_byte_by_byte_are_given_up_at_the_deadline(server: CddServer) -> None:
    # Each byte comes within the HTTP library's time-out, which starts again with each byte.
    server.faults = [Reply(200, CSV, {"X-Long": "x" * 100}, slow_head=True, bytes_per_s=10)]
    began = time.monotonic()
    with pytest.raises(CddUnavailable, match="did not answer within 0.5 s"):
        CddClient(server.url, timeout_s=0.5, tries=1).fetch(SERIES)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/cdd/Bitstamp_BTCUSD_d.csv",
        "http://169.254.169.254/latest/meta-data/",
        "//localhost:{port}/cdd/Bitstamp_BTCUSD_d.csv",
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "ftp://127.0.0.1/cdd/Bitstamp_BTCUSD_d.csv",
    ],
)
def test_a_redirect_to_another_host_or_scheme_is_refused(server: CddServer, client: CddClient, location: str) -> None:
    server.faults = [Reply(302, headers={"Location": location.format(port=server.port)})]
    with pytest.raises(CddRefused, match="another host, port or scheme"):
        client.fetch(SERIES)
    assert len(server.requests) == 1


def test_a_circle_of_redirects_is_refused(server: CddServer, client: CddClient) -> None:
    server.faults = [Reply(302, headers={"Location": "/cdd/Bitstamp_BTCUSD_d.csv"})] * 9
    with pytest.raises(CddRefused, match="redirects more than 3 times"):
        client.fetch(SERIES)
    assert len(server.requests) == 4


def test_a_redirect_on_the_same_host_is_followed(server: CddServer, client: CddClient) -> None:
    server.faults = [Reply(301, headers={"Location": "/cdd/Bitstamp_BTCUSD_d.csv"})]
    assert size(client) == len(CSV)


def test_no_message_shows_the_secrets_of_a_url(server: CddServer) -> None:
    client = CddClient(server.url.replace("http://", "http://me:hunter2@") + "?token=hunter2", tries=1)
    server.faults = [Reply(503)]
    with pytest.raises(CddUnavailable) as caught:
        client.fetch(SERIES)
    assert "hunter2" not in str(caught.value) + client.source


def test_a_folder_is_a_source_too(tmp_path: Path) -> None:
    (tmp_path / f"{SERIES}.csv").write_bytes(CSV)
    fetched = CddClient(str(tmp_path)).fetch(SERIES)
    assert fetched.body is not None
    assert fetched.body.read() == CSV
    assert fetched.file_time is None
    fetched.close()
    with pytest.raises(CddNotFound, match="no file"):
        CddClient(str(tmp_path)).fetch(SeriesName.parse("Nowhere_BTCUSD_d"))
    with pytest.raises(CddNotFound, match="expected a folder"):
        CddClient(str(tmp_path / "nowhere")).fetch(SERIES)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(CddUnavailable, match="did not answer"):
        CddClient("http://127.0.0.1:9/", tries=2, sleep=lambda _: None).fetch(SERIES)


def test_a_source_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="http"):
        CddClient("ftp://somewhere/")


def test_a_compressed_file_is_unpacked(server: CddServer, client: CddClient) -> None:
    import gzip

    server.faults = [Reply(200, gzip.compress(CSV), {"Content-Encoding": "gzip"})]
    assert size(client) == len(CSV)


def test_the_proxy_of_the_environment_is_used(server: CddServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    server.files["http://archive.invalid/cdd/Bitstamp_BTCUSD_d.csv"] = CSV
    assert size(CddClient("http://archive.invalid/cdd/", tries=1)) == len(CSV)
    assert server.requests[0].path.startswith("http://archive.invalid/")
