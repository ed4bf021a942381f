"""Being told to stop: an order that must not count as one more thing that failed."""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from prefect.exceptions import TerminationSignal

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_S = 0.1


def insist() -> None:
    """From now on, have SIGTERM come again when it came where Python drops errors; to be called as a flow begins.

    On SIGTERM Prefect raises TerminationSignal wherever the process happens to be. In a destructor or a callback of the
    garbage collector, which importing TensorFlow keeps busy, it was printed and forgotten, and the day went on.
    """
    global _before
    if sys.unraisablehook is not _hook:
        _before, sys.unraisablehook = sys.unraisablehook, _hook


_before = sys.__unraisablehook__


def _hook(dropped: "UnraisableHookArgs") -> None:
    if not isinstance(dropped.exc_value, TerminationSignal):
        _before(dropped)
        return
    # A little later, from another thread: raised here it would be dropped once more.
    again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGTERM))
    again.daemon = True
    again.start()


def heed(error: BaseException) -> None:
    """Raise the order to stop again if `error` is what a library made of it; to be asked before going on after errors.

    TerminationSignal is no Exception, but code in Rust or C++ on its way may turn it into one that only tells of it:
    pydantic's SchemaError, while a model is first built.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, TerminationSignal) or TerminationSignal.__name__ in str(at):
            raise TerminationSignal(signal.SIGTERM) from error
        at = at.__cause__ or at.__context__
