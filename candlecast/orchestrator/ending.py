"""A server ends with the command that started it, however that command ends, even by kill -9."""

import os
import signal
import threading
import time

# A server that does not end by itself in this time is ended.
GRACE_S = 20


def end_with_input() -> None:
    """End this process when its standard input closes: the input is a pipe from the command that started it."""
    threading.Thread(target=_end, daemon=True).start()


def _end() -> None:
    # Not by sys.stdin, whose lock this thread would hold when another signal ends the process: Python then aborts.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)
