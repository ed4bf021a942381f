"""An ordinary user, for what root may always do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Run the block as the user nobody if root runs the tests, because root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def reader_of(folder: Path) -> Iterator[None]:
    """Run the block as a user who may not write in `folder`, which belongs to the user who runs the tests."""
    if os.geteuid() == 0:
        with ordinary_user():
            yield
        return
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)
