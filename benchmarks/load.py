"""Measures the read API while a daily run trains and writes: python benchmarks/load.py [--rate N] [--seconds S]

It makes a new installation on the bundled sample without its last days, and starts `candlecast web` on it. Requests for
the latest forecast start at a fixed rate, whether or not earlier ones have been answered: first while nothing else
runs, then while `candlecast daily` (model blend) runs again and again, each time with one more day. Server, client and
daily run share the machine. The daily run has a separate process session, like one from a schedule or another terminal.
"""

import argparse
import asyncio
import gzip
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import create_engine, text
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
SERIES = "Coinbase_BTCUSD_d"
PROGRAM = str(Path(sys.executable).parent / "candlecast")
DAYS = 30
CONNECTIONS = 50
TIMEOUT_S = 30
LATE_MS = 100


class Installation:
    """A folder with a database, and a source whose file gets one more day with each daily run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = (ROOT / "sample" / f"{SERIES}.csv").read_text().splitlines()
        self._held_back = DAYS
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("CANDLECAST_", "PREFECT_"))} | {
            "CANDLECAST_SOURCE": str(folder / "source"),
            "CANDLECAST_SERIES": SERIES,
            "PREFECT_HOME": str(folder / "prefect"),
        }
        (folder / "source").mkdir()

    def daily(self) -> "subprocess.Popen[bytes]":
        """Start a daily run that finds one more candle than the last one."""
        # The file begins with a banner and the column names; then the newest candle comes first.
        lines = self._lines[:2] + self._lines[2 + self._held_back :]
        (self.folder / "source" / f"{SERIES}.csv").write_text("\n".join(lines) + "\n")
        self._held_back -= 1
        return subprocess.Popen(
            [PROGRAM, "daily"], cwd=self.folder, env=self.environment,
            stdout=subprocess.DEVNULL, stderr=(self.folder / "daily.log").open("ab"), start_new_session=True,
        )  # fmt: skip

    def count_stored(self) -> tuple[int, int]:
        """Return how many forecasts and scores the database holds."""
        engine = create_engine(f"sqlite:///{self.folder / 'candlecast.db'}")
        with engine.connect() as conn:
            counts = [
                conn.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in ("forecasts", "scores")
            ]
        engine.dispose()
        return counts[0], counts[1]


class Client:
    """Sends one request again and again over open connections, with little work, so that the server's time counts.

    `different` compares every answer with its ETag afterwards, and counts how often the answer changed.
    """

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.answers: set[tuple[bytes, bytes]] = set()
        """ETags and bodies of the different answers."""

    async def request(self) -> str:
        """Send the request and return the answer's status."""
        async with self._free, asyncio.timeout(TIMEOUT_S):
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(self._request)
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                headers = dict(line.lower().split(b": ", 1) for line in lines if line)
                body = await reader.readexactly(int(headers[b"content-length"]))
                self.answers.add((headers.get(b"etag", b""), body))
            except BaseException:
                writer.close()
                raise
            self._idle.append((reader, writer))
            return first.split()[1].decode()

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    def different(self) -> int:
        """Return how many different answers came; raises AssertionError if one does not match its ETag."""
        for etag, body in self.answers:
            assert hashlib.sha256(gzip.decompress(body)).hexdigest()[:32] == etag.decode().strip('"')
        return len({etag for etag, _ in self.answers})


async def load(client: Client, *, rate: float, until: "asyncio.Future[Any]") -> tuple[Counter[str], list[float], float]:
    """Send `rate` requests a second until `until` is done.

    Returns how many answers had each status or error, the milliseconds of each request from the moment it was due to
    its answer, and the seconds in all.
    """
    outcomes: Counter[str] = Counter()
    waits_ms: list[float] = []

    async def request(due: float) -> None:
        try:
            outcomes[await client.request()] += 1
        except (OSError, EOFError, TimeoutError) as error:
            outcomes[type(error).__name__] += 1
        waits_ms.append(1000 * (time.perf_counter() - due))

    began = time.perf_counter()
    requests_sent = []
    while not until.done():
        due = began + len(requests_sent) / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        requests_sent.append(asyncio.create_task(request(due)))
    await asyncio.gather(*requests_sent)
    return outcomes, waits_ms, time.perf_counter() - began


def row(name: str, client: Client, outcomes: Counter[str], waits_ms: list[float], seconds: float) -> list[object]:
    client.close()
    cuts = statistics.quantiles(waits_ms, n=100)
    failed = sum(count for outcome, count in outcomes.items() if outcome != "200")
    if failed:
        print(f"{name}: {dict(outcomes)}")
    late = sum(ms > LATE_MS for ms in waits_ms)
    waits = [statistics.median(waits_ms), cuts[94], cuts[98], max(waits_ms)]
    return [name, len(waits_ms), len(waits_ms) / seconds, failed, late, *waits, client.different()]


async def run_daily_repeatedly(installation: Installation, seconds: float) -> int:
    """Run `daily` again and again until `seconds` have passed; returns how many runs succeeded."""
    began = time.perf_counter()
    succeeded = 0
    while time.perf_counter() - began < seconds:
        succeeded += await asyncio.to_thread(installation.daily().wait) == 0
    return succeeded


async def measure(installation: Installation, *, rate: float, seconds: float) -> None:
    first = installation.daily()
    if await asyncio.to_thread(first.wait):
        sys.exit((installation.folder / "daily.log").read_text()[-3000:])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [PROGRAM, "web", "--port", str(port)]
    web = subprocess.Popen(command, cwd=installation.folder, env=installation.environment)
    path = f"/api/v1/forecasts/latest?series={SERIES}"
    try:
        for _ in range(300):
            try:
                requests.get(f"http://127.0.0.1:{port}{path}", timeout=TIMEOUT_S).raise_for_status()
                break
            except requests.ConnectionError:
                await asyncio.sleep(0.1)
        client = Client(port, path)
        pause = asyncio.create_task(asyncio.sleep(seconds))
        rows = [row("nothing else", client, *await load(client, rate=rate, until=pause))]
        before = installation.count_stored()
        client = Client(port, path)
        runs = asyncio.create_task(run_daily_repeatedly(installation, seconds))
        rows.append(row("daily runs write", client, *await load(client, rate=rate, until=runs)))
        after = installation.count_stored()
    finally:
        web.terminate()
        web.wait()
    late = f"over {LATE_MS} ms"
    waits = ["median ms", "95 % ms", "99 % ms", "most ms"]
    headers = ["meanwhile", "requests", "a second", "failed", late, *waits, "different"]
    print(tabulate(rows, headers, floatfmt=".1f"))
    new = [count_after - count_before for count_after, count_before in zip(after, before, strict=True)]
    print(f"{runs.result()} daily runs stored {new[0]} forecasts and {new[1]} scores meanwhile")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=float, default=200)
    arguments.add_argument("--seconds", type=float, default=60)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Installation(Path(folder)), rate=chosen.rate, seconds=chosen.seconds))


if __name__ == "__main__":
    main()
