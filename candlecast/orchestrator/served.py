"""The flows that `candlecast serve` runs.

Prefect imports a served flow by the name of its module, and puts the working directory first on the import path for it.
A folder called `flows` there would hide ours; this module's name cannot be hidden that way.
"""

from flows.backfill import backfill
from flows.daily import scheduled
from flows.study import study
from flows.verify import verify

__all__ = ["backfill", "scheduled", "study", "verify"]
