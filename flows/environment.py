"""Reads a settings class from environment variables and `.env`, with the standard library alone.

A library that does the same for any class takes as long to import as a quarter of a reading command.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any

PREFIX = "CANDLECAST_"
DOTENV = Path(".env")

# Returns the value of a text or of a Python value. Raises ValueError with what was expected and without the text, which
# may be a secret that was meant for another variable.
Parse = Callable[[Any], Any]


class SettingsUnreadable(ValueError):
    """A setting has a value that cannot be used, or `.env` is no text; the message names variables and no values."""


def setting(default: Any, description: str, parse: Parse = str, *, secret: bool = False) -> Any:  # noqa: ANN401
    """Return a dataclass field for a setting; a secret is left out of the object's text."""
    return field(default=default, repr=not secret, metadata={"description": description, "parse": parse})


def read_settings(settings: type, given: Mapping[str, object]) -> dict[str, object]:
    """Return the value of each field of `settings`: the given one, else the variable's, `.env`'s or the default.

    An empty value is the default. Raises SettingsUnreadable, and TypeError for a given name that is no field.
    """
    known = {one.name: one for one in fields(settings)}
    if given.keys() - known.keys():
        raise TypeError(f"no such setting: {', '.join(sorted(given.keys() - known.keys()))}")
    stated = _dotenv() | _variables(os.environ) | dict(given)
    values: dict[str, object] = {}
    reasons = []
    for name, one in known.items():
        value = stated.get(name)
        try:
            values[name] = one.default if _is_empty(value) else _parsed(one.metadata["parse"], value)
        except ValueError as error:
            reasons.append(f"{PREFIX}{name.upper()}: {error}")
    if reasons:
        raise SettingsUnreadable("; ".join(reasons))
    return values


def whole(least: int, most: int) -> Parse:
    """Return a parser of whole numbers between both, which are allowed."""

    def parse(value: Any) -> int:  # noqa: ANN401
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return number

    return parse


def number(least: float, most: float, *, positive: bool = False) -> Parse:
    """Return a parser of numbers between both, which are allowed; with `positive`, 0 is not."""

    def parse(value: Any) -> float:  # noqa: ANN401
        try:
            parsed = float(value)
        except ValueError:
            parsed = least - 1
        if not least <= parsed <= most or (positive and parsed == 0):
            raise ValueError(f"expected a number from {least:.10g} to {most:.10g}{', but not 0' if positive else ''}")
        return parsed

    return parse


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _parsed(parse: Parse, value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("it holds a zero byte")
    return parse(value)


def _variables(environment: Mapping[str, str | None]) -> dict[str, object]:
    """Return the values of the variables with our prefix, in any case, by the names of the settings."""
    named = ((name.upper(), value) for name, value in environment.items())
    return {name.removeprefix(PREFIX).lower(): value for name, value in named if name.startswith(PREFIX)}


def _dotenv() -> dict[str, object]:
    if not DOTENV.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        return _variables(dotenv_values(DOTENV, encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsUnreadable(f".env: {type(error).__name__}; it must be a UTF-8 text file") from None
