"""The command `note`: the morning note, printed or sent to a webhook."""

from enum import StrEnum
from typing import Annotated

import typer

from candlecast.commands.console import Output, SeriesList, WrongUse, fail, print_note, settings

app = typer.Typer()


class Form(StrEnum):
    """How the note can be written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"


@app.command()
def note(
    series: SeriesList = None,
    form: Annotated[Form, typer.Option("--format", help="Markdown and HTML include the pictures.")] = Form.TEXT,
    output: Output = None,
    send: Annotated[
        str | None, typer.Option("--send", metavar="URL", help="Send the text to this webhook, as serve --notify does.")
    ] = None,
) -> None:
    """Print each series' morning note: its forecast, what changed in it, the last close, and what needs a person."""
    if send is not None and (form is not Form.TEXT or output is not None):
        raise WrongUse("--send sends the text; leave out --format and --output")
    from datetime import UTC, datetime

    from storage.database.engine import disposing, open_for_reading, reading
    from storage.series import require_series
    from tasks.show.note import html_note, markdown_note, text_note
    from tasks.steps.note import read_note

    configured = settings()
    names = series or list(configured.series)
    with disposing(open_for_reading(configured.database_url)) as engine:
        with reading(engine) as conn:
            for name in names:
                require_series(conn, name=name)
            notes = [read_note(conn, series=name, now=datetime.now(UTC)) for name in names]
        if form is Form.TEXT:
            text = text_note(notes)
        else:
            from tasks.show.charts import forecast_chart

            drawn = [forecast_chart(engine, series=name, reports=configured.reports) for name in names]
            pictures = [None if one is None else one.path for one in drawn]
            text = (markdown_note if form is Form.MARKDOWN else html_note)(notes, pictures)
    if send is not None:
        _send(send, text)
    elif output is None:
        print(text)
    else:
        try:
            output.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            fail(f"cannot write {output}: {error.strerror}")


def _send(url: str, text: str) -> None:
    from urllib.parse import urlsplit

    import requests

    from storage.source.urls import checked_web_url

    # The path of a webhook is often its secret, so only its host is named.
    try:
        host = urlsplit(checked_web_url(url)).hostname
    except ValueError as error:
        raise WrongUse(str(error), param_hint="--send") from None
    try:
        answer = requests.post(url, json={"text": text}, timeout=30)
    except requests.RequestException as error:
        fail(f"the note was not sent to {host}: {type(error).__name__}")
    if not answer.ok:
        fail(f"the note was not sent to {host}: it answered with status {answer.status_code}")
    print_note(f"the note was sent to {host}")
