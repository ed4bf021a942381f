"""An attacking source: the client follows no redirect to another server, and no header makes it crash."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cdd_server import CddServer, Reply
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.candles import SeriesName
from storage.errors import CddFormatChanged, CddRefused, CddUnavailable, StorageError
from storage.redaction import printable, safe_url, without_credentials
from storage.source.client import CddClient
from storage.source.listing import available_series
from storage.source.urls import same_server

SERIES = SeriesName.parse("Bitstamp_BTCUSD_d")
CSV = b"unix,date,open,high,low,close\n1577923200,2020-01-02,7200,7210,6900,6950\n"


@pytest.fixture
def server() -> Iterator[CddServer]:
    with CddServer() as server:
        server.put(str(SERIES), CSV)
        yield server


@pytest.fixture
def other_service() -> Iterator[CddServer]:
    """Another service on this host, such as one that trusts every client from loopback."""
    with CddServer() as other_service:
        other_service.put(str(SERIES), CSV)
        yield other_service


TARGETS = [
    "http://127.0.0.1:{other_service}/cdd/Bitstamp_BTCUSD_d.csv",
    "http://127.0.0.1:{other_service}/admin",
    "//127.0.0.1:{other_service}/admin",
    "http://localhost:{own}/cdd/Bitstamp_BTCUSD_d.csv",
    "http://127.0.0.2:{own}/",
    "http://[::1]:{own}/",
    "http://0.0.0.0:{own}/",
    "http://2130706433:{own}/",
    "http://127.1:{own}/",
    "http://0x7f000001:{own}/",
    "http://127.0.0.1.:{own}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://metadata.google.internal/",
    "http://127.0.0.1/",
    "https://127.0.0.1:{own}/",
    "http://127.0.0.1:{own}@evil.example/",
    "http://evil.example\\@127.0.0.1:{own}/",
    "http://127.0.0.1:{own}#@evil.example:80/../../x",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "ftp://127.0.0.1:{own}/x",
    "gopher://127.0.0.1:{other_service}/_x",
    "data:text/csv,unix",
    "javascript:alert(1)",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:x/",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_only_to_the_same_server(
    server: CddServer, other_service: CddServer, target: str, status: int
) -> None:
    location = target.format(own=server.port, other_service=other_service.port)
    server.faults = [Reply(status, headers={"Location": location})]
    client = CddClient(server.url, tries=1, timeout_s=5)
    if location == f"http://127.0.0.1:{server.port}#@evil.example:80/../../x":
        # The text after the port is a fragment, which is not sent, so this redirect stays on the server.
        with pytest.raises(StorageError, match="no such series"):
            client.fetch(SERIES)
    else:
        with pytest.raises(CddRefused, match="redirects to"):
            client.fetch(SERIES)
        assert len(server.requests) == 1
    assert other_service.requests == []


def test_each_redirect_of_a_chain_is_checked_and_a_long_chain_is_refused(
    server: CddServer, other_service: CddServer
) -> None:
    away = f"http://127.0.0.1:{other_service.port}/admin"
    server.faults = [Reply(302, headers={"Location": "/a"}), Reply(302, headers={"Location": away})]
    with pytest.raises(CddRefused, match="another host, port or scheme"):
        CddClient(server.url, tries=1).fetch(SERIES)
    assert other_service.requests == []
    server.faults = [Reply(302, headers={"Location": "/a"})] * 20
    with pytest.raises(CddRefused, match="more than 3 times"):
        CddClient(server.url, tries=1).fetch(SERIES)


@pytest.mark.parametrize(
    ("first", "then", "allowed"),
    [
        ("http://h/a", "https://h/a", True),
        ("http://h:80/a", "https://h:443/b", True),
        ("https://h/a", "http://h/a", False),
        ("http://h:8000/a", "https://h/a", False),
        ("http://h/a", "https://h:8443/a", False),
        ("https://h/a", "https://h:22/a", False),
        ("https://h/a", "https://H/b?c", True),
        ("https://h/a", "https://h.evil.example/", False),
        ("https://h/a", "https://user:pass@h/", True),
    ],
)
def test_the_same_server_has_the_same_scheme_host_and_port(first: str, then: str, allowed: bool) -> None:
    assert same_server(first, then) is allowed


def test_a_redirects_control_characters_do_not_reach_the_terminal(server: CddServer) -> None:
    server.faults = [Reply(302, headers={"Location": "http://evil.example/\x1b]0;owned\x07\x1b[2J"})]
    with pytest.raises(CddRefused) as caught:
        CddClient(server.url, tries=1).fetch(SERIES)
    assert "\x1b" not in str(caught.value)


HEADERS = ("Location", "Retry-After", "Last-Modified", "ETag", "Content-Length", "Content-Encoding", "Content-Type",
           "Transfer-Encoding", "Set-Cookie", "WWW-Authenticate", "Refresh", "Connection")  # fmt: skip
WORDS = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    st.sampled_from(
        ["²", "-1", "9" * 400, "1e400", "Mon, 01 Jan 0001 00:00:00 +2300", "Fri, 31 Dec 9999 23:59:59 -2300",
         "Mon, 01 Jan 2020 00:00:00 +9999", "gzip", "gzip, br, deflate", "zstd", "chunked", "http://[::1", "//", "?",
         "/a", "W/\"x\"", "", "close"]
    ),
)  # fmt: skip


def test_an_answer_with_any_headers_is_a_file_or_a_typed_error() -> None:
    requests = 0
    with CddServer() as server:

        @settings(max_examples=400, suppress_health_check=list(HealthCheck))
        @given(
            st.sampled_from([200, 200, 200, 204, 206, 301, 302, 304, 400, 401, 404, 416, 418, 429, 500, 503, 599]),
            st.dictionaries(st.sampled_from(HEADERS), WORDS, max_size=4),
            st.one_of(st.just(CSV), st.binary(max_size=60)),
        )
        def ask(status: int, headers: dict[str, str], body: bytes) -> None:
            nonlocal requests
            server.faults = [Reply(status, body, {k: v.replace("\x85", "") for k, v in headers.items()}, cut=len(body))]
            client = CddClient(server.url, tries=2, timeout_s=0.3, max_bytes=10_000, sleep=lambda _: None)
            try:
                with closing(client.fetch(SERIES, etag='"x"')) as fetched:
                    assert fetched.http_status in (200, 304)
                    assert fetched.size <= 10_000
            except StorageError:
                pass
            requests += 1

        ask()
    assert requests >= 400


# --- CDD's listing, which is sent a token ------------------------------------------------------------------------


def test_the_listing_follows_no_redirect_so_no_other_server_gets_the_token(
    server: CddServer, other_service: CddServer
) -> None:
    server.faults = [Reply(302, headers={"Location": f"http://127.0.0.1:{other_service.port}/"})]
    with pytest.raises(CddRefused, match="set CANDLECAST_CDD_API") as caught:
        available_series("Bitstamp", api=server.url, token="hunter2")
    assert other_service.requests == []
    assert "hunter2" not in str(caught.value)


def test_the_listings_url_is_shown_without_its_password(server: CddServer) -> None:
    api = server.url.replace("http://", "http://me:hunter2@")
    for status in (302, 403, 404, 500):
        server.faults = [Reply(status, headers={"Location": "/"})]
        with pytest.raises(StorageError) as caught:
            available_series("Bitstamp", api=api, token="hunter3")
        assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, b"[" * 200_000), CddFormatChanged),
        (Reply(200, b"1" * 6000), CddFormatChanged),
        (Reply(200, b"\xff\xfe\x00"), CddFormatChanged),
        (Reply(200, b"{}", {"Content-Encoding": "gzip"}), CddUnavailable),
        (Reply(200, b"{}", {"Content-Length": "100"}, cut=2), CddUnavailable),
    ],
    ids=["nested", "long number", "no text", "no gzip", "cut"],
)
def test_an_answer_that_is_not_a_listing_raises_a_typed_error(
    server: CddServer, reply: Reply, error: type[Exception]
) -> None:
    server.faults = [reply]
    with pytest.raises(error):
        available_series("Bitstamp", api=server.url)


# --- which parts of a URL are shown --------------------------------------------------------------------------------

PART = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@/:?#[]\\%"), min_size=1, max_size=8
)


@given(PART, PART, st.sampled_from(["host", "127.0.0.1", "[::1]"]))
def test_neither_user_nor_password_nor_query_is_shown(user: str, password: str, host: str) -> None:
    secret = f"S3{password}"
    url = f"https://U5{user}:{secret}@{host}:81/path?token={secret}#{secret}"
    assert safe_url(url) == f"https://{host}:81/path"
    assert without_credentials(f"at {url.split('?')[0]} it failed") == f"at https://{host}:81/path it failed"


@given(st.text(max_size=60))
def test_any_text_can_be_shown(text: str) -> None:
    safe_url(text)
    assert all(c.isprintable() or c in "\n\t" for c in printable(text))


def test_a_source_of_another_scheme_is_refused(tmp_path: Path) -> None:
    """A source is an http(s) URL or a folder; file:// and others are refused when the client is made."""
    for other in ("file:///etc/", "ftp://h/", "gopher://h/"):
        with pytest.raises(ValueError, match="expected an http"):
            CddClient(other)


def test_a_closed_port_is_an_unavailable_source() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(CddUnavailable, match="did not answer"):
        CddClient(f"http://127.0.0.1:{port}/", tries=1).fetch(SERIES)
