"""Progress of long work: a line in the log now and then, and a bar in Prefect's UI."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from models.interface import Progress
from tasks.steps.report import Report

SECONDS_BETWEEN_REPORTS = 5.0


@contextmanager
def reported_progress(what: str) -> Iterator[Progress]:
    """Yield a progress callback for `what` that reports to the task run's log and to Prefect's UI."""
    reporter = _Reporter(what, get_run_logger())
    yield reporter
    reporter.finish()


def run_report() -> Report:
    """Return a report to the log and the page of the Prefect task run that is going on."""
    return Report(get_run_logger().info, reported_progress)


class _Reporter:
    def __init__(self, what: str, logger: "logging.Logger | logging.LoggerAdapter[logging.Logger]") -> None:
        self._what, self._logger = what, logger
        self._reported_at = time.monotonic()
        self._artifact: UUID | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        if time.monotonic() - self._reported_at < SECONDS_BETWEEN_REPORTS:
            return
        self._reported_at = time.monotonic()
        self._logger.info("%s: %s, %d of %d", self._what, what, done, total)
        self._show(100.0 * done / max(total, 1))

    def finish(self) -> None:
        if self._artifact is not None:
            self._show(100.0)

    def _show(self, percent: float) -> None:
        if self._artifact is None:
            artifact = create_progress_artifact(progress=percent, description=self._what)
            self._artifact = artifact if isinstance(artifact, UUID) else None
        else:
            update_progress_artifact(self._artifact, progress=percent)
