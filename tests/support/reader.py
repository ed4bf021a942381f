"""A reader beside the days: another user's process, which may not write the database, reads it again and again.

As a program: reader.py URL.
"""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from users import NOBODY

ROOT = Path(__file__).parents[2]
PAUSE_S = 0.5
CHANGED = "was changed while it was read"


class Reader:
    """That process; use as a context manager once the database is there."""

    def __init__(self, url: str) -> None:
        path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        self._process = subprocess.Popen(
            [sys.executable, __file__, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip

    def look(self) -> dict[str, Any]:
        """Return what it reads now, with how often it has read so far and how often it had to repeat that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the reader has ended with an error"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)


def read(url: str) -> dict[str, Any]:
    """Return how many forecasts and scores the database has, and the origins of the newest forecasts."""
    from sqlalchemy import text

    from storage.database.engine import open_for_reading, reading

    engine = open_for_reading(url)
    try:
        with reading(engine) as conn:
            counts = conn.execute(text("SELECT (SELECT count(*) FROM forecasts), (SELECT count(*) FROM scores)")).one()
            newest = conn.execute(text("SELECT series, max(origin) FROM latest_forecasts GROUP BY series")).tuples()
            return {"counts": list(counts), "newest": dict(newest.all())}
    finally:
        engine.dispose()


def main(url: str) -> None:
    """Read until the input ends, and answer each line of it with what is read."""
    from storage.errors import DatabaseUnusable

    # Imports first: the other user may not be able to.
    before = read(url)["counts"]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        assert not os.access(Path(url.removeprefix("sqlite:///")), os.W_OK)
        assert not os.access(Path(url.removeprefix("sqlite:///")).parent, os.W_OK)
    looks = repeated = 0
    while True:
        asked = bool(select.select([sys.stdin], [], [], PAUSE_S)[0])
        if asked and sys.stdin.readline() == "":
            return
        while True:
            looks += 1
            try:
                now = read(url)
                break
            except DatabaseUnusable as error:
                # Only where nobody had the database open when the look began.
                if CHANGED not in str(error):
                    raise
                repeated += 1
        assert now["counts"] >= before, "what was stored is not there any more"
        before = now["counts"]
        if asked:
            print(json.dumps(now | {"looks": looks, "repeated": repeated}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
