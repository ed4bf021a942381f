"""Where every command begins, and how a failure ends. Heavy imports happen inside the commands."""

import gc
import signal
import sys

# The commands of candlecast.commands.read: their names are needed before anything else is imported.
READING = ("forecasts", "candles", "skill", "models", "series", "findings", "chance", "paths")


def main() -> None:
    """Run the command line; exit 0 when done, 1 when it failed, 2 when it was used wrongly."""
    only = sys.argv[1] if sys.argv[1:2] and sys.argv[1] in READING else None
    if only:
        # Such a command is over before there is garbage worth collecting; measured, looking for it while modules are
        # imported takes 15 % of its time.
        gc.disable()
        # When the reader of our pipe has seen enough, end as other Unix tools do; typer would end with 1.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    from candlecast.commands.app import application
    from candlecast.commands.console import fail
    from candlecast.orchestrator.defaults import bypass_proxies_for_loopback
    from models.candles import UnknownSeries
    from models.errors import ModelError
    from storage.errors import StorageError

    bypass_proxies_for_loopback()
    try:
        application(only=only)()
    except (StorageError, ModelError) as error:
        fail(str(error))
    except UnknownSeries as error:
        fail(str(error), code=2)
    finally:
        if only:
            # Otherwise Python looks for garbage once more when it ends, which takes 12 % of the command's time.
            gc.freeze()
