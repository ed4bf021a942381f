"""SIGTERM under Prefect: an order to stop that must not be lost, nor count as one more failure.

Prefect's handler raises TerminationSignal wherever the process happens to be. This module knows that exception by its
name, so that the steps run without Prefect.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

TERMINATION = "TerminationSignal"
_RESEND_AFTER_S = 0.1

_hook_before = sys.__unraisablehook__


def resend_lost_sigterm() -> None:
    """From now on, send SIGTERM again when Python dropped the exception it raised. Call it as a flow begins.

    In a destructor or a callback of the garbage collector, which importing TensorFlow keeps busy, the exception was
    printed and forgotten, and the day went on.
    """
    global _hook_before
    if sys.unraisablehook is not _hook:
        _hook_before, sys.unraisablehook = sys.unraisablehook, _hook


def _hook(dropped: "UnraisableHookArgs") -> None:
    if dropped.exc_type.__name__ != TERMINATION:
        _hook_before(dropped)
        return
    # A little later, from another thread: raised here it would be dropped once more.
    timer = threading.Timer(_RESEND_AFTER_S, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()


def reraise_termination(error: BaseException) -> None:
    """Re-raise TerminationSignal if a library turned SIGTERM into `error`. Call it in every handler that carries on.

    TerminationSignal is no Exception, but code in Rust or C++ may turn it into one that only mentions it: pydantic's
    SchemaError, while a model is first built.
    """
    at: BaseException | None = error
    while at is not None:
        if type(at).__name__ == TERMINATION:
            raise at
        if TERMINATION in str(at):
            # The exception itself is lost: its handler raises it anew.
            os.kill(os.getpid(), signal.SIGTERM)
            return
        at = at.__cause__ or at.__context__


@contextmanager
def ended_after(seconds: float | None) -> Iterator[None]:
    """End this process if the block still runs after `seconds`; without a number never.

    A time-out and SIGTERM are exceptions in the main thread. They cannot be raised while a library computes there, and
    without memory TensorFlow may do so for ever. The heartbeats go on meanwhile, so the run would be called Running,
    and keep the next day from starting.
    """
    if seconds is None:
        yield
        return
    timer = threading.Timer(
        seconds, _end, [f"candlecast: this run still hangs after {seconds:g} s; it is ended\n".encode()]
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(last_words: bytes) -> None:
    # Both need no memory.
    os.write(2, last_words)
    os._exit(1)
