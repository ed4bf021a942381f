"""Where tasks that can run beside each other run: in this process, in several, or on a Dask cluster."""

import os
from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

DASK = "dask://"
PROCESSES = "processes"


class UnknownRunner(ValueError):
    """The setting names no task runner; the message says which there are."""


def task_runner(setting: str, *, pieces: int) -> TaskRunner[Any]:
    """Return the runner that `setting` names for so many pieces of work.

    Empty: one piece after the other, here, where each uses all cores. `processes` or `processes:N`: that many at a time
    on this machine (without N one a core), each in a process of its own. `dask://HOST:PORT`: on an existing cluster.
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
