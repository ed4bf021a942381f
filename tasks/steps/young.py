"""Young markets: which models lack candles to forecast or to learn from, and from which close on they have them."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Engine

from models.candles import Finding, SeriesName, Severity
from models.catalog import family
from models.wording import close_name
from storage.candles import closed_count, latest_close_time
from storage.database.engine import reading
from tasks.steps.findings import record_changes
from tasks.steps.train import Due, learns_from

CODE = "young"
UNTRAINED = "untrained"


def lacks_candles(model: str, closed: int) -> bool:
    """Return whether `closed` candles are too few for a forecast by `model`."""
    return closed < family(model).min_candles


def note_young(
    engine: Engine, *, series: str, models: Iterable[str], closed: int, latest: datetime, now: datetime
) -> Finding | None:
    """Record as one finding which of `models` lack candles and when their forecasts begin; return it, None without any.

    `closed` is how many closed candles the series has, `latest` when the newest of them closed. The finding is closed
    when all of the models have enough.
    """
    interval = SeriesName.parse(series).interval
    by_need: dict[int, list[str]] = {}
    for name in dict.fromkeys(models):
        if lacks_candles(name, closed):
            by_need.setdefault(family(name).min_candles, []).append(name)
    seen = []
    if by_need:
        sentences = [
            f"{' and '.join(names)}: from the {close_name(latest + (need - closed) * interval.length, interval)} on "
            f"({need} candles)"
            for need, names in sorted(by_need.items())
        ]
        message = f"too few candles yet for some forecasts, which begin later; {', '.join(sentences)}"
        seen = [Finding(CODE, Severity.INFO, message, "wait; a gap in the candles delays it", len(by_need))]
    record_changes(engine, series=series, codes={CODE}, seen=seen, now=now)
    return seen[0] if seen else None


def note_untrained(
    engine: Engine, due: Due, *, model: str, leave_out: Sequence[str] = (), now: datetime
) -> Finding | None:
    """Record for the series of `due` that no market is long enough to learn from; return it, None where one is.

    The finding is closed when one is long enough.
    """
    needed = family(model).min_training
    with reading(engine) as conn:
        counts = {name: closed_count(conn, series=name) for name in learns_from(conn, due.scope, leave_out)}
        latest = {name: latest_close_time(conn, series=name) for name in counts}
    longest = max(counts, key=lambda name: counts[name], default=None)
    seen = []
    if longest is not None and counts[longest] < needed:
        close = latest[longest] or due.cutoff
        day = close_name(close + (needed - counts[longest]) * due.interval.length, due.interval)
        message = (
            f"{model} is not trained yet: it needs {needed} candles of one market to learn from, and the longest, "
            f"{longest}, has them from the {day} on"
        )
        remedy = "wait, or let it learn from a longer market (CANDLECAST_LEARN_FROM)"
        seen = [Finding(UNTRAINED, Severity.INFO, message, remedy, 1)]
    for name in due.judged:
        record_changes(engine, series=name, codes={UNTRAINED}, seen=seen, now=now)
    return seen[0] if seen else None
