"""A download of five gigabytes, announced, endless or compressed, is refused at the cap and in bounded memory."""

import gzip
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cdd_server import CddServer, Reply

FIVE_GB = 5_000_000_000
CAP = 200_000_000
ZEROS = b"0" * 1_000_000

# Each fetch runs in a separate process, so that the peak memory of the process is that of the fetch.
FETCH = """
import json, resource, sys
from models.candles import SeriesName
from storage.source.client import CddClient
from storage.errors import CddRefused
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
client, before = CddClient(sys.argv[1], max_bytes=int(sys.argv[2])), peak()
try:
    client.fetch(SeriesName.parse("Bitstamp_BTCUSD_d"))
except CddRefused as error:
    print(json.dumps([str(error), peak() - before]))
"""


@pytest.fixture
def server() -> Iterator[CddServer]:
    with CddServer() as server:
        yield server


def refused(server: CddServer) -> tuple[str, int]:
    """Return the reason why the answer was refused, and the bytes of memory that fetching it took."""
    done = subprocess.run(
        [sys.executable, "-c", FETCH, server.url, str(CAP)], capture_output=True, text=True, check=True, timeout=120
    )
    reason, memory = json.loads(done.stdout)
    return reason, memory


def test_a_download_that_announces_five_gigabytes_is_refused_before_it_is_read(server: CddServer) -> None:
    server.faults = [Reply(headers={"Content-Length": str(FIVE_GB)}, stream=itertools.repeat(ZEROS, 5000))]
    reason, _ = refused(server)
    assert "larger than 200,000,000 bytes: it announces 5,000,000,000" in reason
    # The server sent no more than the sockets' buffers hold.
    assert server.streamed < 20_000_000


def test_an_endless_body_is_refused_at_the_limit(server: CddServer) -> None:
    server.faults = [Reply(headers={"Connection": "close"}, stream=itertools.repeat(ZEROS, 5000))]
    reason, memory = refused(server)
    assert "larger than 200,000,000 bytes uncompressed" in reason
    assert CAP <= server.streamed < 1.2 * CAP
    assert memory < 60_000_000


def test_five_gigabytes_compressed_to_five_megabytes_are_refused_at_the_limit(server: CddServer) -> None:
    packed = gzip.compress(ZEROS * 10) * 500
    assert len(packed) < 10_000_000
    server.faults = [Reply(body=packed, headers={"Content-Encoding": "gzip"})]
    reason, memory = refused(server)
    assert "larger than 200,000,000 bytes uncompressed" in reason
    assert memory < 60_000_000
