"""Workers on other hosts, played by network namespaces that see only the address of the server and the database."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from prefect_parts import ROOT, PrefectServer, Worker

pytestmark = pytest.mark.slow

SERIES = "Coinbase_BTCUSD_d"


class Host:
    """A network namespace with one cable to this machine."""

    def __init__(self, number: int) -> None:
        self.name = f"candlecast-{os.getpid()}-{number}"
        # A network of this process's own: the cable of a run that was killed may still be there.
        network = f"10.{100 + os.getpid() % 150}.{number}"
        self.ours, self.theirs = f"{network}.1", f"{network}.2"
        inner, outer = f"cc{os.getpid() % 100000}i{number}", f"cc{os.getpid() % 100000}o{number}"
        for command in (
            f"netns add {self.name}",
            f"link add {outer} type veth peer name {inner}",
            f"link set {inner} netns {self.name}",
            f"addr add {self.ours}/30 dev {outer}",
            f"link set {outer} up",
            f"-n {self.name} addr add {self.theirs}/30 dev {inner}",
            f"-n {self.name} link set {inner} up",
            f"-n {self.name} link set lo up",
        ):
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)

    def within(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the program ip")
    both: list[Host] = []
    try:
        both += [Host(71)]
        both += [Host(72)]
    except subprocess.CalledProcessError as error:
        for host in both:
            host.remove()
        pytest.skip(f"this machine lends no network namespaces: {error.stderr.decode().strip()}")
    yield both[0], both[1]
    for host in both:
        host.remove()


@pytest.fixture
def open_to(postgresql_url: str, hosts: tuple[Host, Host]) -> str:
    """The URL of the database, opened to the two hosts."""
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as conn:
        row = conn.execute("SHOW hba_file").fetchone()
        assert row is not None
        with Path(row[0]).open("a") as rules:
            rules.writelines(f"host all all {host.theirs}/32 trust\n" for host in hosts)
        conn.execute("SELECT pg_reload_conf()")
    return postgresql_url


def test_a_day_on_one_host_has_its_training_done_on_another(
    tmp_path: Path, hosts: tuple[Host, Host], open_to: str
) -> None:
    ordinary, card = hosts
    logs = tmp_path / "ordinary.log", tmp_path / "card.log"

    def settings(host: Host, server: PrefectServer) -> dict[str, str]:
        return {
            "PREFECT_API_URL": f"http://{host.ours}:{server.port}/api",
            "PREFECT_HOME": str(tmp_path / host.name),
            "CANDLECAST_DATABASE_URL": open_to.replace("127.0.0.1", host.ours),
            "CANDLECAST_SOURCE": str(ROOT / "sample"),
            "CANDLECAST_SERIES": SERIES,
            "CANDLECAST_MODEL": "lstm",
            "CANDLECAST_TRAIN_DEPLOYMENT": "retrain/gpu",
            "CANDLECAST_TRAIN_TIMEOUT_S": "300",
            "CANDLECAST_REPORTS": str(tmp_path / "reports"),
        }

    with PrefectServer(tmp_path / "home", host="0.0.0.0") as server:
        server.prefect("work-pool", "create", "default", "--type", "process")
        server.prefect("work-pool", "create", "gpu", "--type", "process")
        server.prefect("deploy", "--all")
        with (
            Worker(server, "default", logs[0], settings(ordinary, server), ordinary.within()),
            Worker(server, "gpu", logs[1], settings(card, server), card.within()),
        ):
            # The sample ends in 2019: its next candle never comes.
            server.prefect("deployment", "run", "daily/scheduled", "--param", "wait=false")
            states: list[str] = []
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline and "COMPLETED" not in states:
                time.sleep(1)
                states = [run["state_type"] for run in server.flow_runs("daily") if not run["auto_scheduled"]]
            texts = [log.read_text() for log in logs]
    assert states == ["COMPLETED"], "\n".join(text[-3000:] for text in texts)
    assert "training lstm (scratch)" in texts[1]
    assert "training lstm (scratch)" not in texts[0]
    with psycopg.connect(open_to.replace("+psycopg", "")) as conn:
        models = conn.execute("SELECT model FROM forecasts WHERE kind = 'live' ORDER BY model").fetchall()
    assert models == [("lstm",), ("naive",), ("range-ewma",)]
