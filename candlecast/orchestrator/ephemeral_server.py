"""A Prefect server for one command: python -m candlecast.orchestrator.ephemeral_server PORT.

It ends when its standard input closes.
"""

import gc
import socket
import sys

import uvicorn

from candlecast.orchestrator.ending import end_with_input


def main(port: int) -> None:
    """Serve Prefect's API on a loopback port, without pages and without the services of a standing server."""
    # Imports and migrations leave little garbage; looking for it takes a fifth of the start (benchmarks/daily.py).
    gc.disable()
    from prefect.server.api.server import create_app

    end_with_input()
    app = create_app(ephemeral=True, final=True)
    _Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="on")).run()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    main(int(sys.argv[1]))
