"""The morning note as text, Markdown and HTML; with the picture where the form can show one."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tasks.steps.note import NEEDS_A_PERSON, Note


def text_note(notes: Sequence[Note]) -> str:
    """Return the notes as plain text."""
    return "\n\n".join("\n".join([note.title, *(f"  {sentence}" for sentence in note.sentences)]) for note in notes)


def markdown_note(notes: Sequence[Note], pictures: Sequence[Path | None]) -> str:
    """Return the notes as Markdown that names the pictures' files, None for none."""
    parts = []
    for note, picture in zip(notes, pictures, strict=True):
        lines = [f"## {note.title}", "", *(f"- {sentence}" for sentence in note.sentences)]
        if picture is not None:
            lines += ["", f"![Forecast of {note.series}]({picture.as_posix()})"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def is_news(note: Note, before: str | None) -> bool:
    """Return whether `note` is to be sent after `before`, the newest note that was sent, as Markdown; None for none.

    A day has one note, whichever model serves in the end: the next is about the next close. Where that close does not
    come, the next one says what needs a person.
    """
    if before is None or not before.startswith(f"## {note.title}\n"):
        return True
    return note.needs_a_person and f"- {NEEDS_A_PERSON}" not in before


def html_note(notes: Sequence[Note], pictures: Sequence[Path | None]) -> str:
    """Return the notes as an HTML page that holds the pictures, so that it can be sent as it is."""
    parts = []
    for note, picture in zip(notes, pictures, strict=True):
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in note.sentences)
        parts.append(f"<h2>{escape(note.title)}</h2><ul>{items}</ul>")
        if picture is not None:
            data = base64.b64encode(picture.read_bytes()).decode()
            parts.append(f'<p><img alt="Forecast of {escape(note.series)}" src="data:image/png;base64,{data}"></p>')
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>candlecast</title>{"".join(parts)}</html>'
