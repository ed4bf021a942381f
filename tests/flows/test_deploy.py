"""docs/deploy: the systemd unit and the compose file do what they say, run as processes of this machine."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from browser import chromium
from compose_parts import DEPLOY, DOCKERFILE, FILE, Host, context, read_compose, read_env_file
from missing import skip_or_fail
from postgresql_parts import programs
from prefect_parts import BIN, ROOT, free_port

PAGE = (ROOT / "docs" / "operating.md").read_text()
UNIT = DEPLOY / "candlecast.service"
# The signals that systemd counts as a successful end, beside code 0.
CLEAN_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE}

TOKEN = "a-reader-s-token"
SETTINGS = f"""POSTGRES_PASSWORD=s3cret
CANDLECAST_API_TOKEN={TOKEN}
CANDLECAST_SERIES=Coinbase_BTCUSD_d
CANDLECAST_SOURCE=sample
CANDLECAST_MODEL=range-ewma
"""


def unit() -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            options.setdefault(name, []).append(value)
    return options


def test_systemd_accepts_the_unit_without_a_warning(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        skip_or_fail("systemd's systemd-analyze is not installed")
    assert verify is not None
    # systemd-analyze also looks for the program, which is not in /opt here.
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/candlecast/.venv/bin", str(BIN)))
    for text, complaint in ((copy.read_text(), ""), (copy.read_text().replace("Nice=", "Nize="), "Nize")):
        copy.write_text(text)
        done = subprocess.run([verify, "verify", copy], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert (complaint in done.stderr) if complaint else done.stderr == ""


def _as_systemd_confines(state: Path) -> list[str]:
    """Return a command that runs another as with ProtectSystem=strict, without capabilities or ways to gain any."""
    readonly = 'mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
    own_mounts = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    command = [*own_mounts, "sh", "-c", readonly, str(state), "setpriv", "--no-new-privs", "--bounding-set=-all"]
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine lends no mount namespace: {done.stderr.strip()}")
    return command


@pytest.mark.slow
def test_the_unit_serves_where_only_its_state_may_be_written_and_ends_in_time(tmp_path: Path) -> None:
    declared = unit()
    state, port = tmp_path / "state", free_port()
    (state / "tmp").mkdir(parents=True)
    (folder,) = declared["WorkingDirectory"]
    assert folder == f"/var/lib/{declared['StateDirectory'][0]}"

    def here(text: str) -> str:
        return text.replace(folder, str(state)).replace("/opt/candlecast/.venv/bin", str(BIN))

    # systemd passes no other variables on; the temporary folder is that of PrivateTmp.
    environment = dict(here(line).split("=", 1) for line in declared["Environment"])
    environment |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(state), "TMPDIR": str(state / "tmp")}
    (start,), (nice,) = declared["ExecStart"], declared["Nice"]
    command = [*_as_systemd_confines(state), "nice", "-n", nice, *shlex.split(here(start))]
    log = tmp_path / "log"
    with log.open("wb") as out:
        served = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, cwd=state, stdout=out, stderr=out, start_new_session=True
        )
    group = [psutil.Process(served.pid)]
    try:
        _until("daily from 00:05 UTC", log, served)
        group += group[0].children(recursive=True)
        assert _pages(port) == "/api"
        # If this .venv has served before, it holds a copy of the pages; a new .venv cannot make one here.
        assert (state / "pages" / "v2").is_dir()
        # By then Prefect's runner is at work and asks the server, which gets the same signal.
        time.sleep(4)
    finally:
        for process in reversed(group):
            # KillMode has its default, so the signal goes to every process of the unit.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(getattr(signal, declared["KillSignal"][0]))
        code = served.wait(float(declared["TimeoutStopSec"][0]))
    good = {0, *(-number for number in CLEAN_SIGNALS), *map(int, declared["SuccessExitStatus"][0].split())}
    assert code in good, log.read_text()
    assert psutil.wait_procs(group, timeout=5)[1] == []
    assert "Traceback" not in log.read_text()
    assert "ERROR" not in log.read_text()


def _until(text: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 180
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        assert process.poll() is None, log.read_text()
        time.sleep(0.5)


def _get(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return str(answer.read().decode())


def _pages(port: int) -> str:
    """Return the URL from which Prefect's pages, which must be there, load their data."""
    assert "<html" in _get(f"http://127.0.0.1:{port}/", Accept="text/html").lower()
    return str(json.loads(_get(f"http://127.0.0.1:{port}/ui-settings"))["api_url"])


def test_the_image_has_all_files_of_git_and_no_private_ones(tmp_path: Path) -> None:
    own = [
        *(".env", ".git/config", ".venv/bin/python", ".prefect/prefect.db", ".mypy_cache/x", "reports/study/x.png"),
        *("candlecast.db", "candlecast.db-wal", "storage/__pycache__/tables.pyc", "candlecast.egg-info/PKG-INFO"),
    ]
    needed = [
        *("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "prefect.yaml", "flows/daily.py"),
        *("sample/Coinbase_BTCUSD_d.csv", "candlecast/page/index.html", "storage/database/migrations/env.py"),
    ]
    for name in (*own, *needed):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    copied = context(tmp_path)
    assert copied & set(own) == set()
    assert copied >= set(needed)
    assert all((ROOT / name).exists() for name in needed)


def test_a_new_volume_belongs_to_the_user_of_the_image(tmp_path: Path) -> None:
    (folders,) = re.findall(r"mkdir (.+?) && chown -R candlecast \.$", DOCKERFILE, re.MULTILINE)
    (workdir,) = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)
    (tmp_path / ".env").write_text(SETTINGS)
    ours = [
        service for service in read_compose(tmp_path / ".env")["services"].values() if service["image"] == "candlecast"
    ]
    mounted = {volume.split(":")[1] for service in ours for volume in service.get("volumes", [])}
    assert mounted == {str(Path(workdir) / name) for name in folders.split()}


def test_docker_compose_reads_the_file_as_this_suite_does(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker's client with its compose plugin is not installed; CI has no containers")
    for name in context():
        if name.startswith("docs/deploy/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".env").write_text(SETTINGS)
    done = subprocess.run(
        [docker, "compose", "--env-file", ".env", "-f", FILE.relative_to(ROOT), "config", "--format", "json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={k: v for k, v in os.environ.items() if k not in read_env_file(tmp_path / ".env")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout)["services"], read_compose(tmp_path / ".env")["services"]
    assert set(theirs) == set(ours)
    for name, service in ours.items():
        for key in ("environment", "command", "image"):
            assert theirs[name].get(key) == service.get(key), (name, key)


@pytest.fixture
def host(tmp_path: Path, postgresql: str) -> Iterator[Host]:
    """The image's files, `.env` and an empty database as the official image makes one."""
    image = tmp_path / "image"
    for name in sorted(context()):
        if (ROOT / name).is_file():
            (image / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, image / name)
    env_file = tmp_path / ".env"
    env_file.write_text(SETTINGS)
    prefect, web, database = free_port(), free_port(), postgresql.rsplit(":", 1)[1]
    started = Host(
        tmp_path, image, env_file,
        places={
            "server:4200": f"127.0.0.1:{prefect}",
            "127.0.0.1:4200": f"127.0.0.1:{prefect}",
            "@database/": f"@127.0.0.1:{database}/",
            # Nothing but this machine should reach a Prefect server without a login.
            "0.0.0.0": "127.0.0.1",
        },
        more={
            # The container's socket and programs.
            "database": {"PGHOST": "127.0.0.1", "PGPORT": database, "PATH": str(programs())},
            "server": {"PREFECT_SERVER_API_PORT": str(prefect)},
        },
    )  # fmt: skip
    started.services["web"]["command"] += ["--port", str(web)]
    wanted = started.services["database"]
    (script,) = wanted["configs"]
    assert re.fullmatch(r"/docker-entrypoint-initdb\.d/\w+\.sql", script["target"])
    admin = f"postgresql://{wanted['environment']['POSTGRES_USER']}@127.0.0.1:{database}/postgres"
    with psycopg.connect(admin, autocommit=True) as conn:
        drop = "DROP DATABASE IF EXISTS candlecast WITH (FORCE)", "DROP DATABASE IF EXISTS prefect WITH (FORCE)"
        for command in (*drop, f'CREATE DATABASE "{wanted["environment"]["POSTGRES_DB"]}"'):
            conn.execute(command)
        conn.execute(started.configs[script["source"]]["content"])
    yield started
    started.down()
    with psycopg.connect(admin, autocommit=True) as conn:
        for command in drop:
            conn.execute(command)


def _beside(page: str) -> list[tuple[str, list[str]]]:
    """Return the service and command of each `docker compose exec` on the page."""
    commands = re.findall(r"^docker compose exec (\w+) ([^>\n]+)", page, re.MULTILINE)
    return [(name, shlex.split(command)) for name, command in commands]


@pytest.mark.slow
def test_the_services_of_the_compose_file_run_a_day_and_show_it_to_clients_with_the_token(host: Host) -> None:
    host.up()
    prefect = int(host.more["server"]["PREFECT_SERVER_API_PORT"])
    web = f"http://127.0.0.1:{host.services['web']['command'][-1]}"
    assert _pages(prefect) == "/api"
    assert (host.folder / "server" / "pages" / "v2").is_dir(), "the image's user cannot write into pip's folder"
    outputs = []
    for service, command in _beside(PAGE):
        done = host.run(service, command, 200)
        assert done.returncode == 0, (command, done.stdout, done.stderr, host.logs())
        outputs.append(done.stdout)
    day, forecasts, dump = outputs
    assert "Coinbase_BTCUSD_d: close forecast by range-ewma" in day
    assert "2019-10-17" in forecasts
    assert "COPY public.forecasts" in dump
    assert list(host.image.glob("reports/Coinbase_BTCUSD_d/*.png"))
    assert "<html" in _get(web)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _get(f"{web}/api/v1/forecasts/latest")
    rows = json.loads(_get(f"{web}/api/v1/forecasts/latest", Authorization=f"Bearer {TOKEN}"))["rows"]
    assert [row["step"] for row in rows] == list(range(1, 8))
    with chromium() as browser:
        page = browser.new_page()
        # The request uses a name of this host that the server does not know.
        page.goto(f"http://localhost:{prefect}/deployments")
        page.get_by_text("scheduled").first.wait_for(timeout=30_000)
    codes = host.down()
    assert set(codes.values()) <= {0, -signal.SIGTERM}, (codes, host.logs())
    assert codes["setup"] == 0
    for name in codes:
        assert "Traceback" not in host.log(name), name
        assert "ERROR" not in host.log(name), name
