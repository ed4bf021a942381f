"""SIGTERM stops a process even if a library turned it into an ordinary error."""

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
    """In these tests SIGTERM raises TerminationSignal at any point of this process, as under Prefect."""

    def stop(number: int, _frame: object) -> None:
        raise TerminationSignal(signal=number)

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def build_models() -> None:
    """Keep pydantic's Rust busy, which calls Python for its patterns."""
    number = 0
    while True:
        number += 1
        SchemaValidator({"type": "str", "pattern": f"(a|b)+{number}", "regex_engine": "python-re"})


@pytest.mark.usefixtures("sigterm_raises")
def test_sigterm_that_pydantic_made_a_schema_error_is_an_order_again() -> None:
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


def test_other_errors_are_let_pass() -> None:
    try:
        try:
            raise KeyError("one")
        except KeyError as inner:
            raise ValueError("two") from inner
    except ValueError as error:
        reraise_termination(error)


class StoppedInItsDestructor:
    """An object that is being deleted when SIGTERM comes; Python drops an exception raised there."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


@pytest.mark.usefixtures("sigterm_raises")
def test_sigterm_that_python_dropped_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    resend_lost_sigterm()
    resend_lost_sigterm()
    thing = StoppedInItsDestructor()
    del thing
    with pytest.raises(TerminationSignal):
        time.sleep(10)


@pytest.mark.usefixtures("sigterm_raises")
def test_other_dropped_errors_are_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: reported.append(dropped.exc_type))
    resend_lost_sigterm()

    class Broken:
        def __del__(self) -> None:
            raise ValueError

    thing = Broken()
    del thing
    assert reported == [ValueError]
