"""Being told to stop: an order that must not count as one more thing that failed."""

import signal

from prefect.exceptions import TerminationSignal


def heed(error: BaseException) -> None:
    """Raise the order to stop again if `error` is what a library made of it; to be asked before going on after errors.

    On SIGTERM Prefect raises TerminationSignal wherever the process happens to be. It is no Exception, but code in Rust
    or C++ on the way may turn it into one that only tells of it: pydantic's SchemaError, while a model is first built.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, TerminationSignal) or TerminationSignal.__name__ in str(at):
            raise TerminationSignal(signal.SIGTERM) from error
        at = at.__cause__ or at.__context__
