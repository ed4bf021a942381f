"""Skips a test, or fails it in CI, when a program that it needs is not installed."""

import os

import pytest


def skip_or_fail(reason: str) -> None:
    """Skip with `reason`, or fail in CI, which installs every program."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true every program must be installed")
    pytest.skip(reason)
