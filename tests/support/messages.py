"""SQL that compares what simulated days said of their data with what was wrong: findings, and refused downloads."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from math import isclose, log

from faulty_source import RECORDED, FaultySource, FileContent
from timetable import DAY

# What every model needs before it forecasts a series.
FEWEST = 60
# A change up to this share is none.
SAME = 1e-9
# One candle moves the width of tomorrow's band by no more than this factor (docs/forecasting.md); the days between two
# forecasts do a little, too.
MOST_FACTOR = {"naive": 1.5, "range-ewma": 2.5, "lstm": 2.5}
ORDINARY = 1.3

Closes = Mapping[datetime, float]


def sql_time(moment: datetime) -> str:
    """How SQLite holds a moment."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def changed(closes: Closes, file: FileContent) -> bool:
    """Whether a file gives a candle another close than the newest files did."""
    return any(
        opened in closes and not isclose(close, closes[opened], rel_tol=SAME) for opened, close in file.closes.items()
    )


class Messages:
    """What has to be said of each series, noted while its day is prepared, and the SQL that looks whether it was."""

    def __init__(self, source: FaultySource, wicks: Mapping[str, datetime]) -> None:
        self.source, self.wicks = source, wicks
        self.files: dict[str, FileContent] = {}
        self.revised: set[str] = set()
        self.spoiled: dict[str, str] = {}
        self.start: datetime | None = None
        self.widths: dict[tuple[str, str], float] = {}

    def begin(self, start: datetime) -> None:
        """Note the faults of the day that begins at `start`."""
        self.start, self.revised = start, set()
        faults = {series: self.source.fault(series, start) for series in self.source.markets}
        self.spoiled = {series: fault for series, fault in faults.items() if fault in RECORDED}

    def file(self, series: str, file: FileContent, closes: Closes) -> None:
        """Note what is to be said of a file that follows files with `closes`."""
        self.files[series] = file
        if changed(closes, file):
            self.revised.add(series)

    def check(self, conn: sqlite3.Connection, closes: Mapping[str, Closes], last: int) -> None:
        """Check what was said since `begin`; `last` is the newest forecast before."""
        assert self.start is not None
        for series, known in closes.items():
            findings = {
                code: (message, first)
                for code, message, first in conn.execute(
                    "SELECT code, message, first_time FROM findings WHERE series = ? AND resolved_at IS NULL", [series]
                )
            }
            assert ("young" in findings) == (len(known) < FEWEST), (series, len(known), findings)
            missing = (max(known) - min(known)) // DAY + 1 - len(known)
            assert ("gap" in findings) == (missing > 0), (series, missing, findings)
            wick = self.wicks.get(series)
            has_wick = wick is not None and wick in self.files[series].closes
            assert ("wick" in findings) == has_wick, (series, findings)
            assert not has_wick or findings["wick"][1] == sql_time(wick), findings
            if series in self.revised:
                rows = conn.execute(
                    "SELECT count(*) FROM findings WHERE series = ? AND code = 'revision' AND (resolved_at IS NULL OR "
                    "found_at >= ?)",
                    [series, sql_time(self.start)],
                )
                assert rows.fetchone() > (0,), series
        for series, fault in self.spoiled.items():
            outcomes = conn.execute(
                "SELECT outcome, reason FROM downloads WHERE series = ? AND fetched_at >= ? ORDER BY id LIMIT 1",
                [series, sql_time(self.start)],
            ).fetchall()
            assert [outcome for outcome, _ in outcomes] == [RECORDED[fault]], (series, fault, outcomes)
            assert outcomes[0][1], (series, fault)
        self._widths(conn, last)

    def _widths(self, conn: sqlite3.Connection, last: int) -> None:
        """No candle, and so no day, moves the width of tomorrow's band by more than a stated factor."""
        rows = conn.execute(
            "SELECT f.series, f.model, max(v.value) / min(v.value) FROM forecasts f JOIN forecast_values v ON "
            "v.forecast = f.id WHERE f.kind = 'live' AND f.id > ? AND v.step = 1 AND v.quantile IN (0.1, 0.9) "
            "GROUP BY f.id ORDER BY f.origin",
            [last],
        )
        for series, model, ratio in rows:
            width = log(ratio)
            before = self.widths.get((series, model), width)
            most = MOST_FACTOR[model] * ORDINARY
            assert before / most < width < before * most, (series, model, before, width)
            self.widths[series, model] = width
