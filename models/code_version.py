"""Which code computed a number: the release, and a hash of the files that hold the arithmetic."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def code_version() -> str:
    """Return a name for the numerics as they are installed, such as `0.1.0+models.1f0c9a44b2d7`.

    The hash covers every source file of this folder, so it tells apart two working trees of one release and
    needs no version control on the machine that runs.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version('candlecast')}+models.{digest.hexdigest()[:12]}"
