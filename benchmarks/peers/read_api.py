"""Compares the read API with Datasette: python benchmarks/peers/read_api.py [--requests N] [--rounds N]

`candlecast web` and Datasette serve one SQLite file with the bundled sample's candles, a live forecast and a year of
backfilled ones, each with one process on loopback. Clients request the latest forecast (7 rows) and a year of
forecasts, over one and over eight connections that stay open. A connection sends its next request when the answer is
there. candlecast keeps its answers until the database changes, so it is also measured with a new request each time.
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
    """A running server, and the paths of the two requests that are measured."""

    port: int
    pid: int
    latest: str
    year: str
    new: str = ""
    """A query parameter; a number after it makes each request a new one. Empty: always the same request."""

    def cpu(self) -> float:
        """Return the CPU seconds of all threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rows(self, path: str) -> list[dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer if isinstance(answer, list) else answer["rows"]

    def load(self, path: str, *, connections: int, requests: int) -> Cost:
        """Send `requests` requests over `connections`; returns the cost, the failures and the bytes of an answer."""
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
    parser.add_argument(
        "--requests", type=int, default=400, help="requests for the latest forecast; a tenth of them for the year"
    )
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
        # An instant is text in SQLite; every instant of the year's last day is less than "DAY 24".
        one_year = f"series={SERIES}&model={MODEL}&kind=backfill"
        kept = Server(
            ports[0], ours, f"/api/v1/forecasts/latest?series={SERIES}",
            f"/api/v1/forecasts?{one_year}&start={YEAR[0]}&end={YEAR[1]}&limit=5000",
        )  # fmt: skip
        servers = {
            "candlecast web": kept,
            "candlecast web, each request new": replace(kept, new="&asked="),
            "Datasette": Server(
                ports[1], theirs, f"/candlecast/latest_forecasts.json?series={SERIES}&{COUNT}",
                f"/candlecast/forecast_bands.json?{one_year}&origin__gte={YEAR[0]}&origin__lt={YEAR[1]}%2024&_size=5000&{COUNT}",
            ),
        }  # fmt: skip
        print(heading("datasette"))
        for what, share in (("latest", 1), ("year", 10)):
            paths = {side: getattr(server, what) for side, server in servers.items()}
            rows_of = {side: server.rows(paths[side]) for side, server in servers.items()}
            medians = {tuple(sorted(row["q50"] for row in rows)) for rows in rows_of.values()}
            rows = len(next(iter(rows_of.values())))
            print(f"\n{what}: {rows:,} rows, {'the same' if len(medians) == 1 else 'NOT the same'} from both\n")
            lines = []
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
                    lines.append(
                        [connections, side, f"{requests / seconds:,.0f}", f"{own / seconds:.2f}",
                         f"{1000 * cpu / requests:.2f}", sum(cost.result[0] for cost in costs),
                         f"{costs[-1].result[1]:,}"]
                    )  # fmt: skip
            head = (
                "connections",
                "",
                "requests/s",
                "rate, candlecast's is 1",
                "CPU ms per request",
                "failed",
                "bytes per answer",
            )
            print(table(head, lines))


if __name__ == "__main__":
    main()
