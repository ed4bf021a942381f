"""The command line: which commands there are, and how a failure ends. Heavy imports happen inside the commands."""

import gc
import signal
import sys

import typer

from candlecast.commands import note as commands_note
from candlecast.commands import operate as commands_operate
from candlecast.commands import read as commands_read
from candlecast.commands import run as commands_run
from candlecast.commands.console import fail
from candlecast.orchestrator.defaults import bypass_proxies_for_loopback
from models.candles import UnknownSeries
from models.errors import ModelError
from storage.errors import StorageError

app = typer.Typer(
    name="candlecast",
    help="Self-hosted daily forecasts for crypto markets: fetches candles, stores forecasts for ever and scores them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for commands in (commands_run, commands_read, commands_note, commands_operate):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command line; exit 0 when done, 1 when it failed, 2 when it was used wrongly."""
    bypass_proxies_for_loopback()
    if sys.argv[1:2] and sys.argv[1] in commands_read.NAMES:
        # Such a command is over before there is garbage worth collecting; measured, looking for it while modules are
        # imported takes 15 % of its time.
        gc.disable()
        # When the reader of our pipe has seen enough, end as other Unix tools do; typer would end with 1.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app()
    except (StorageError, ModelError) as error:
        fail(str(error))
    except UnknownSeries as error:
        fail(str(error), code=2)
