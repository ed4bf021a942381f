"""How old is the data? Stale data is a finding and an event, whether or not the source answered."""

from datetime import datetime

from sqlalchemy import Engine

from models.candles import Finding, SeriesName
from storage.database.engine import reading, writing
from storage.findings import read_findings, record_findings
from storage.health import AGE_CODES, check_age


def note_age(engine: Engine, *, series: str, now: datetime) -> Finding | None:
    """Return the finding when the newest closed candle is too old; recorded once, so as a rule this writes nothing."""
    with reading(engine) as conn:
        seen = check_age(conn, series=series, interval=SeriesName.parse(series).interval, now=now)
        noted = any(finding.code in AGE_CODES for finding in read_findings(conn, series=series))
    if bool(seen) != noted:
        with writing(engine) as conn:
            record_findings(conn, series=series, codes=AGE_CODES, seen=seen, now=now)
    return seen[0] if seen else None
