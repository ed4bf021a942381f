"""Days in processes of their own: one that says which state it has reached, to be killed there, and one beside another.

As a program: other_runs.py SERIES,... CLOCK (die STATE | beside RUNS).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agreed_clock import AgreedClock
from waiting import SharedClock, late_series, live_day

ROOT = Path(__file__).parents[2]
# In these a run rests until it is killed; the others are steps of its work, in which it is killed a moment later.
RESTS = ("waiting", "asking again", "another run works")
STEPS = ("ingest_series", "forecast_newest", "score_matured", "watch", "forecast_chart", "train")
STATES = (*RESTS, *STEPS)


def other_run(series: Sequence[str], clock_file: Path, *what: str) -> "subprocess.Popen[str]":
    """Start the day in another process, as a person would who has a proxy set."""
    from prefect.settings import PREFECT_API_URL

    inherited = {name: value for name, value in os.environ.items() if name.casefold() != "no_proxy"}
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, __file__, ",".join(series), str(clock_file), *what],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE if what[0] == "beside" else subprocess.DEVNULL, text=True,
        start_new_session=True,
        env=inherited | {"PYTHONPATH": path, "PREFECT_API_URL": PREFECT_API_URL.value()},
    )  # fmt: skip


def reaches(process: "subprocess.Popen[str]") -> bool:
    """Wait until a day reaches the state in which it is to be killed; False if it ends without."""
    assert process.stdout is not None
    return process.stdout.readline() != ""


class Reach:
    """Called with each state of a day, it prints the one in which the day is to be killed, and rests there."""

    def __init__(self, state: str) -> None:
        self._state, self._reached = state, False

    def __call__(self, state: str) -> None:
        if state == self._state and not self._reached:
            self._reached = True
            print(state, flush=True)
            if state in RESTS:
                time.sleep(600)


class WatchedClock(SharedClock):
    """A clock that says when the day waits; it goes to the process that does the work, too."""

    def __init__(self, file: Path, reach: Reach) -> None:
        super().__init__(file)
        self._reach = reach

    def seconds_until(self, instant: datetime, *, asking: bool) -> float:
        if not asking:
            self._reach("waiting")
        return super().seconds_until(instant, asking=asking)


def die(series: Sequence[str], clock_file: Path, state: str) -> None:
    """Run a day that prints a line when it reaches `state` for the first time."""
    import flows.daily
    from storage.source.client import CddClient
    from tasks.steps.elsewhere import InChild

    reach = Reach(state)
    call, lock, make = InChild.__call__, flows.daily.locked, CddClient.__init__

    def called(self: InChild, step: Any, *args: Any, **kwargs: Any) -> Any:
        reach(step.__name__)
        return call(self, step, *args, **kwargs)

    def locked(*args: Any, waiting: Any, **kwargs: Any) -> Any:
        def wait() -> None:
            reach("another run works")
            waiting()

        return lock(*args, waiting=wait, **kwargs)

    def client(self: CddClient, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs, sleep=lambda _seconds: reach("asking again"))

    for owner, name, value in (
        (InChild, "__call__", called), (flows.daily, "locked", locked), (CddClient, "__init__", client),
    ):  # fmt: skip
        setattr(owner, name, value)
    if state == "train":
        # This imports pandas, which a day that waits does not need.
        import flows.retrain

        train = flows.retrain.train_task

        def trained(*args: Any, **kwargs: Any) -> Any:
            reach("train")
            return train(*args, **kwargs)

        setattr(flows.retrain, "train_task", trained)  # noqa: B010
    live_day(WatchedClock(clock_file, reach), *series)


def beside(series: Sequence[str], clock_file: Path, runs: str) -> None:
    """Run a day beside others by their clock, and print which series are late."""
    clock = AgreedClock(clock_file, "beside", runs=int(runs))
    try:
        print(json.dumps(sorted(late_series(clock, series))))
    finally:
        clock.leave()


if __name__ == "__main__":
    from candlecast.orchestrator.defaults import set_prefect_defaults

    set_prefect_defaults()
    names, clock, task, argument = sys.argv[1:]
    {"die": die, "beside": beside}[task](names.split(","), Path(clock), argument)
