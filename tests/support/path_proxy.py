"""A reverse proxy that serves another server below a path, and may ask for a login first."""

import http.client
import http.server
import threading
from urllib.parse import urlsplit

PREFIX = "/markets/"
LOGIN = b"<!doctype html><title>Login</title><form>Please sign in</form>"


class PathProxy:
    """Serves `upstream` below /markets/; while `locked`, every question for data gets a login page with status 200."""

    def __init__(self, upstream: str) -> None:
        self.locked = False
        proxy, host = self, urlsplit(upstream).netloc

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self.path.startswith(PREFIX):
                    self._answer(404, "text/plain", b"nothing is served outside the path")
                elif proxy.locked and "/api/" in self.path:
                    self._answer(200, "text/html", LOGIN)
                else:
                    conn = http.client.HTTPConnection(host, timeout=20)
                    conn.request("GET", "/" + self.path.removeprefix(PREFIX))
                    answer = conn.getresponse()
                    body = answer.read()
                    policy = answer.headers.get("Content-Security-Policy", "")
                    self._answer(answer.status, answer.headers["Content-Type"], body, policy)
                    conn.close()

            def _answer(self, status: int, media: str, body: bytes, policy: str = "") -> None:
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(body)))
                if policy:
                    self.send_header("Content-Security-Policy", policy)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{PREFIX}"

    def __enter__(self) -> "PathProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
