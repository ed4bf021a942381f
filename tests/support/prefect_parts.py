"""Starts and stops a real Prefect server and real workers, with a separate home for each test run."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from made_once import prefect_database
from processes import kill_session

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prefect_home_in(folder: Path) -> Path:
    """Return `folder` as a home of Prefect, with an empty database if it has none."""
    if not (folder / "prefect.db").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(prefect_database(), folder)
    return folder


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a Prefect process that uses only `home`, which is made if it is not there."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "CANDLECAST_"))}
    return inherited | {
        "PREFECT_HOME": str(prefect_home_in(home)),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        **more,
    }


def declared_deployments() -> dict[str, dict[str, Any]]:
    """Return the deployments of prefect.yaml by the names that Prefect gives them."""
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return {f"{Path(one['entrypoint'].split(':')[0]).stem}/{one['name']}": one for one in declared}


def post(url: str, **body: Any) -> Any:
    """POST `body` to a Prefect server and return what it answers, decoded.

    A server that is too busy to answer, or answers 503 because its SQLite file is locked, is asked again for two
    minutes, as Prefect's own client does.
    """
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except (TimeoutError, urllib.error.HTTPError) as error:
            if getattr(error, "code", 503) != 503 or time.monotonic() > deadline:
                raise
        time.sleep(1)


class PrefectServer:
    """A server process on a free loopback port; use as a context manager."""

    def __init__(self, home: Path, *, host: str = "127.0.0.1", **more: str) -> None:
        self.port, self._host = free_port(), host
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.env = environment(home, PREFECT_API_URL=self.url, **more)
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PrefectServer":
        _forget_events_worker()
        command = [str(BIN / "prefect"), "server", "start", "--host", self._host, "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the Prefect server ended at once:\n{self._log.read_text()[-3000:]}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        raise RuntimeError(f"the Prefect server did not answer in 150 s:\n{self._log.read_text()[-3000:]}")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        _forget_events_worker()
        stop(self._process)

    def kill(self) -> None:
        """Kill -9; enter the context again to restart it at the same address."""
        assert self._process is not None
        kill_session(self._process)

    def flow_runs(self, flow: str) -> list[dict[str, Any]]:
        """Return the runs of a flow that the server knows, as its API describes them."""
        runs: list[dict[str, Any]] = post(f"{self.url}/flow_runs/filter", flows={"name": {"any_": [flow]}})
        return runs

    def prefect(self, *arguments: str, cwd: Path = ROOT) -> str:
        """Run a `prefect` command against this server and return what it printed."""
        done = subprocess.run(
            [str(BIN / "prefect"), "--no-prompt", *arguments],
            env=self.env, cwd=cwd, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def stored_artifacts(keys: Collection[str]) -> set[str]:
    """Return which of the artifacts with these keys the server of this process holds.

    It is asked for them by name: a list of all ends after 200, and other tests share the server.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=list(keys)))
    with get_client(sync_client=True) as client:
        return {artifact.key for artifact in client.read_artifacts(artifact_filter=wanted) if artifact.key}


class Worker:
    """A worker process of one pool; use as a context manager inside its server's."""

    def __init__(
        self,
        server: PrefectServer,
        pool: str,
        log: Path,
        more: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """`within` is a command that runs the worker's command, such as in another network."""
        start = [str(BIN / "prefect"), "worker", "start", "--pool", pool, "--type", "process"]
        self._command: Sequence[str] = [*within, *start]
        self._env = server.env | dict(more or {})
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Worker":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._env, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        stop(self.process)


def _forget_events_worker() -> None:
    """End the thread that sends this process's events: it goes on sending to the server of an earlier test."""
    if worker := sys.modules.get("prefect.events.worker"):
        worker.EventsWorker.drain_all(timeout=10, at_exit=False)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process and its whole session: by SIGINT, and by SIGKILL if it has not ended after 20 s."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            kill_session(process)
