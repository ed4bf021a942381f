"""Secrets: each place that takes a secret gets one, and the tests look for it in all files and output."""

import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from cdd_server import CddServer, Reply
from installation import Installation
from prefect_parts import PrefectServer, prefect_home_in
from web_server import Web

SERIES = "Coinbase_BTCUSD_d"
# Each place has another secret, so that a leak shows its source. The database's needs escaping in a URL.
DATABASE = "Db@Pa/ss:w0rd%1"
CDD_TOKEN, API_TOKEN, SOURCE, WEBHOOK = "CddT0ken111", "Ap1Token222", "S0urcePass333", "Webh00kPath444"
SECRETS = (DATABASE, CDD_TOKEN, API_TOKEN, SOURCE, WEBHOOK)
# The forms of the secrets in a URL, in a header for basic authentication and in JSON.
FORMS = {
    form: secret
    for secret in SECRETS
    for form in (secret, quote(secret, safe=""), quote(secret), base64.b64encode(secret.encode()).decode().rstrip("="))
}


def leaks(text: bytes) -> list[str]:
    return [f"{secret} as {form}" for form, secret in FORMS.items() if form.encode() in text]


def written(*folders: Path) -> list[str]:
    """Every leak in every file under `folders`."""
    files_with_leaks = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                files_with_leaks += [f"{path}: {leak}" for leak in leaks(path.read_bytes())]
    return files_with_leaks


def unreachable(password: str = DATABASE) -> str:
    return f"postgresql+psycopg://me:{quote(password, safe='')}@127.0.0.1:1/x"


COMMANDS = [
    ("ingest",),
    ("daily",),
    ("train", SERIES),
    ("backfill", SERIES, "--start", "2019-01-01", "--end", "2019-01-02"),
    ("forecasts", "--json"),
    ("candles", SERIES, "--json"),
    ("skill", "--json"),
    ("models", "--json"),
    ("series", "--json"),
    ("findings", "--json"),
    ("promote", "1"),
    ("rollback", SERIES),
    ("replay", "1"),
    ("backup", "copy.db"),
    ("restore", "copy.db"),
    ("copy", "--to", unreachable()),
    # This command asks TensorFlow for its devices.
    pytest.param(("doctor", "--json"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_that_fails_shows_no_secret(empty, command):
    done = empty.run(
        *command,
        CANDLECAST_DATABASE_URL=unreachable(),
        CANDLECAST_SOURCE=f"http://me:{SOURCE}@127.0.0.1:1/cdd/?key={SOURCE}",
        CANDLECAST_CDD_TOKEN=CDD_TOKEN,
        CANDLECAST_API_TOKEN=API_TOKEN,
        PREFECT_API_URL=f"http://me:{SOURCE}@127.0.0.1:1/api",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert leaks((done.stdout + done.stderr).encode()) == []
    assert "Traceback" not in done.stderr
    assert written(empty.folder) == []


URLS = [
    f"postgresql+psycopg://me:{DATABASE}@127.0.0.1:1/x",  # not escaped
    f"postgresql://me:{quote(DATABASE, safe='')}@127.0.0.1:port/x",
    f"postgresql://me:{quote(DATABASE, safe='')}@nowhere.invalid/x",
    f"postgresql://127.0.0.1:1/x?user=me&password={quote(DATABASE, safe='')}",
    f"postgresql://me:{quote(DATABASE, safe='')}@127.0.0.1:1/x?nonsense=1",
    f"postgresql://me:{quote(DATABASE, safe='')}@127.0.0.1:1/x?connect_timeout={quote(DATABASE, safe='')}",
    f"postgresql://me:{quote(DATABASE, safe='')}@[::1/x",
    f"postgres://me:{quote(DATABASE, safe='')}@127.0.0.1/x",
    f"mysql://me:{quote(DATABASE, safe='')}@127.0.0.1/x",
    f"me:{quote(DATABASE, safe='')}@127.0.0.1/x",
    f"sqlite:///none.db?key={quote(DATABASE, safe='')}",
    f"sqlite:///none.db?timeout={quote(DATABASE, safe='')}",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "command", ["series", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ingest", "backup"))]
)
def test_a_database_url_that_is_wrong_in_any_way_is_not_repeated(empty, url, command):
    words = (command, "copy.db") if command == "backup" else (command,)
    done = empty.run(*words, CANDLECAST_DATABASE_URL=url)
    if "sqlite" in url and "timeout" not in url and command == "ingest":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
    output = done.stdout + done.stderr
    assert leaks(output.encode()) == []
    # Not even a part of the secret is shown.
    assert not [piece for piece in ("Pa/ss", "w0rd", "Db@") if piece in output]
    assert written(empty.folder) == []


@pytest.mark.parametrize("url", [unreachable(), *URLS])
def test_the_url_of_a_copy_is_not_repeated_when_it_cannot_be_used(daily_done, url):
    done = daily_done.run("copy", "--to", url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    output = done.stdout + done.stderr
    assert leaks(output.encode()) == []
    assert not [piece for piece in ("Pa/ss", "w0rd", "Db@") if piece in output]


def test_a_webhook_is_not_repeated_when_it_is_refused(empty):
    for url in (f"hooks.example/{WEBHOOK}", f"ftp://hooks.example/{WEBHOOK}", f"https://[::1/{WEBHOOK}"):
        done = empty.run("setup", "--notify", url, PREFECT_API_URL="http://127.0.0.1:1/api")
        assert done.returncode == 2
        assert leaks((done.stdout + done.stderr).encode()) == []


def test_a_prefect_server_that_refuses_the_setup_is_shown_without_its_password(empty):
    with CddServer() as server:
        server.answer = lambda _: Reply(401, b'{"detail": "who are you?"}', {"Content-Type": "application/json"})
        address = f"http://me:{SOURCE}@127.0.0.1:{server.port}/api"
        done = empty.run("setup", "--notify", f"https://hooks.example/{WEBHOOK}", PREFECT_API_URL=address)
    assert done.returncode == 1, done.stderr
    assert "did not take the setup" in done.stderr
    assert leaks((done.stdout + done.stderr).encode()) == []


def test_the_listing_shows_neither_token_nor_password(empty):
    with CddServer() as server:
        for status in (302, 401, 403, 404, 500):
            server.faults = [Reply(status, headers={"Location": f"http://127.0.0.1:{server.port}/?t={CDD_TOKEN}"})]
            done = empty.run(
                "series", "--available", "Bitstamp", "--json",
                CANDLECAST_CDD_API=f"http://me:{SOURCE}@127.0.0.1:{server.port}/v1/?key={SOURCE}",
                CANDLECAST_CDD_TOKEN=CDD_TOKEN,
            )  # fmt: skip
            assert done.returncode == 1
            assert leaks((done.stdout + done.stderr).encode()) == []


def test_the_web_server_shows_no_secret_when_its_database_is_away(empty):
    with Web(empty, CANDLECAST_DATABASE_URL=unreachable(), CANDLECAST_API_TOKEN=API_TOKEN) as web:
        for path in ("/healthz", "/api/v1/series", "/metrics", "/openapi.json", "/", "/docs", "/page/page.js"):
            for token in ("wrong", API_TOKEN):
                answer = web.get(path, headers={"Authorization": f"Bearer {token}"})
                assert leaks(answer.content + str(answer.headers).encode()) == [], path


def with_everything(postgresql_url: str, source: CddServer) -> dict[str, str]:
    """Settings that hold every secret and work: the tests' PostgreSQL accepts any password from loopback."""
    return {
        "CANDLECAST_DATABASE_URL": postgresql_url.replace("candlecast@", f"candlecast:{quote(DATABASE, safe='')}@"),
        "CANDLECAST_SOURCE": f"http://me:{SOURCE}@127.0.0.1:{source.port}/cdd/",
        "CANDLECAST_CDD_TOKEN": CDD_TOKEN,
        "CANDLECAST_API_TOKEN": API_TOKEN,
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "sqlalchemy,urllib3,alembic,storage,tasks,flows",
    }


@pytest.mark.slow
def test_a_day_leaves_no_secret_in_any_log_table_artifact_or_run_record(
    tmp_path, postgresql, postgresql_url, sample_csv
):
    """A whole day, then two that fail in different places, all at the most detailed log level."""
    installation = Installation(tmp_path / "installation", prefect_home_in(tmp_path / "prefect"))
    installation.folder.mkdir()
    output = b""
    with CddServer() as source:
        source.put(SERIES, sample_csv.read_bytes())
        settings = with_everything(postgresql_url, source)
        done = installation.run("daily", **settings)
        assert done.returncode == 0, done.stderr[-3000:]
        assert (
            source.requests[0].headers["Authorization"] == "Basic " + base64.b64encode(f"me:{SOURCE}".encode()).decode()
        )
        output += (done.stdout + done.stderr).encode()
        source.faults = [Reply(302, headers={"Location": f"http://elsewhere.invalid/{SERIES}.csv"})]
        failed = installation.run("daily", **settings)
        assert failed.returncode == 1
        output += (failed.stdout + failed.stderr).encode()
    # Inside the flow, which the checks of the command line do not protect.
    code = "from flows.daily import daily; daily()"
    environment = installation.environment(**settings | {"CANDLECAST_DATABASE_URL": unreachable()})
    crashed = subprocess.run(
        [sys.executable, "-c", code], cwd=installation.folder, env=environment, capture_output=True, check=False
    )
    assert crashed.returncode == 1
    output += crashed.stdout + crashed.stderr
    assert b"DatabaseUnusable" in output
    assert leaks(output) == []
    assert written(installation.folder, tmp_path / "prefect") == []
    # These are all the places; they include Prefect's database with its logs, artifacts and parameters of runs.
    with sqlite3.connect(tmp_path / "prefect" / "prefect.db") as conn:
        counts = {
            table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("flow_run", "task_run", "flow_run_state", "log", "artifact")
        }
    conn.close()
    assert counts["flow_run"] >= 3
    assert min(counts.values()) > 0, counts
    dumped = subprocess.run(
        [shutil.which("pg_dump") or str(sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))[-1]),
         "--data-only", "--inserts", postgresql_url.replace("+psycopg", "")],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert SERIES.encode() in dumped
    assert leaks(dumped) == []


@pytest.mark.slow
def test_a_webhook_is_stored_encrypted_and_shown_nowhere(tmp_path):
    home = prefect_home_in(tmp_path / "prefect")
    installation = Installation(tmp_path / "installation", home)
    installation.folder.mkdir()
    with PrefectServer(home) as server:
        done = installation.run(
            "setup", "--notify", f"https://hooks.example/{WEBHOOK}", "--json", PREFECT_API_URL=server.url
        )
        assert done.returncode == 0, done.stderr[-3000:]
        output = done.stdout + done.stderr
        output += server.prefect("block", "inspect", "webhook/candlecast-notify")
        output += server.prefect("automation", "ls")
        output += server.prefect("automation", "inspect", "candlecast: tell of failed runs")
    assert leaks(output.encode()) == []
    assert written(installation.folder, home) == []


@pytest.mark.slow
def test_serve_with_every_secret_shows_none(tmp_path, sample_csv):
    home = prefect_home_in(tmp_path / "prefect")
    installation = Installation(tmp_path / "installation", home)
    installation.folder.mkdir()
    from prefect_parts import free_port

    port = free_port()
    command = [str(Path(sys.executable).parent / "candlecast"), "serve", "--port", str(port),
               "--notify", f"https://hooks.example/{WEBHOOK}"]  # fmt: skip
    environment = installation.environment(
        CANDLECAST_DATABASE_URL=unreachable(), CANDLECAST_API_TOKEN=API_TOKEN, PREFECT_LOGGING_LEVEL="DEBUG"
    )
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=installation.folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 150
        while b"Prefect's pages are at" not in log.read_bytes():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        time.sleep(5)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    assert written(installation.folder, home) == []
    assert leaks(log.read_bytes()) == []
