"""URLs and messages without the parts that must not be shown, stored or logged."""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from sqlalchemy import Engine

_CREDENTIALS = re.compile(r"//[^/@\s]+@")


def safe_url(url: str) -> str:
    """Return `url` without user, password, query and fragment, control characters escaped; never raises."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(a URL that cannot be read)"
    host = f"[{host}]" if ":" in host else host
    return printable(urlunsplit((parts.scheme, f"{host}:{port}" if port else host, parts.path, "", "")))


def without_credentials(text: str) -> str:
    """Return `text` with `user:password@` cut out of every URL in it."""
    return _CREDENTIALS.sub("//", text)


def printable(text: str) -> str:
    """Return `text` with its control characters made visible, so that none steers a terminal: `\x1b` for an escape."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def safe_database_url(engine: "Engine") -> str:
    """Return the database's URL without its password and without its options, which can hold a password."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def first_line(error: BaseException) -> str:
    """Return what the database's driver says; PostgreSQL's further lines quote the statement and its values."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
