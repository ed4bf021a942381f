"""The read API under load while a daily run trains and writes: python benchmarks/load.py [--rate N] [--seconds S]

A new installation on the bundled sample, less its last days; `candlecast web` beside it. Requests for the latest
forecast start at a fixed rate, whether or not earlier ones have been answered: first with nothing else going on, then
while `candlecast daily` (model blend) runs again and again, each time with a day more. Server, client and daily run
share the machine.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
from sqlalchemy import create_engine, text
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
SERIES = "Coinbase_BTCUSD_d"
PROGRAM = str(Path(sys.executable).parent / "candlecast")
DAYS = 30
CONNECTIONS = 50


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
            stdout=subprocess.DEVNULL, stderr=(self.folder / "daily.log").open("ab"),
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


async def load(url: str, *, rate: float, seconds: float) -> tuple[Counter[str], list[float]]:
    """Ask `rate` times a second for `seconds`; returns how the answers ended, and the ms from due to answered."""
    ends: Counter[str] = Counter()
    took: list[float] = []
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def ask(due: float) -> None:
            try:
                answer = await client.get(url)
                ends[str(answer.status_code)] += 1
            except httpx.HTTPError as error:
                ends[type(error).__name__] += 1
            took.append(1000 * (time.perf_counter() - due))

        began = time.perf_counter()
        asked = []
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            asked.append(asyncio.create_task(ask(due)))
        await asyncio.gather(*asked)
        ends["seconds"] = round(time.perf_counter() - began)
    return ends, took


def row(name: str, ends: Counter[str], took: list[float]) -> list[object]:
    seconds = ends.pop("seconds")
    cuts = statistics.quantiles(took, n=100)
    failed = sum(count for end, count in ends.items() if end != "200")
    if failed:
        print(f"{name}: {dict(ends)}")
    return [name, len(took), len(took) / seconds, failed, statistics.median(took), cuts[94], cuts[98], max(took)]


async def measure(made: Installation, *, rate: float, seconds: float) -> None:
    first = made.daily()
    if await asyncio.to_thread(first.wait):
        sys.exit((made.folder / "daily.log").read_text()[-3000:])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = subprocess.Popen([PROGRAM, "web", "--port", str(port)], cwd=made.folder, env=made.environment)
    url = f"http://127.0.0.1:{port}/api/v1/forecasts/latest?series={SERIES}"
    try:
        for _ in range(300):
            try:
                httpx.get(url).raise_for_status()
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
        rows = [row("nothing else", *await load(url, rate=rate, seconds=seconds))]
        before, runs = made.stored(), 0
        loading = asyncio.create_task(load(url, rate=rate, seconds=seconds))
        while not loading.done():
            code = await asyncio.to_thread(made.daily().wait)
            runs += code == 0
        rows.append(row("daily runs write", *await loading))
        after = made.stored()
    finally:
        web.terminate()
        web.wait()
    headers = ["meanwhile", "requests", "a second", "failed", "median ms", "95 % ms", "99 % ms", "most ms"]
    print(tabulate(rows, headers, floatfmt=".1f"))
    new = [now - then for now, then in zip(after, before, strict=True)]
    print(f"{runs} daily runs stored {new[0]} forecasts and {new[1]} scores meanwhile")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=float, default=200)
    arguments.add_argument("--seconds", type=float, default=60)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Installation(Path(folder)), rate=given.rate, seconds=given.seconds))


if __name__ == "__main__":
    main()
