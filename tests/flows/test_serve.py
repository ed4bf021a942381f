"""`candlecast serve`: one command is a server with the schedule on it, and it stops cleanly."""

import http.server
import json
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from prefect_parts import BIN, environment, free_port

pytestmark = pytest.mark.slow


class _Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_serve_starts_a_server_with_the_daily_schedule_and_stops_on_a_signal(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    log = tmp_path / "serve.log"
    env = environment(tmp_path / "home") | {"CANDLECAST_DATABASE_URL": f"sqlite:///{tmp_path / 'candlecast.db'}"}
    with log.open("wb") as out:
        served = subprocess.Popen(
            [str(BIN / "candlecast"), "serve", "--port", str(port)], cwd=tmp_path, env=env, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and "daily from 00:05 UTC" not in log.read_text():
            time.sleep(1)
            assert served.poll() is None, log.read_text()[-3000:]
        deployments = _deployments(url)
        assert [deployment["name"] for deployment in deployments] == ["scheduled"], log.read_text()[-3000:]
        (schedule,) = deployments[0]["schedules"]  # type: ignore[misc]
        assert schedule["schedule"]["cron"] == "5 0 * * *"
        assert deployments[0]["parameters"] == {"wait": True}
        assert schedule["schedule"]["timezone"] == "UTC"
        assert f"http://127.0.0.1:{port}" in log.read_text()
        # Prefect's own default is port 4200 of the browser's machine, whatever port the pages are on.
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ui-settings", timeout=5) as answer:
            assert json.load(answer)["api_url"] == "/api"
    finally:
        served.send_signal(signal.SIGINT)
        code = served.wait(60)
    assert code in (0, 130, -signal.SIGINT), log.read_text()[-3000:]
    assert "Traceback" not in log.read_text()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{url}/health", timeout=2)


def _deployments(url: str) -> list[dict[str, object]]:
    request = urllib.request.Request(
        f"{url}/deployments/filter", b"{}", {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            rows: list[dict[str, object]] = json.load(answer)
            return rows
    except OSError:
        return []


def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Healthy) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        done = subprocess.run(
            [str(BIN / "candlecast"), "serve", "--port", str(other.server_address[1])],
            cwd=tmp_path, env=environment(tmp_path / "home"), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        other.shutdown()
    assert done.returncode == 1
    assert "choose another --port" in done.stderr
