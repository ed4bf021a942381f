"""Cursors: the key of the last row of a page, as a text that clients send back for the next page.

A key, unlike a row's number, stays right when rows are stored meanwhile: no row is repeated or left out. The database
finds the thousandth page by index as fast as the first.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

MOST_CHARACTERS = 400
_LARGEST = 2**63 - 1


def to_cursor(key: Sequence[str | int | datetime]) -> str:
    """Return the cursor of the row with this key."""
    values = [value.isoformat() if isinstance(value, datetime) else value for value in key]
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def from_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """Return the key, its values of these `types` (str, int or datetime); raises ValueError for anything else."""
    wrong = ValueError(f"cursor: expected `next` of the page before, got {cursor[:40]!r}; start again without one")
    try:
        parts = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(parts, list) or len(parts) != len(types):
        raise wrong
    return tuple(_as(kind, value, wrong) for kind, value in zip(types, parts, strict=True))


def _as(kind: type, value: object, wrong: ValueError) -> object:
    if kind is datetime and isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            raise wrong from None
        if instant.tzinfo is UTC:
            return instant
    elif (kind is int and type(value) is int and 0 <= value <= _LARGEST) or (
        kind is str and isinstance(value, str) and value.isprintable()
    ):
        return value
    raise wrong
