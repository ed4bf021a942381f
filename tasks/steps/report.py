"""Where a step says what it is doing: in Prefect's log and pages, in a terminal, or nowhere."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from models.interface import Progress, silent


@dataclass(frozen=True)
class Report:
    """`log` takes one sentence; `progress` opens a progress callback for the work it is given the name of."""

    log: Callable[[str], None]
    progress: Callable[[str], AbstractContextManager[Progress]]


def _unheard(message: str) -> None:
    """Drop `message`."""


@contextmanager
def _unseen(what: str) -> Iterator[Progress]:
    yield silent


SILENT = Report(_unheard, _unseen)
