"""What a test does when a reason it needs is not there."""

import os

import pytest


def skip_or_fail(reason: str) -> None:
    """Skip with `reason`, or fail where CI promised to have installed it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI=true says it should be here")
    pytest.skip(reason)
