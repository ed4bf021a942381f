"""The flows that `candlecast serve` runs.

Prefect imports a served flow by the name of its module, and puts the working directory first on the import path for it.
A folder called `flows` there would hide ours; this module's name cannot be hidden that way.

A flow is imported when it is asked for: the study brings TensorFlow, which a day that waits must not hold.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect import Flow

_MODULES = {
    "backfill": "flows.backfill",
    "scheduled": "flows.daily",
    "study": "flows.study",
    "verify": "flows.verify",
}


def __getattr__(name: str) -> "Flow[..., Any]":
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    flow: Flow[..., Any] = getattr(import_module(_MODULES[name]), name)
    return flow
