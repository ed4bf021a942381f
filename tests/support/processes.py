"""Finding the processes of an installation, and ending those that were started in a new session."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any


def kill_session(process: "subprocess.Popen[Any]") -> None:
    """Kill -9 a process and its whole session, and wait for its end; it may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)


def processes_of(folder: Path) -> dict[int, str]:
    """Return the commands of all processes whose environment names `folder`, by their ids."""
    running = {}
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and str(folder).encode() in (process / "environ").read_bytes():
                running[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return running


def flow_processes_of(folder: Path) -> list[int]:
    """Return the processes in which a worker runs a flow of the installation in `folder`."""
    return [pid for pid, command in processes_of(folder).items() if "prefect" in command and "worker" not in command]


def resident_mb(pid: int) -> float:
    """Return the megabytes of memory that a process holds now."""
    return int((Path("/proc") / str(pid) / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024
