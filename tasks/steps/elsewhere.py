"""Where the day's steps run: in this process, or in a child whose memory is given back while the day waits."""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Engine

from storage.database.engine import make_engine

P = ParamSpec("P")
T = TypeVar("T")


class ChildEnded(RuntimeError):
    """The child process ended in the middle of a step: it was killed, or had no memory left."""


class Steps(Protocol):
    """Calls a step with the run's database."""

    def __call__(self, step: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `step(engine, ...)`."""
        ...

    def rest(self) -> None:
        """Give back what is held only for steps; the next one takes it again."""
        ...


class InThisProcess:
    """Calls steps here: nothing has to be started or imported twice."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, step: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `step(engine, ...)`."""
        return step(self._engine, *args, **kwargs)

    def rest(self) -> None:
        """Do nothing."""


class InChild:
    """Calls steps in a child process, which the first call starts and `rest` ends.

    Once imported, TensorFlow and pandas stay in a process for good, and a day waits for hours. The child reads its
    calls from a pipe, so it ends with this process, even when that is killed.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection[Any, Any] | None = None

    def __call__(self, step: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `step(engine, ...)`; raises what it raised, and ChildEnded when the child did not survive it."""
        if self._process is not None and not self._process.is_alive():
            self.rest()
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send((step, args, kwargs))
            result, error = self._pipe.recv()
        except (EOFError, OSError):
            assert self._process is not None
            self._process.join(5)
            code = self._process.exitcode
            self.rest()
            raise ChildEnded(
                f"the process that ran {step.__name__} ended with code {code}; was it killed, or out of memory?"
            ) from None
        except BaseException:
            # What comes back later would be taken for the answer to the next call.
            self.rest()
            raise
        if error is not None:
            raise error
        value: T = result
        return value

    def rest(self) -> None:
        """End the child."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process.close()
        self._pipe = self._process = None

    def _start(self) -> None:
        # Spawned: a fork would copy the locks that this process's other threads hold.
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_serve, args=(theirs, self._database_url), name="candlecast-steps", daemon=True
        )
        self._process.start()
        theirs.close()


def _serve(orders: "Connection[Any, Any]", database_url: str) -> None:
    """Call the steps that come until there are no more."""
    # Ctrl-C is for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    engine = make_engine(database_url)
    while True:
        try:
            step, args, kwargs = orders.recv()
        except EOFError:
            return
        result: Any = None
        error: Exception | None = None
        try:
            result = step(engine, *args, **kwargs)
        except Exception as raised:
            error = raised
        try:
            orders.send((result, error))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception:
            # An error that cannot be pickled is sent as its message.
            orders.send((None, RuntimeError(f"{type(error).__name__}: {error}")))
