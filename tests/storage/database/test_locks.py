"""Locks between processes: one process holds a lock at a time, and a lock is freed when its holder dies."""

import subprocess
import sys
import threading
import time

from sqlalchemy import Engine

from storage.database.locks import locked

HOLD = """
import sys, time
from storage.database.engine import make_engine
from storage.database.locks import locked
with locked(make_engine(sys.argv[1]), "day"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(database_url: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, database_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_that_is_free_is_taken_at_once_and_again_after(engine: Engine) -> None:
    waited: list[bool] = []
    for _ in range(2):
        with locked(engine, "day", waiting=lambda: waited.append(True)):
            pass
    assert waited == []


def test_another_process_waits_and_a_killed_holder_holds_nothing(engine: Engine, database_url: str) -> None:
    process = holder(database_url)
    waited, got = threading.Event(), threading.Event()

    def take() -> None:
        with locked(engine, "day", waiting=waited.set):
            got.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert waited.wait(20)
    time.sleep(0.7)
    assert not got.is_set()
    process.kill()
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
    assert got.wait(20)
    thread.join()


def test_another_name_is_another_lock(engine: Engine, database_url: str) -> None:
    process = holder(database_url)
    waited: list[bool] = []
    with locked(engine, "night", waiting=lambda: waited.append(True)):
        assert waited == []
    process.kill()
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
