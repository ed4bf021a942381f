"""Whether this machine can import the library that Keras computes with, found out in a process that may die of it.

TensorFlow is built for processors with AVX; on others it ends the process that imports it, which no handler can
prevent. A machine that has once passed is not asked again, as long as the library and the processor stay the same.
"""

import hashlib
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from models.errors import NetworksUnusable


def check_that_it_imports(library: str) -> None:
    """Raise NetworksUnusable if importing `library` fails or kills the process."""
    spec = find_spec(library)
    if spec is None or spec.origin is None:
        raise NetworksUnusable(f"{library} is not installed, so no network can be trained or forecast; install it")
    passed = _mark(Path(spec.origin))
    if passed.exists():
        return
    tried = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", f"import {library}"], capture_output=True, text=True, errors="replace", check=False
    )
    if tried.returncode != 0:
        raise NetworksUnusable(
            f"importing {library} {_how(tried.returncode, tried.stderr)}, so no network can be trained or forecast "
            "here. Most builds need a processor with AVX: reinstall it, use another machine, or set "
            "CANDLECAST_MODEL=range-ewma"
        )
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError:
        # Then the next process tries again, which takes seconds.
        return


def _how(code: int, errors: str) -> str:
    if code < 0:
        return f"kills the process ({signal.Signals(-code).name})"
    last = next(iter(reversed(errors.strip().splitlines())), f"exit code {code}")
    return f"fails ({last})"


def _mark(origin: Path) -> Path:
    """Return the file that stands for "this library was imported on this processor"."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "candlecast"
    file = origin.stat()
    facts = (str(origin), file.st_size, file.st_mtime_ns, sys.version, _processor())
    return folder / f"imports-{origin.parent.name}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
