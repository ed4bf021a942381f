"""A training that hangs inside a library is given up with a sentence, and its process can end."""

import subprocess
import sys
import threading
import time

import pytest

from models.errors import TrainingFailed
from models.lstm import threads
from models.lstm.threads import StallCheck, in_threads

# As TensorFlow without memory: the call never returns, and no Python code runs in it.
HANGS = """
import sys, threading
from concurrent.futures import wait
from ctypes import CDLL
from models.errors import TrainingFailed
from models.lstm import fleet, threads

threads.STALLED_AFTER_S, threads.STOPS_WITHIN_S = 1.0, 0.5
fleet._compiled_steps = lambda *settings: lambda *arguments: CDLL(None).pause()
sys.argv = ["-"]
import numpy as np
from models.lstm.network import NetworkConfig
features, targets = np.zeros((200, 2), np.float32), np.zeros((200, 1), np.float32)
members = [fleet.Member(((0, 200),), (0,), 1)]
try:
    fleet.train_fleet(features, targets, members, network=NetworkConfig(2, horizon=1))
except TrainingFailed as error:
    sys.exit(str(error))
"""


def test_a_training_that_hangs_fails_with_a_sentence_and_its_process_ends() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "training made no step in 1 s, after 0 of them; was there enough memory?" in done.stderr


def test_work_is_done_in_threads_and_its_errors_are_raised() -> None:
    with in_threads(lambda number: 10 // (number - 3), 5, workers=2, stop=threading.Event()) as futures:
        assert [future.result(10) for future in futures[:3] + futures[4:]] == [-4, -5, -10, 10]
        with pytest.raises(ZeroDivisionError):
            futures[3].result(10)


def test_what_has_not_begun_is_not_done_and_what_runs_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "STOPS_WITHIN_S", 10.0)
    stop, begun = threading.Event(), []

    def work(number: int) -> None:
        begun.append(number)
        assert stop.wait(10)

    with in_threads(work, 5, workers=1, stop=stop) as futures:
        while not begun:
            time.sleep(0.01)
    assert begun == [0]
    assert [future.cancelled() for future in futures] == [False, True, True, True, True]
    assert futures[0].done()


def test_a_step_begins_the_wait_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(threads.time, "monotonic", lambda: now[0])
    check = StallCheck()
    for now[0], done in ((800.0, 0), (850.0, 1), (1700.0, 1), (1700.0, 2), (2600.0, 2)):
        check(done)
    now[0] = 2600.1
    with pytest.raises(TrainingFailed, match="no step in 900 s, after 2 of them"):
        check(2)
