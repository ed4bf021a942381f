"""Work in threads that may never come back: a library without memory can spin in its own code for ever."""

import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

from models.errors import TrainingFailed

R = TypeVar("R")

# The longest time without a step is that until the first one, when the graph is compiled: seconds, on a slow machine a
# minute.
STALLED_AFTER_S = 900.0
# A thread that is asked to stop does so after its current call of the graph, which takes a second.
STOPS_WITHIN_S = 20.0


@contextmanager
def in_threads(work: Callable[[int], R], count: int, *, workers: int, stop: Event) -> Iterator[list[Future[R]]]:
    """Yield the futures of work(0) to work(count - 1), which run in `workers` threads.

    At the end `stop` is set and waited for, but not for ever: threads of a ThreadPoolExecutor would keep the process
    from ending while one of them is inside a library that does not return.
    """
    futures: list[Future[R]] = [Future() for _ in range(count)]
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
        todo.put(number)

    def run() -> None:
        while True:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            if futures[number].set_running_or_notify_cancel():
                try:
                    futures[number].set_result(work(number))
                except BaseException as error:
                    futures[number].set_exception(error)

    try:
        for _ in range(workers):
            Thread(target=run, name="training", daemon=True).start()
        yield futures
    finally:
        stop.set()
        wait([future for future in futures if not future.cancel()], timeout=STOPS_WITHIN_S)


class StallCheck:
    """Notices that a training makes no steps any more."""

    def __init__(self) -> None:
        self._done = 0
        self._since = time.monotonic()

    def __call__(self, done: int) -> None:
        """Take how many steps are done; raises TrainingFailed if there was no new one for STALLED_AFTER_S."""
        if done != self._done:
            self._done, self._since = done, time.monotonic()
        elif time.monotonic() - self._since > STALLED_AFTER_S:
            raise TrainingFailed(
                f"training made no step in {STALLED_AFTER_S:g} s, after {done} of them; was there enough memory? "
                "The next run trains again"
            )
