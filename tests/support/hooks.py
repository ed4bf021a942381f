"""A local server that receives webhooks, as a chat service does."""

import http.server
import json
import threading
import time


class WebhookReceiver:
    """Keeps the `text` of every JSON object that is posted to it."""

    def __init__(self) -> None:
        received: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append(json.loads(body)["text"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._received = received
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def texts(self, *, wait_s: float) -> list[str]:
        """Return the texts received so far; waits up to `wait_s` for a first one."""
        deadline = time.monotonic() + wait_s
        while not self._received and time.monotonic() < deadline:
            time.sleep(0.2)
        return list(self._received)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
