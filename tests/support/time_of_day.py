"""A time of day that jumps, for processes that need not know: the days of a week pass in minutes."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from missing import skip_or_fail

SOURCE = Path(__file__).with_suffix(".c")


class TimeOfDay:
    """The time of day of the processes that have `environment`: it goes on like the real one, from `start` on.

    libfaketime 0.9.10 was tried first. If it leaves the monotonic clock as it is, `time.sleep` of Python 3.11 fails
    under it; if it moves that clock too, waits end early at a jump.
    """

    def __init__(self, folder: Path, start: datetime) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            skip_or_fail("no C compiler is installed")
        assert compiler is not None
        folder.mkdir(parents=True, exist_ok=True)
        library, self._file = folder / "time_of_day.so", folder / "ahead"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        self._file.write_bytes(bytes(8))
        self.jump_to(start)
        self.environment = {"LD_PRELOAD": str(library), "TIME_OF_DAY_AHEAD": str(self._file)}

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + self._ahead_s, UTC)

    def jump_to(self, instant: datetime) -> None:
        """Make it `instant` now, to the second."""
        self._ahead_s = round((instant - datetime.now(UTC)).total_seconds())
        with self._file.open("r+b") as file:
            file.write(self._ahead_s.to_bytes(8, "little", signed=True))
