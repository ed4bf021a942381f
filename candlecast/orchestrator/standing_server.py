"""Prefect's server for `candlecast serve`: python -m candlecast.orchestrator.standing_server PORT.

It is `prefect server start`, and ends when its standard input closes.
"""

import runpy
import sys

from candlecast.orchestrator.ending import end_with_input

if __name__ == "__main__":
    end_with_input()
    sys.argv = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", sys.argv[1]]
    runpy.run_module("prefect", run_name="__main__")
