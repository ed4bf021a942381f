"""The read API under load while a daily run trains and writes: python benchmarks/load.py [--rate N] [--seconds S]

A new installation on the bundled sample, less its last days; `candlecast web` beside it. Requests for the latest
forecast start at a fixed rate, whether or not earlier ones have been answered: first with nothing else going on, then
while `candlecast daily` (model blend) runs again and again, each time with a day more. Server, client and daily run
share the machine; the daily run is in a session of its own, as one from a schedule or another terminal is.
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
    """A folder with a database, and a source whose file grows by a day when asked to."""

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
        """Start a daily run that finds one more candle than the one before."""
        # A banner and the names of the columns, then the newest candle first.
        kept = self._lines[:2] + self._lines[2 + self._held_back :]
        (self.folder / "source" / f"{SERIES}.csv").write_text("\n".join(kept) + "\n")
        self._held_back -= 1
        return subprocess.Popen(
            [PROGRAM, "daily"], cwd=self.folder, env=self.environment,
            stdout=subprocess.DEVNULL, stderr=(self.folder / "daily.log").open("ab"), start_new_session=True,
        )  # fmt: skip

    def stored(self) -> tuple[int, int]:
        """How many forecasts and scores the database holds."""
        engine = create_engine(f"sqlite:///{self.folder / 'candlecast.db'}")
        with engine.connect() as conn:
            counts = [
                conn.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in ("forecasts", "scores")
            ]
        engine.dispose()
        return counts[0], counts[1]


class Client:
    """Asks one question again and again over connections that stay open: little work of its own, the server's counts.

    Every answer is held against its ETag afterwards; the ETags tell how often the answer changed.
    """

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._question = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.seen: set[tuple[bytes, bytes]] = set()

    async def ask(self) -> str:
        """Return the answer's status."""
        async with self._room, asyncio.timeout(TIMEOUT_S):
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(self._question)
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                headers = dict(line.lower().split(b": ", 1) for line in lines if line)
                self.seen.add((headers.get(b"etag", b""), await reader.readexactly(int(headers[b"content-length"]))))
            except BaseException:
                writer.close()
                raise
            self._idle.append((reader, writer))
            return first.split()[1].decode()

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    def different(self) -> int:
        """Return how many different answers came; raises AssertionError if one is not what its ETag says."""
        for etag, body in self.seen:
            assert hashlib.sha256(gzip.decompress(body)).hexdigest()[:32] == etag.decode().strip('"')
        return len({etag for etag, _ in self.seen})


async def load(client: Client, *, rate: float, until: "asyncio.Future[Any]") -> tuple[Counter[str], list[float], float]:
    """Ask `rate` times a second until `until` is done; returns how answers ended, ms from due to answered, and s."""
    ends: Counter[str] = Counter()
    took: list[float] = []

    async def ask(due: float) -> None:
        try:
            ends[await client.ask()] += 1
        except (OSError, EOFError, TimeoutError) as error:
            ends[type(error).__name__] += 1
        took.append(1000 * (time.perf_counter() - due))

    began = time.perf_counter()
    asked = []
    while not until.done():
        due = began + len(asked) / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        asked.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*asked)
    return ends, took, time.perf_counter() - began


def row(name: str, client: Client, ends: Counter[str], took: list[float], seconds: float) -> list[object]:
    client.close()
    cuts = statistics.quantiles(took, n=100)
    failed = sum(count for end, count in ends.items() if end != "200")
    if failed:
        print(f"{name}: {dict(ends)}")
    late = sum(ms > LATE_MS for ms in took)
    waits = [statistics.median(took), cuts[94], cuts[98], max(took)]
    return [name, len(took), len(took) / seconds, failed, late, *waits, client.different()]


async def daily_runs(made: Installation, seconds: float) -> int:
    """Run `daily` again and again, the last time before `seconds` are over; returns how many came to a good end."""
    began = time.perf_counter()
    done = 0
    while time.perf_counter() - began < seconds:
        done += await asyncio.to_thread(made.daily().wait) == 0
    return done


async def measure(made: Installation, *, rate: float, seconds: float) -> None:
    first = made.daily()
    if await asyncio.to_thread(first.wait):
        sys.exit((made.folder / "daily.log").read_text()[-3000:])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = subprocess.Popen([PROGRAM, "web", "--port", str(port)], cwd=made.folder, env=made.environment)
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
        before = made.stored()
        client = Client(port, path)
        runs = asyncio.create_task(daily_runs(made, seconds))
        rows.append(row("daily runs write", client, *await load(client, rate=rate, until=runs)))
        after = made.stored()
    finally:
        web.terminate()
        web.wait()
    late = f"over {LATE_MS} ms"
    waits = ["median ms", "95 % ms", "99 % ms", "most ms"]
    headers = ["meanwhile", "requests", "a second", "failed", late, *waits, "different"]
    print(tabulate(rows, headers, floatfmt=".1f"))
    new = [now - then for now, then in zip(after, before, strict=True)]
    print(f"{runs.result()} daily runs stored {new[0]} forecasts and {new[1]} scores meanwhile")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=float, default=200)
    arguments.add_argument("--seconds", type=float, default=60)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Installation(Path(folder)), rate=given.rate, seconds=given.seconds))


if __name__ == "__main__":
    main()
