"""An order to stop is obeyed even where a library has made an ordinary error of it."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from prefect.exceptions import TerminationSignal
from pydantic_core import SchemaError, SchemaValidator

from tasks.stopping import heed


@pytest.fixture
def as_prefect_does() -> Iterator[None]:
    """SIGTERM raises TerminationSignal wherever this process is."""

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


@pytest.mark.usefixtures("as_prefect_does")
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
    assert swallowed is not None, "pydantic lets signals through now: heed may go"
    with pytest.raises(TerminationSignal):
        heed(swallowed)


def test_other_errors_are_let_pass() -> None:
    try:
        try:
            raise KeyError("one")
        except KeyError as inner:
            raise ValueError("two") from inner
    except ValueError as error:
        heed(error)
