"""`candlecast serve`: one command is a server with every deployment on it, and however it ends another may follow."""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect_parts import BIN, ROOT, declared_deployments, environment, free_port, post
from processes import processes_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SERIES = "Coinbase_BTCUSD_d"
READY = "daily from 00:05 UTC"


class _Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Machine:
    """One machine: its folder, its port, and the processes that the test has started there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.log = folder / "serve.log"
        self.started: list[subprocess.Popen[bytes]] = []
        self.env = environment(folder / "home") | {
            "CANDLECAST_DATABASE_URL": f"sqlite:///{folder / 'candlecast.db'}",
            "CANDLECAST_SOURCE": str(ROOT / "sample"),
            "CANDLECAST_SERIES": SERIES,
            "CANDLECAST_MODEL": "naive",
            "CANDLECAST_WAIT_HOURS": "0",
        }

    def serve(self) -> "subprocess.Popen[bytes]":
        """Start `candlecast serve` and wait until its schedule runs."""
        ready = self.log.read_text().count(READY) if self.log.exists() else 0
        with self.log.open("ab") as out:
            served = subprocess.Popen(
                [str(BIN / "candlecast"), "serve", "--port", str(self.port)], cwd=self.folder, env=self.env, stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip
        self.started.append(served)
        self.until(lambda: served.poll() is not None or self.log.read_text().count(READY) > ready, 180)
        assert served.poll() is None, self.log.read_text()[-3000:]
        return served

    def run(self, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(BIN / "candlecast"), *command], cwd=self.folder, env=self.env | more, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip

    def post(self, path: str, **body: Any) -> Any:
        return post(f"{self.url}{path}", **body)

    def until(self, is_true: Callable[[], bool], wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while not is_true():
            assert time.monotonic() < deadline, self.log.read_text()[-5000:]
            time.sleep(0.5)

    def server(self) -> int:
        """The process of the Prefect server: the one that listens on the port."""
        here = self.processes().items()
        (pid,) = [pid for pid, command in here if f" {self.port} " in command and " serve " not in command]
        return pid

    def processes(self) -> dict[int, str]:
        return processes_of(self.folder)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    one = Machine(tmp_path)
    yield one
    for pid in one.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in one.started:
        process.wait(20)


def test_serve_offers_every_deployment_and_stops_on_a_signal(machine: Machine) -> None:
    served = machine.serve()
    # All of prefect.yaml that needs no pool, by the same names, at the same times.
    in_file = {name: one for name, one in declared_deployments().items() if name != "retrain/gpu"}
    flows = {one["id"]: one["name"] for one in machine.post("/flows/filter")}
    by_name = {f"{flows[one['flow_id']]}/{one['name']}": one for one in machine.post("/deployments/filter")}
    assert set(by_name) == set(in_file)
    for name, deployment in by_name.items():
        crons = [(one["schedule"]["cron"], one["schedule"]["timezone"]) for one in deployment["schedules"]]
        assert crons == [(one["cron"], one["timezone"]) for one in in_file[name].get("schedules", [])]
        assert deployment["parameters"] == in_file[name].get("parameters", {})
    assert f"http://127.0.0.1:{machine.port}" in machine.log.read_text()
    # Prefect's own default is port 4200 of the browser's machine, whatever port the pages are on.
    with urllib.request.urlopen(f"http://127.0.0.1:{machine.port}/ui-settings", timeout=5) as answer:
        assert json.load(answer)["api_url"] == "/api"

    # A command in another shell uses this server, instead of a second one on the same file.
    done = machine.run("daily")
    assert done.returncode == 0, done.stderr
    runs = machine.post("/flow_runs/filter", flows={"name": {"any_": ["daily"]}})
    assert [run["state_type"] for run in runs if run["deployment_id"] is None] == ["COMPLETED"]

    parameters: dict[str, dict[str, object]] = {
        "backfill/on-demand": {"series": [SERIES], "start": "2017-01-01", "end": "2017-01-31", "models": ["naive"]},
        "verify/nightly": {"count": 2},
        "study/on-demand": {"epochs": 1, "seeds": 1, "hidden_layers": 4, "quick": True},
        "daily/scheduled": {"wait": False},
    }
    begun = {
        name: machine.post(f"/deployments/{by_name[name]['id']}/create_flow_run", parameters=values)["id"]
        for name, values in parameters.items()
    }

    def states() -> dict[str, str]:
        runs = machine.post("/flow_runs/filter", flow_runs={"id": {"any_": list(begun.values())}})
        by_id = {run["id"]: run["state_type"] for run in runs}
        return {name: by_id[run] for name, run in begun.items()}

    machine.until(lambda: set(states().values()) <= {"COMPLETED", "FAILED", "CRASHED"}, 600)
    assert set(states().values()) == {"COMPLETED"}, machine.log.read_text()[-5000:]

    # Before the signal, the day that gives up its candle has failed with a traceback.
    before = len(machine.log.read_text())
    served.send_signal(signal.SIGINT)
    code = served.wait(60)
    assert code in (0, 130, -signal.SIGINT), machine.log.read_text()[-3000:]
    assert "Traceback" not in machine.log.read_text()[before:]
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{machine.url}/health", timeout=2)


@pytest.mark.parametrize("hangs", [False, True])
def test_serve_starts_again_after_kill_9_on_the_same_port(machine: Machine, hangs: bool) -> None:
    killed, left = machine.serve(), machine.server()
    if hangs:
        os.kill(left, signal.SIGSTOP)
    killed.kill()
    killed.wait(20)
    again = machine.serve()
    assert machine.server() != left
    assert not Path(f"/proc/{left}").exists()
    with urllib.request.urlopen(f"{machine.url}/health", timeout=5) as answer:
        assert answer.status == 200
    second = machine.run("serve", "--port", str(free_port()))
    assert second.returncode == 1
    assert f"another candlecast serve (process {again.pid}) uses Prefect's home" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_server_of_a_profile_is_set_up_served_and_examined(machine: Machine) -> None:
    user = machine.folder / "user"
    (user / ".prefect").mkdir(parents=True)
    (user / ".prefect" / "profiles.toml").write_text(
        f'active = "there"\n[profiles.there]\nPREFECT_API_URL = "{machine.url}"\n'
    )
    machine.serve()
    machine.env = {name: value for name, value in machine.env.items() if name != "PREFECT_HOME"} | {"HOME": str(user)}
    done = machine.run("setup", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) > 5
    (check,) = [one for one in json.loads(machine.run("doctor", "--json").stdout) if one["check"] == "prefect"]
    assert (check["ok"], check["found"]) == (True, machine.url)
    # With its schedule on that server, although the port is in use.
    machine.serve()


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
