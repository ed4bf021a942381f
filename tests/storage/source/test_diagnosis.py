"""A source that sends no file: real servers give each reason, and the message says how to fix it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cdd_server import CddServer, Reply
from certificates import self_signed

from models.candles import SeriesName
from storage.errors import CddDenied, CddRefused, CddUnavailable
from storage.source.client import CddClient

SERIES = SeriesName.parse("Bitstamp_BTCUSD_d")
CSV = b"unix,date,open,high,low,close\n1577923200,2020-01-02,7200,7210,6900,6950\n"
HTML = {"Content-Type": "text/html"}
LOGIN = b"<!DOCTYPE html><html><head><title>Sign in</title></head><form><input name=p type='password'></form></html>"
CHALLENGE = (
    b"<html><head><title>Just a moment...</title></head><body>Enable JavaScript and cookies to continue"
    b"<script src='/cdn-cgi/challenge-platform/x.js'></script></body></html>"
)


@pytest.fixture
def server() -> Iterator[CddServer]:
    with CddServer() as server:
        server.put(str(SERIES), CSV)
        yield server


def refusal(server: CddServer, reply: Reply) -> CddUnavailable:
    """Return the error that the client raises for `reply` after one request."""
    server.faults = [reply] * 2
    with pytest.raises(CddUnavailable) as caught:
        CddClient(server.url, sleep=lambda _: None).fetch(SERIES)
    assert len(server.requests) == 1
    return caught.value


def test_a_source_that_refuses_this_client_names_the_setting_to_change(server: CddServer) -> None:
    error = refusal(server, Reply(403, b"<html><h1>Forbidden</h1></html>", HTML))
    assert isinstance(error, CddDenied)
    assert "the source refuses this client (HTTP 403)" in str(error)
    assert "set CANDLECAST_USER_AGENT" in str(error)
    server.answer = lambda request: None if request.headers["User-Agent"] == "Mozilla/5.0 (me)" else Reply(403)
    server.faults = []
    with closing(CddClient(server.url, user_agent="Mozilla/5.0 (me)").fetch(SERIES)) as fetched:
        assert fetched.size == len(CSV)


def test_the_message_for_a_source_with_a_password_says_where_to_write_it(server: CddServer) -> None:
    error = refusal(server, Reply(401, b"", {"WWW-Authenticate": 'Basic realm="files"'}))
    assert isinstance(error, CddDenied)
    assert "write user and password into CANDLECAST_SOURCE as https://USER:PASSWORD@host/" in str(error)


def test_a_proxy_that_wants_a_password_is_named_as_the_proxy(server: CddServer) -> None:
    assert "the proxy requires a login" in str(refusal(server, Reply(407)))


@pytest.mark.parametrize("status", [200, 401, 403, 503])
def test_a_login_page_is_recognised_with_any_status(server: CddServer, status: int) -> None:
    error = refusal(server, Reply(status, LOGIN, HTML))
    assert isinstance(error, CddDenied)
    assert f"a login page came instead of the file (HTTP {status})" in str(error)


@pytest.mark.parametrize("status", [200, 403, 429, 503])
@pytest.mark.parametrize(
    "page",
    [CHALLENGE, b"\xef\xbb\xbf\n <HTML><body><div class='g-recaptcha'></div></body></html>"],
    ids=["check of the browser", "captcha"],
)
def test_a_challenge_page_is_recognised_with_any_status(server: CddServer, status: int, page: bytes) -> None:
    error = refusal(server, Reply(status, page, HTML))
    assert isinstance(error, CddDenied)
    assert f"a challenge page for browsers came instead of the file (HTTP {status})" in str(error)


def test_a_csv_file_with_words_of_a_login_page_is_read(server: CddServer) -> None:
    server.faults = [Reply(200, b"# captcha, type=password\n" + CSV)]
    with closing(CddClient(server.url).fetch(SERIES)) as fetched:
        assert fetched.body is not None
        assert fetched.body.read().endswith(CSV)


def test_after_a_busy_servers_error_page_the_request_is_repeated(server: CddServer) -> None:
    server.faults = [Reply(503, b"<html><h1>Service Unavailable</h1></html>", HTML)]
    with closing(CddClient(server.url, sleep=lambda _: None).fetch(SERIES)) as fetched:
        assert fetched.size == len(CSV)


@contextmanager
def closing_in_handshake(handshakes: list[bytes]) -> Iterator[int]:
    """Accept connections, read the beginning of the TLS handshake and close; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    handshakes.append(connection.recv(4096))

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_a_tls_handshake_that_breaks_off_is_repeated_as_a_broken_connection() -> None:
    handshakes: list[bytes] = []
    with closing_in_handshake(handshakes) as port, pytest.raises(CddUnavailable) as caught:
        CddClient(f"https://127.0.0.1:{port}/", sleep=lambda _: None).fetch(SERIES)
    assert len(handshakes) == 2
    assert "certificate" not in str(caught.value)


def test_https_to_a_server_without_tls_does_not_blame_certificates(server: CddServer) -> None:
    with pytest.raises(CddUnavailable, match="did not answer"):
        CddClient(server.url.replace("http://", "https://"), tries=1).fetch(SERIES)


def test_an_untrusted_chain_names_the_setting_and_how_to_use_it(server: CddServer, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, days=2)
    url = server.use_tls(certificate, key)
    with pytest.raises(CddRefused, match="certificate is not trusted.*self-signed") as caught:
        CddClient(url).fetch(SERIES)
    assert "save its CA certificates as one PEM file and set CANDLECAST_CA_BUNDLE to that file's path" in str(
        caught.value
    )
    with closing(CddClient(url, ca_bundle=certificate).fetch(SERIES)) as fetched:
        assert fetched.size == len(CSV)


def test_for_a_certificate_of_another_host_the_message_does_not_name_the_bundle(
    server: CddServer, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path, days=2)
    url = server.use_tls(certificate, key).replace("127.0.0.1", "localhost")
    with pytest.raises(CddRefused, match="certificate is not trusted.*Check the host's name") as caught:
        CddClient(url, ca_bundle=certificate).fetch(SERIES)
    assert "CANDLECAST_CA_BUNDLE" not in str(caught.value)


def test_an_expired_certificate_is_refused_even_if_it_is_trusted(server: CddServer, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, days=0)
    url = server.use_tls(certificate, key)
    time.sleep(1.1)
    client = CddClient(url, ca_bundle=certificate)
    with pytest.raises(CddRefused, match="certificate is not trusted.*expired.*Check this machine's clock"):
        client.fetch(SERIES)
    assert server.requests == []


@pytest.mark.parametrize("content", [None, b"hello\n"], ids=["missing", "no bundle"])
def test_a_missing_or_invalid_bundle_in_the_environment_is_named(
    server: CddServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    url = server.use_tls(*self_signed(tmp_path, days=2))
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises(CddRefused, match="missing or holds none: correct CANDLECAST_CA_BUNDLE, REQUESTS_CA_BUNDLE"):
        CddClient(url).fetch(SERIES)
