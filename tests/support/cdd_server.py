"""A local HTTP server in place of CryptoDataDownload: files, ETag and Last-Modified, and faults on request."""

import contextlib
import hashlib
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import cast


@dataclass
class Request:
    """A request of a client."""

    path: str
    headers: dict[str, str]
    at: float


@dataclass
class Reply:
    """One answer; `cut` sends only that many bytes of the announced body, `drop` closes without an answer.

    `bytes_per_s` slows the body down, and with `slow_head` also the headers; `stream` is sent after the body, without
    a length unless `headers` have one. `raw` is sent unchanged instead of all that; then the connection is closed.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    drop: bool = False
    bytes_per_s: float | None = None
    slow_head: bool = False
    stream: Iterable[bytes] | None = None
    raw: bytes | None = None


@dataclass
class Publication:
    """A file from the instant at which the source publishes it; `dated_anew`: its date is that of each answer."""

    at: datetime
    body: bytes
    last_modified: datetime | None
    dated_anew: bool = False


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return how a server presents itself by a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class CddServer:
    """Serves `files` (path -> bytes), or the newest file published by `clock`; replies in `faults` are sent first.

    Use as a context manager.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.published: dict[str, list[Publication]] = {}
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.last_modified: str | None = None
        self.etags = True
        self.faults: list[Reply] = []
        self.requests: list[Request] = []
        self.streamed = 0
        self.answer: Callable[[Request], Reply | None] = lambda request: None
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request = Request(self.path, dict(self.headers), time.monotonic())
                owner.requests.append(request)
                self._send(owner.faults.pop(0) if owner.faults else owner.answer(request) or owner.file(request))

            def _send(self, reply: Reply) -> None:
                if reply.drop or reply.raw is not None:
                    self.wfile.write(reply.raw or b"")
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response_only(reply.status)
                if "Date" not in reply.headers:
                    self.send_header("Date", self.date_time_string())
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 304 and reply.stream is None and "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                if reply.slow_head:
                    head, self._headers_buffer = b"".join(self._headers_buffer), []
                    self._trickle(head, reply.bytes_per_s or 1)
                self.end_headers()
                body = reply.body if reply.cut is None else reply.body[: reply.cut]
                if reply.bytes_per_s is None:
                    self.wfile.write(body)
                else:
                    self._trickle(body, reply.bytes_per_s)
                for block in reply.stream or ():
                    self.wfile.write(block)
                    owner.streamed += len(block)
                if reply.cut is not None or reply.stream is not None:
                    self.close_connection = True

            def _trickle(self, data: bytes, bytes_per_s: float) -> None:
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    time.sleep(1 / bytes_per_s)

            def handle(self) -> None:
                # The client has disconnected, or a fault closed the connection.
                with contextlib.suppress(OSError, ValueError):
                    super().handle()

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/cdd/"

    def file(self, request: Request, *, at: datetime | None = None) -> Reply:
        """Return the answer to `request` with the newest file published by `at`, by default by now."""
        path = request.path.split("?")[0]
        body, last_modified = self.files.get(path), self.last_modified
        now = self.clock()
        published = [publication for publication in self.published.get(path, ()) if publication.at <= (at or now)]
        if published:
            newest = max(published, key=lambda publication: publication.at)
            body = newest.body
            dated = now if newest.dated_anew else newest.last_modified
            last_modified = None if dated is None else format_datetime(dated, usegmt=True)
        if body is None:
            return Reply(404, b"<html>not found</html>")
        headers = {"Content-Type": "text/csv"}
        if path in self.published:
            headers["Date"] = format_datetime(now, usegmt=True)
        if self.etags:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if last_modified:
            headers["Last-Modified"] = last_modified
        if request.headers.get("If-None-Match") == headers.get("ETag") and self.etags:
            return Reply(304, headers=headers)
        if request.headers.get("If-Modified-Since") and request.headers["If-Modified-Since"] == last_modified:
            return Reply(304, headers=headers)
        return Reply(200, body, headers)

    def dated(self, request: Request, at: datetime) -> Reply:
        """Return the file with `at` as its Last-Modified."""
        reply = self.file(Request(request.path, {}, request.at))
        if reply.status == 200:
            reply.headers["Last-Modified"] = format_datetime(at, usegmt=True)
        return reply

    def publish(
        self, series: str, body: bytes, at: datetime, *, last_modified: datetime | None, dated_anew: bool = False
    ) -> None:
        """Serve `body` from `at` on by `clock`, with this Last-Modified, or `dated_anew` in every answer."""
        self.published.setdefault(f"/cdd/{series}.csv", []).append(Publication(at, body, last_modified, dated_anew))

    def put(self, series: str, body: bytes) -> None:
        self.files[f"/cdd/{series}.csv"] = body

    def use_tls(
        self, certificate: Path, key: Path, *, greet: Callable[[ssl.SSLSocket], None] = lambda connection: None
    ) -> str:
        """Use TLS from now on; returns the https URL. `greet` may give a new connection another context."""
        context = tls_context(certificate, key)
        context.sni_callback = lambda connection, _name, _context: greet(cast("ssl.SSLSocket", connection))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        return self.url.replace("http://", "https://")

    def __enter__(self) -> "CddServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
