"""Ending processes that were started in a session of their own."""

import contextlib
import os
import signal
import subprocess
from typing import Any


def kill_session(process: "subprocess.Popen[Any]") -> None:
    """Kill -9 a process and its whole session, and wait for its end; it may be over already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
