"""Where the series of a backfill run: in this process, in several processes, or on a Dask cluster."""

import os
from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

DASK = "dask://"
PROCESSES = "processes"


class UnknownRunner(ValueError):
    """The setting names no known task runner; the message lists them."""


def task_runner(setting: str, *, pieces: int) -> TaskRunner[Any]:
    """Return the task runner that `setting` names, for this number of pieces of work.

    Empty: in this process, one piece after the other, each using all cores. `processes`, `processes:N`: in N processes
    on this machine (without N, one per core). `dask://HOST:PORT`: on an existing cluster.
    """
    if not setting:
        return ThreadPoolTaskRunner(max_workers=1)
    if setting.startswith(DASK):
        return _dask(setting.removeprefix(DASK))
    name, _, count = setting.partition(":")
    if name == PROCESSES and (not count or count.isdigit()) and count != "0":
        return ProcessPoolTaskRunner(max_workers=min(int(count or os.cpu_count() or 1), max(pieces, 1)))
    raise UnknownRunner(
        f"expected CANDLECAST_TASK_RUNNER to be empty, processes, processes:N or dask://HOST:PORT, got {setting!r}"
    )


def _dask(address: str) -> TaskRunner[Any]:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise UnknownRunner("dask:// needs the extra: pip install 'candlecast[dask]'") from None
    runner: TaskRunner[Any] = DaskTaskRunner(address=f"tcp://{address}")
    return runner
