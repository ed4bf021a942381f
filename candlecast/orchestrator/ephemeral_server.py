"""A Prefect server for one command: python -m candlecast.orchestrator.ephemeral_server PORT.

It stops when its standard input closes. The input is a pipe from the command, so no server stays behind however the
command ends, even by kill -9.
"""

import gc
import os
import signal
import socket
import sys
import threading

import uvicorn


def main(port: int) -> None:
    """Serve Prefect's API on a loopback port, without pages and without the services of a standing server."""
    # Imports and migrations leave little garbage; looking for it takes a fifth of the start (benchmarks/daily.py).
    gc.disable()
    from prefect.server.api.server import create_app

    threading.Thread(target=_end_with_input, daemon=True).start()
    app = create_app(ephemeral=True, final=True)
    _Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="on")).run()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()
        gc.enable()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
