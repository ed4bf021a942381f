"""docs/operating.md, "Several machines": every line of it is run, against a real PostgreSQL, server and workers."""

import contextlib
import os
import pty
import re
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psycopg
import pytest
from hooks import WebhookReceiver
from prefect_parts import BIN, ROOT, environment, free_port, stop

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "operating.md").read_text()


def sections() -> list[list[str]]:
    """Return the commands of the section's code blocks, block by block."""
    section = PAGE.split("## Several machines", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [[line for line in block.splitlines() if line.strip()] for block in blocks]


class Shell:
    """A person at a terminal: `export` lasts for later commands, servers and workers run in the background."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        self.folder, self.replaced = folder, replaced
        self.env = environment(folder / "home")
        self.background: list[subprocess.Popen[bytes]] = []
        self.ran: list[str] = []

    def run(self, line: str) -> str:
        self.ran.append(line)
        for written, meant in self.replaced.items():
            line = line.replace(written, meant)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.env[name] = value
            return ""
        command = shlex.split(line)
        command[0] = str(BIN / command[0])
        if command[1:3] in (["server", "start"], ["worker", "start"]):
            with self.log(line).open("ab") as log:
                self.background.append(self.start(command, log))
            return ""
        if "deploy" in command:
            return self.at_a_terminal(command)
        done = subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{self.logs()}"
        return done.stdout + done.stderr

    def at_a_terminal(self, command: list[str]) -> str:
        """Run what may ask a person something; nobody answers."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(command, env=self.env, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        output = b""
        # Reading fails once no process has the other end open.
        with contextlib.suppress(OSError):
            while select.select([ours], [], [], 60)[0]:
                output += os.read(ours, 65536)
        # A command that still waits for an answer ends now.
        os.close(ours)
        assert process.wait(60) == 0, output.decode()[-3000:]
        return output.decode()

    def start(self, command: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command, env=self.env, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def log(self, line: str) -> Path:
        return self.folder / ("_".join(re.findall(r"\w+", line)) + ".log")

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2500:]}" for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for process in reversed(self.background):
            stop(process)


@pytest.fixture
def two_databases(postgresql: str) -> Iterator[str]:
    """PostgreSQL's host and port, with an empty database for candlecast and one for Prefect."""
    address = postgresql.rsplit("@", 1)[1]
    admin = f"postgresql://candlecast@{address}/postgres"
    names = ("candlecast", "prefect")
    with psycopg.connect(admin, autocommit=True) as conn:
        for name in names:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            conn.execute(f'CREATE DATABASE "{name}"')
    yield address
    with psycopg.connect(admin, autocommit=True) as conn:
        for name in names:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def test_every_line_of_the_walk_through_does_what_the_page_says(tmp_path: Path, two_databases: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "Bitstamp_BTCUSD_d.csv").write_bytes((ROOT / "sample" / "Coinbase_BTCUSD_d.csv").read_bytes())
    port = free_port()
    receiver = WebhookReceiver()
    shell = Shell(
        tmp_path,
        {
            "candlecast@SERVER/": f"candlecast@{two_databases}/",
            "http://SERVER:4200": f"http://127.0.0.1:{port}",
            "--host 0.0.0.0": "--host 127.0.0.1",
            "https://chat.example/hooks/candlecast": receiver.url,
        },
    )
    shell.env |= {
        "PREFECT_SERVER_API_PORT": str(port),
        "CANDLECAST_SOURCE": str(source),
        "CANDLECAST_SERIES": "Bitstamp_BTCUSD_d",
        "CANDLECAST_MODEL": "lstm",
        # Shorter than the default, so that the page's backfill finds something missing.
        "CANDLECAST_SKILL_DAYS": "365",
        "CANDLECAST_REPORTS": str(tmp_path / "reports"),
    }
    server, exports, setting_up, workers, first_day, backfills = sections()
    try:
        for line in [*server, *exports]:
            shell.run(line)
        _until_healthy(port, shell)
        setup, deploy, listed = setting_up
        output = shell.run(setup)
        assert "crash runs whose process is gone" in output
        assert "default/backfill" in output
        shell.run(deploy)
        for name in ("daily/scheduled", "retrain/gpu", "backfill/on-demand", "verify/nightly"):
            assert name in shell.run(listed)
        # Both may be repeated.
        assert "was there" in shell.run(setup)
        shell.run(deploy)
        for line in workers:
            shell.run(line)
        day, forecasts = first_day
        shell.run(day)
        assert "2019-10-17" in shell.run(forecasts)
        plan, start, ls, cancel, again, logs, skill = backfills
        shell.replaced["RUN"] = "none yet"
        output = shell.run(plan)
        assert "2018-Q3" in output
        assert "forecasts in 8 partitions" in output
        # The networks are trained in seconds, so the run may be over before its worker learns that it is cancelled.
        with psycopg.connect(f"postgresql://candlecast@{two_databases}/candlecast") as holder:
            holder.execute("LOCK TABLE forecast_values IN EXCLUSIVE MODE")
            shell.run(start)
            run = _backfill_at_work(shell, holder)
            shell.replaced["RUN"] = run
            assert run.split("-")[0] in shell.run(ls).replace("…", "")
            shell.run(cancel)
            _until_state(shell, run, "CANCELLED")
        with psycopg.connect(f"postgresql://candlecast@{two_databases}/candlecast") as conn:
            after_cancel = _backfilled(conn, "lstm")
            assert after_cancel < 365
            shell.run(again)
            assert _backfilled(conn, "lstm") == 365
            assert _backfilled(conn, "naive") >= 365
        resumed = _newest_backfill(shell)
        shell.replaced["RUN"] = resumed
        assert f"lstm: {365 - after_cancel} of 365 origins stored now" in shell.run(logs)
        assert "coverage80" in shell.run(skill)
        assert shell.run(plan).endswith("nothing is missing\n")
        # The sample's data are years old, and the day reported that to the webhook.
        assert any(
            "no candle is stored after the close of Wed 2019-10-16" in text for text in receiver.texts(wait_s=30)
        ), shell.logs()
    finally:
        shell.stop()
        receiver.close()
    assert shell.ran[: len(server)] == server
    assert {line for block in sections() for line in block} == set(shell.ran)


def _until_healthy(port: int, shell: Shell) -> None:
    from urllib.request import urlopen

    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(shell.logs())


def _prefect(shell: Shell, *arguments: str) -> str:
    return subprocess.run(
        [str(BIN / "prefect"), *arguments], env=shell.env, capture_output=True, text=True, timeout=120, check=True
    ).stdout


def _newest_backfill(shell: Shell) -> str:
    import json

    runs = json.loads(_prefect(shell, "flow-run", "ls", "--flow-name", "backfill", "-o", "json"))
    return str(max(runs, key=lambda run: run["created"])["id"])


def _state(shell: Shell, run: str) -> str:
    import json

    return str(json.loads(_prefect(shell, "flow-run", "inspect", run, "-o", "json"))["state"]["type"])


def _backfill_at_work(shell: Shell, holder: "psycopg.Connection[tuple[int]]") -> str:
    """Return the id of the backfill once it waits for the lock that `holder` has."""
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'forecast_values'::regclass AND NOT granted"
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        row = holder.execute(waiting).fetchone()
        assert row is not None
        if row[0]:
            return _newest_backfill(shell)
        time.sleep(0.5)
    raise AssertionError(shell.logs())


def _until_state(shell: Shell, run: str, state: str) -> None:
    deadline = time.monotonic() + 120
    while (current := _state(shell, run)) != state:
        assert time.monotonic() < deadline, (current, shell.logs())
        time.sleep(1)


def _backfilled(conn: "psycopg.Connection[tuple[int]]", model: str) -> int:
    query = (
        "SELECT count(*) FROM forecasts WHERE kind = 'backfill' AND model = %s "
        "AND origin >= '2018-01-01' AND origin < '2019-01-01'"
    )
    row = conn.execute(query, [model]).fetchone()
    conn.commit()
    assert row is not None
    return row[0]
