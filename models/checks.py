"""Checks of a series' candles. Oddities come back as findings; nothing is changed, nothing is filled."""

from datetime import UTC, datetime

import numpy as np

from models.candles import Finding, Interval, Severity
from models.frames import CandleFrame


def check_candles(candles: CandleFrame, interval: Interval) -> list[Finding]:
    """Return what is odd about closed candles in time order: gaps and candles without any trade."""
    return [*_gaps(candles, interval), *_without_volume(candles)]


def _at(candles: CandleFrame, column: str, row: int) -> datetime:
    moment: datetime = candles[column].iloc[row].to_pydatetime()
    return moment.astimezone(UTC)


def _gaps(candles: CandleFrame, interval: Interval) -> list[Finding]:
    length = int(interval.length.total_seconds())
    opened = candles["open_time"].to_numpy("datetime64[s]").astype(np.int64)
    closed = candles["close_time"].to_numpy("datetime64[s]").astype(np.int64)
    holes = (opened[1:] - closed[:-1]) // length
    findings = []
    for row in np.flatnonzero(holes > 0):
        first, after = _at(candles, "close_time", int(row)), _at(candles, "open_time", int(row) + 1)
        findings.append(
            Finding(
                "gap",
                Severity.WARNING,
                f"{holes[row]} candles are missing between {first:%Y-%m-%d %H:%M} and {after:%Y-%m-%d %H:%M} UTC",
                "nothing is filled in; a later file of the source may bring them, then ingest again",
                int(holes[row]),
                first,
                after - interval.length,
            )
        )
    return findings


def _without_volume(candles: CandleFrame) -> list[Finding]:
    quiet = np.flatnonzero((candles["volume_base"].to_numpy() == 0) & (candles["high"] == candles["low"]).to_numpy())
    if not len(quiet):
        return []
    return [
        Finding(
            "zero-volume",
            Severity.INFO,
            f"{len(quiet)} candles saw no trade and repeat one price",
            "an outage of the exchange or a thin market; they are kept as they are",
            len(quiet),
            _at(candles, "open_time", int(quiet[0])),
            _at(candles, "open_time", int(quiet[-1])),
        )
    ]
