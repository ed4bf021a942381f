"""SIGTERM stops a process even if a library turned its exception into another one or dropped it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prefect.exceptions import TerminationSignal
from pydantic_core import SchemaError, SchemaValidator

from tasks.steps.termination import reraise_termination, resend_lost_sigterm


@pytest.fixture
def sigterm_raises() -> Iterator[None]:
    """SIGTERM raises TerminationSignal in this process, as under Prefect."""

    def stop(number: int, _frame: object) -> None:
        raise TerminationSignal(signal=number)

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def build_models() -> None:
    """Build pydantic validators for ever; pydantic's Rust code calls Python for the patterns."""
    number = 0
    while True:
        number += 1
        SchemaValidator({"type": "str", "pattern": f"(a|b)+{number}", "regex_engine": "python-re"})


@pytest.mark.usefixtures("sigterm_raises")
def test_sigterm_that_pydantic_turned_into_a_schema_error_is_raised_again() -> None:
    swallowed = None
    for _ in range(50):
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
        try:
            build_models()
        except SchemaError as error:
            swallowed = error
            break
        except TerminationSignal:
            continue
    assert swallowed is not None, "pydantic lets signals through now: reraise_termination may go"
    with pytest.raises(TerminationSignal):
        reraise_termination(swallowed)


def test_other_errors_are_not_raised_again() -> None:
    try:
        try:
            raise KeyError("one")
        except KeyError as inner:
            raise ValueError("two") from inner
    except ValueError as error:
        reraise_termination(error)


class StoppedInItsDestructor:
    """An object that sends SIGTERM in its destructor, where Python drops exceptions."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


@pytest.mark.usefixtures("sigterm_raises")
def test_sigterm_that_python_dropped_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    resend_lost_sigterm()
    resend_lost_sigterm()
    instance = StoppedInItsDestructor()
    del instance
    with pytest.raises(TerminationSignal):
        time.sleep(10)


@pytest.mark.usefixtures("sigterm_raises")
def test_other_dropped_errors_reach_the_previous_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: reported.append(dropped.exc_type))
    resend_lost_sigterm()

    class Broken:
        def __del__(self) -> None:
            raise ValueError

    instance = Broken()
    del instance
    assert reported == [ValueError]


# As TensorFlow without memory: the call never returns, and the main thread hears neither SIGALRM nor SIGTERM.
HANGS = """
import signal
from ctypes import CDLL
from tasks.steps.termination import ended_after

for number in (signal.SIGALRM, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
with ended_after(0.5):
    while True:
        CDLL(None).pause()
"""


def test_a_process_that_hangs_in_a_library_is_ended_with_a_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "candlecast: this run still hangs after 0.5 s; it is ended\n")


def test_what_ends_in_time_or_has_no_time_out_is_left_alone() -> None:
    program = """
import time
from tasks.steps.termination import ended_after

with ended_after(0.5), ended_after(None):
    pass
time.sleep(1)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
