"""Locks between processes: one process holds a lock at a time, and a lock is freed when its holder dies."""

import subprocess
import sys
import threading
import time

from sqlalchemy import Engine, text

from storage.database.locks import locked

HOLD = """
import sys, time
from storage.database.engine import make_engine
from storage.database.locks import locked
with locked(make_engine(sys.argv[1]), "day"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold_lock(database_url: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, database_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_free_lock_is_taken_without_waiting(engine: Engine) -> None:
    waits: list[bool] = []
    for _ in range(2):
        with locked(engine, "day", waiting=lambda: waits.append(True)):
            pass
    assert waits == []


def test_a_lock_is_waited_for_and_freed_when_its_holder_is_killed(engine: Engine, database_url: str) -> None:
    process = hold_lock(database_url)
    waiting, locked_here = threading.Event(), threading.Event()

    def take() -> None:
        with locked(engine, "day", waiting=waiting.set):
            locked_here.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert waiting.wait(20)
    time.sleep(0.7)
    assert not locked_here.is_set()
    process.kill()
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
    assert locked_here.wait(20)
    thread.join()


def test_a_lock_whose_connection_broke_is_reported_at_the_end_and_is_no_error(postgresql_engine: Engine) -> None:
    lost: list[bool] = []
    name = postgresql_engine.url.database
    others = "FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
    ended = text(f"SELECT count(pg_terminate_backend(pid)) {others}")
    with locked(postgresql_engine, "day", lost=lambda: lost.append(True)):
        with postgresql_engine.connect() as conn:
            assert conn.execute(ended, {"name": name}).scalar() == 1
            # It is free: the server knows that its holder is gone.
            with locked(postgresql_engine, "day", waiting=lambda: lost.append(False)):
                pass
        assert lost == []
    assert lost == [True]


def test_another_name_is_another_lock(engine: Engine, database_url: str) -> None:
    process = hold_lock(database_url)
    waits: list[bool] = []
    with locked(engine, "night", waiting=lambda: waits.append(True)):
        assert waits == []
    process.kill()
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
