"""All commands together, or those alone that read."""

import typer

from candlecast.commands import read

HELP = "Self-hosted daily forecasts for crypto markets: fetches candles, stores forecasts for ever and scores them."


def application(*, only_reading: bool = False) -> typer.Typer:
    """Return the command line; with `only_reading` without the commands that do more, which take time to prepare."""
    app = typer.Typer(
        name="candlecast",
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    if only_reading:
        app.add_typer(read.app)
        return app
    from candlecast.commands import note, operate, run

    for commands in (run, read, note, operate):
        app.add_typer(commands.app)
    return app
