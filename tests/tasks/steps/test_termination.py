"""SIGTERM stops a process even if a library turned its exception into another one or dropped it."""

import os
import signal
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
