"""The read API beside Datasette: python benchmarks/peers/read_api.py [--requests N] [--rounds N]

One SQLite file with the bundled sample's candles, a live forecast and a year of backfilled ones, served by `candlecast
web` and by Datasette, each in one process, on loopback. The latest forecast (7 rows) and a year of forecasts are asked
for over connections that stay open, the next request when the answer is there: with one connection and with eight.
candlecast keeps its answers until the database changes: it is also asked so that every question is a new one.
"""

import argparse
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from peer import QUIET, Cost, by_turns, heading, median, table, venv

from candlecast.orchestrator.server import free_port

MODEL = "range-ewma"
YEAR = ("2018-09-01", "2019-08-31")
CONNECTIONS = (1, 8)
COUNT = "_nocount=1&_nofacet=1&_nosuggest=1&_shape=array"
NUMBERS = itertools.count()
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A server at work, what it is asked for the same rows, and how to find them in its answer."""

    port: int
    pid: int
    latest: str
    year: str
    new: str = ""
    """What, with a number after it, makes a question one that was not asked before."""

    def cpu(self) -> float:
        """CPU seconds so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rows(self, path: str) -> list[dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        found = json.loads(connection.getresponse().read())
        connection.close()
        return found if isinstance(found, list) else found["rows"]

    def load(self, path: str, *, connections: int, requests: int) -> Cost:
        """Ask `requests` times in all over `connections`; returns seconds, CPU seconds, and failures and bytes."""
        answers: list[tuple[int, int]] = []

        def ask(times: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            for _ in range(times):
                connection.request("GET", f"{path}{self.new}{next(NUMBERS)}" if self.new else path)
                answer = connection.getresponse()
                answers.append((answer.status, len(answer.read())))
            connection.close()

        clients = [threading.Thread(target=ask, args=(requests // connections,)) for _ in range(connections)]
        cpu, began = self.cpu(), time.perf_counter()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        seconds = time.perf_counter() - began
        failed = requests // connections * connections - sum(status == 200 for status, _ in answers)
        return Cost(seconds, self.cpu() - cpu, (failed, answers[-1][1]))


def started(stack: ExitStack, command: list[str], port: int, folder: Path, environment: dict[str, str]) -> int:
    """Return the process id of a server that accepts connections; it ends with `stack`."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"{command[0]} ended with {process.returncode} before it served")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.pid
        time.sleep(0.1)
    raise SystemExit(f"{command[0]} did not serve within a minute")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400, help="for the latest forecast; a tenth for a year")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    from benchmarks.load import PROGRAM, SERIES, Installation

    datasette = str(venv("datasette") / "datasette")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        installation = Installation(folder)
        installation.environment |= {"CANDLECAST_MODEL": MODEL}
        backfill = [PROGRAM, "backfill", SERIES, "--start", YEAR[0], "--end", YEAR[1], "--model", MODEL]
        if (
            installation.daily().wait()
            or subprocess.run(backfill, cwd=folder, env=installation.environment, capture_output=True).returncode
        ):
            sys.exit((folder / "daily.log").read_text()[-3000:])
        ports = free_port(), free_port()
        ours = started(stack, [PROGRAM, "web", "--port", str(ports[0])], ports[0], folder, installation.environment)
        command = [
            datasette,
            "serve",
            "candlecast.db",
            "--port",
            str(ports[1]),
            "--setting",
            "max_returned_rows",
            "10000",
        ]
        theirs = started(stack, command, ports[1], folder, os.environ | QUIET)
        # An instant is text in SQLite: every one of the year's last day is below that day's hour "24".
        one_year = f"series={SERIES}&model={MODEL}&kind=backfill"
        kept = Server(
            ports[0], ours, f"/api/v1/forecasts/latest?series={SERIES}",
            f"/api/v1/forecasts?{one_year}&start={YEAR[0]}&end={YEAR[1]}&limit=5000",
        )  # fmt: skip
        servers = {
            "candlecast web": kept,
            "the same, each question new": replace(kept, new="&asked="),
            "Datasette": Server(
                ports[1], theirs, f"/candlecast/latest_forecasts.json?series={SERIES}&{COUNT}",
                f"/candlecast/forecast_bands.json?{one_year}&origin__gte={YEAR[0]}&origin__lt={YEAR[1]}%2024&_size=5000&{COUNT}",
            ),
        }  # fmt: skip
        print(heading("datasette"))
        for what, share in (("latest", 1), ("year", 10)):
            paths = {side: getattr(server, what) for side, server in servers.items()}
            found = {side: server.rows(paths[side]) for side, server in servers.items()}
            medians = {tuple(sorted(row["q50"] for row in rows)) for rows in found.values()}
            rows = len(next(iter(found.values())))
            print(f"\n{what}: {rows:,} rows, {'the same' if len(medians) == 1 else 'NOT the same'} from both\n")
            shown = []
            for connections in CONNECTIONS:
                requests = chosen.requests // share
                asks = [
                    partial(server.load, paths[side], connections=connections, requests=requests)
                    for side, server in servers.items()
                ]
                measured = by_turns(chosen.rounds, *asks)
                own = median(cost.seconds for cost in measured[0])
                for side, costs in zip(servers, measured, strict=True):
                    seconds = median(cost.seconds for cost in costs)
                    cpu = median(cost.cpu for cost in costs)
                    shown.append(
                        [connections, side, f"{requests / seconds:,.0f}", f"{own / seconds:.2f}",
                         f"{1000 * cpu / requests:.2f}", sum(cost.found[0] for cost in costs),
                         f"{costs[-1].found[1]:,}"]
                    )  # fmt: skip
            head = ("connections", "", "requests/s", "rate, ours is 1", "CPU ms a request", "failed", "bytes an answer")
            print(table(head, shown))


if __name__ == "__main__":
    main()
