"""A clock of several runs at once, in processes that share a folder: it jumps when all of them wait."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from waiting import SharedClock

NEVER = datetime.max.replace(tzinfo=UTC)
# In real time: a run that imports and forecasts for longer has died.
PATIENCE_S = 240


class AgreedClock(SharedClock):
    """The shared clock of one run (`name`) of so many `runs`; it jumps to the nearest moment that one waits for."""

    def __init__(self, file: Path, name: str, *, runs: int, start: datetime | None = None) -> None:
        self._name, self._runs = name, runs
        self._wishes = file.with_suffix(".wishes")
        super().__init__(file, start)

    def seconds_until(self, instant: datetime, *, asking: bool) -> float:
        if asking:
            return 60.0
        began = time.monotonic()
        self._wish(instant)
        while not self._comes_true(instant):
            if time.monotonic() - began > PATIENCE_S:
                raise TimeoutError(f"another run neither waits nor ends: {self._wishes.read_text()}")
            time.sleep(0.003)
        return 0.0

    def leave(self) -> None:
        """Let the other runs go on alone."""
        self._wish(NEVER)

    def _wish(self, instant: datetime) -> None:
        with FileLock(f"{self._wishes}.lock"):
            wishes = json.loads(self._wishes.read_text()) if self._wishes.exists() else {}
            self._wishes.write_text(json.dumps(wishes | {self._name: instant.isoformat()}))

    def _comes_true(self, instant: datetime) -> bool:
        """Jump if all runs wait; returns whether the moment of this one is there, and then takes its wish back."""
        with FileLock(f"{self._wishes}.lock"):
            wishes = {name: datetime.fromisoformat(wish) for name, wish in json.loads(self._wishes.read_text()).items()}
            if len(wishes) == self._runs:
                self.at = max(self.at, min(wishes.values()))
            if instant > self.at:
                return False
            del wishes[self._name]
            self._wishes.write_text(json.dumps({name: wish.isoformat() for name, wish in wishes.items()}))
            return True
