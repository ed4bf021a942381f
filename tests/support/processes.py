"""Ending processes that were started in a new session."""

import contextlib
import os
import signal
import subprocess
from typing import Any


def kill_session(process: "subprocess.Popen[Any]") -> None:
    """Kill -9 a process and its whole session, and wait for its end; it may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
