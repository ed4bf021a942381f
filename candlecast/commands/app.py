"""All commands together, or one of those that read."""

import typer

from candlecast.commands import read

HELP = "Self-hosted daily forecasts for crypto markets: fetches candles, stores forecasts for ever and scores them."


def application(*, only: str | None = None) -> typer.Typer:
    """Return the command line; with `only` that reading command alone, because each one takes time to prepare."""
    app = typer.Typer(
        name="candlecast",
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    if only is not None:
        app.add_typer(read.only(only))
        return app
    from candlecast.commands import note, operate, run

    for commands in (run, read, note, operate):
        app.add_typer(commands.app)
    return app
