"""A local HTTP server that plays CryptoDataDownload: files, validators, and faults on request."""

import contextlib
import hashlib
import http.server
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Request:
    """What a client asked."""

    path: str
    headers: dict[str, str]
    at: float


@dataclass
class Reply:
    """One answer; `cut` sends only so many bytes of the promised body, `drop` closes without a word."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    drop: bool = False
    bytes_per_s: float | None = None


class CddServer:
    """Serves `files` (path -> bytes); replies queued in `faults` come first. Use as a context manager."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.last_modified: str | None = None
        self.etags = True
        self.faults: list[Reply] = []
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Reply | None] = lambda request: None
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request = Request(self.path, dict(self.headers), time.monotonic())
                owner.requests.append(request)
                self._send(owner.faults.pop(0) if owner.faults else owner.answer(request) or owner.file(request))

            def _send(self, reply: Reply) -> None:
                if reply.drop:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 304 and "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                body = reply.body if reply.cut is None else reply.body[: reply.cut]
                if reply.bytes_per_s is None:
                    self.wfile.write(body)
                else:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(1 / reply.bytes_per_s)
                if reply.cut is not None:
                    self.close_connection = True

            def handle(self) -> None:
                # The client went away, or we dropped it on purpose.
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

    def file(self, request: Request) -> Reply:
        body = self.files.get(request.path.split("?")[0])
        if body is None:
            return Reply(404, b"<html>not found</html>")
        headers = {"Content-Type": "text/csv"}
        if self.etags:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.last_modified:
            headers["Last-Modified"] = self.last_modified
        if request.headers.get("If-None-Match") == headers.get("ETag") and self.etags:
            return Reply(304, headers=headers)
        if request.headers.get("If-Modified-Since") and request.headers["If-Modified-Since"] == self.last_modified:
            return Reply(304, headers=headers)
        return Reply(200, body, headers)

    def put(self, series: str, body: bytes) -> None:
        self.files[f"/cdd/{series}.csv"] = body

    def __enter__(self) -> "CddServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
