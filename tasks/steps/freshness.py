"""How old is the data? Stale data and late candles are findings and events, whether or not the source answered."""

from datetime import datetime

from sqlalchemy import Engine

from models.candles import Finding, SeriesName, Severity
from models.waiting import close_words
from storage.candles import latest_close_time
from storage.database.engine import reading
from storage.health import AGE_CODES, check_age
from tasks.steps.findings import open_findings, record_changes

LATE = "late"


def note_age(engine: Engine, *, series: str, now: datetime) -> Finding | None:
    """Return the finding when the newest closed candle is too old; recorded once, so as a rule this writes nothing."""
    with reading(engine) as conn:
        seen = check_age(conn, series=series, interval=SeriesName.parse(series).interval, now=now)
    record_changes(engine, series=series, codes=AGE_CODES, seen=seen, now=now)
    return seen[0] if seen else None


def note_late(engine: Engine, *, series: str, due: datetime, given_up: bool, now: datetime) -> Finding | None:
    """Return the finding when the candle that closed at `due` was given up and is not stored; else close what was open.

    Writes nothing for a series that is not stored, and as a rule nothing at all.
    """
    interval = SeriesName.parse(series).interval
    with reading(engine) as conn:
        latest = latest_close_time(conn, series=series)
    if latest is None:
        return None
    seen: list[Finding] = []
    # A finding stays open until the candle it speaks of is there.
    noted = open_findings(engine, series=series, codes={LATE})
    still = any(finding.first_time is not None and finding.first_time >= latest for finding in noted)
    if latest < due and (given_up or still):
        missing = (due - latest) // interval.length
        seen.append(
            Finding(
                LATE,
                Severity.WARNING,
                f"{close_words(latest + interval.length, interval)} has not been published in time",
                "the next run asks again and stores all missing candles; if the source often publishes after the wait, "
                "raise CANDLECAST_WAIT_HOURS; if it no longer serves this series, remove it from CANDLECAST_SERIES",
                missing,
                # The first that is missing, so that a source that stays away is one finding.
                latest,
                latest,
            )
        )
    record_changes(engine, series=series, codes={LATE}, seen=seen, now=now)
    return seen[0] if seen else None
