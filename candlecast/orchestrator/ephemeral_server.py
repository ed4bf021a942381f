"""A Prefect server for one command: python -m candlecast.orchestrator.ephemeral_server PORT.

It ends when its standard input closes.
"""

import gc
import logging
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
    Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="on")).run()


class Server(uvicorn.Server):
    """A server that collects garbage once it has started, and says nothing once it is told to end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then turn garbage collection on, without what was imported so far."""
        await super().startup(sockets)
        gc.freeze()
        gc.enable()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in silence: the command has said how it ended.

        Prefect's services that have not begun yet cannot be stopped, and Prefect logs that as an error.
        """
        logging.disable()
        await super().shutdown(sockets)


if __name__ == "__main__":
    main(int(sys.argv[1]))
