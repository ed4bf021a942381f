"""What is odd about a file that was stored, as findings."""

from collections.abc import Sequence
from datetime import timedelta

from models.candles import Finding, Severity
from models.times import from_unix
from models.waiting import close_words
from storage.candles import StoreCounts
from storage.source.checks import CONTRADICTED, DUPLICATE, PLACEHOLDER, SetAside, day_starts
from storage.source.file import CddFile
from storage.source.neighbours import FEWEST, JUMP_FACTOR, WICK_FACTOR, WICK_NEIGHBOURS
from storage.source.spans import Spans

# The codes of the findings about a file.
FILE_CODES = frozenset(
    {
        "duplicate",
        "zero-rows",
        "quarantine",
        "contradiction",
        "swapped",
        "volume",
        "local-time",
        "layout",
        "wick",
        "jump",
        "repeat",
        "day-start",
        "revision",
    }
)
RANGES_SHOWN = 6
# So many candles open far outside the range of the one before that a person may want to know; some thin markets do.
DISJOINT_SHARE = 0.05
WICKS_SHOWN = 20

_CODES = {DUPLICATE: "duplicate", PLACEHOLDER: "zero-rows", CONTRADICTED: "contradiction"}


def file_findings(file: CddFile, counts: StoreCounts) -> list[Finding]:
    """Return what is odd about a file: rows set aside, volumes, times, columns, neighbours, and what it revised."""
    return [*_set_aside(file), *_volumes(file), *_reading(file), *_wicks(file), *_jumps(file), *_revisions(counts)]


def _set_aside(file: CddFile) -> list[Finding]:
    by_reason: dict[tuple[str, str], list[SetAside]] = {}
    for row in file.set_aside:
        by_reason.setdefault((_CODES.get(row.kind, "quarantine"), row.reason.split(":")[0]), []).append(row)
    findings = []
    for (code, reason), rows in sorted(by_reason.items()):
        times = sorted(row.open_time for row in rows if row.open_time is not None)
        days = f" ({_ranges(times, file)})" if code == "contradiction" and times else ""
        findings.append(
            Finding(
                code,
                Severity.INFO if code == "zero-rows" else Severity.WARNING,
                f"{len(rows)} rows of the file were set aside: {reason}{days}",
                "their text and reason are in the table quarantine",
                len(rows),
                from_unix(times[0]) if times else None,
                from_unix(times[-1]) if times else None,
            )
        )
    return findings


def _ranges(times: Sequence[int], file: CddFile) -> str:
    """Return times as ranges: 2019-09-17..2019-09-28, 2019-10-02."""
    length = int(file.series.interval.length.total_seconds())
    form = "%Y-%m-%d" if file.series.interval.length == timedelta(days=1) else "%Y-%m-%d %H:%M"
    ranges: list[list[int]] = []
    for time in times:
        if ranges and time - ranges[-1][1] <= length:
            ranges[-1][1] = time
        else:
            ranges.append([time, time])
    texts = [
        f"{from_unix(first):{form}}" + (f"..{from_unix(last):{form}}" if last > first else "")
        for first, last in ranges[:RANGES_SHOWN]
    ]
    return ", ".join(texts) + (f" and {len(ranges) - RANGES_SHOWN} more" if len(ranges) > RANGES_SHOWN else "")


def _volumes(file: CddFile) -> list[Finding]:
    checks = file.checks
    kinds = [
        (
            "swapped",
            checks.swapped,
            "the base and quote volumes of {} candles were exchanged in the file and are put right",
            "nothing to do: quote volume over base volume must be a price within low..high",
            Severity.INFO,
        ),
        (
            "volume",
            checks.unreadable_volumes,
            "{} candles have a volume that is not a number in the file; it is stored as unknown",
            "look at the file if volumes matter to you; the prices are as they stand there",
            Severity.WARNING,
        ),
        (
            "volume",
            checks.negative_volumes,
            "{} candles have a negative volume in the file; it is stored as unknown",
            "nothing to do; CDD's own files have some",
            Severity.WARNING,
        ),
        (
            "volume",
            checks.odd_volumes,
            "the two volumes of {} candles give no price between their low and high",
            "one of the two volumes, or a price, is wrong in the file; they are kept as they stand there",
            Severity.WARNING,
        ),
    ]
    return [
        _of_span(code, severity, message.format(span.count), remedy, span)
        for code, span, message, remedy, severity in kinds
        if span.count
    ]


def _of_span(code: str, severity: Severity, message: str, remedy: str, span: Spans) -> Finding:
    return Finding(code, severity, message, remedy, span.count, from_unix(span.first), from_unix(span.last))


def _reading(file: CddFile) -> list[Finding]:
    findings = [
        Finding("layout", Severity.WARNING, remark, "compare some candles with the file") for remark in file.remarks
    ]
    findings += _day_starts(file)
    findings += _repeated_hours(file)
    for (column, seconds), (count, first, last) in sorted(file.zones.items()):
        side = "ahead of" if seconds > 0 else "behind"
        findings.append(
            Finding(
                "local-time",
                Severity.INFO,
                f"the column {column!r} is {abs(seconds) / 3600:g} hours {side} the unix time in {count} rows, as "
                f"local time is; the unix time counts",
                "nothing to do if the file was made in that time zone",
                count,
                from_unix(first),
                from_unix(last),
            )
        )
    return findings


def _repeated_hours(file: CddFile) -> list[Finding]:
    repeated = file.checks.repeated_hours
    if not repeated:
        return []
    first, last = from_unix(min(repeated)), from_unix(max(repeated))
    message = (
        f"the hour {first:%Y-%m-%d %H:%M} stands in the file twice with different prices, and clocks are put back that "
        f"night in many countries: the file may be in local time"
    )
    remedy = "compare some candles with another source; write UTC in the file"
    return [Finding("local-time", Severity.WARNING, message, remedy, len(repeated), first, last)]


def _day_starts(file: CddFile) -> list[Finding]:
    starts = file.checks.day_starts
    if not starts:
        return []
    return [
        Finding(
            "day-start",
            Severity.WARNING,
            f"{starts.total()} days do not start at midnight UTC but at {day_starts(starts)}",
            "nothing to do if the exchange's days start then, as Gemini's do; else the file is in local time",
            starts.total(),
        )
    ]


def _jumps(file: CddFile) -> list[Finding]:
    neighbours = file.checks.neighbours
    jumps, findings = neighbours.jumps, []
    if jumps:
        days = ", ".join(
            f"{from_unix(one.open_time):%Y-%m-%d} ({one.close_before:g}, then {one.open:g})"
            for one in jumps[:RANGES_SHOWN]
        )
        more = f" and {len(jumps) - RANGES_SHOWN} more" if len(jumps) > RANGES_SHOWN else ""
        first, last = (from_unix(pick(one.open_time for one in jumps)) for pick in (min, max))
        findings.append(
            Finding(
                "jump",
                Severity.WARNING,
                f"{len(jumps)} candles open {JUMP_FACTOR:g} times above or below the close before: {days}{more}",
                "look whether another market, unit or currency begins there",
                len(jumps),
                first,
                last,
            )
        )
    if neighbours.repeats.count:
        message = f"{neighbours.repeats.count} candles repeat every number of the candle before"
        remedy = "a program filled gaps in this way, or the source had an outage; compare with another source"
        findings.append(_of_span("repeat", Severity.WARNING, message, remedy, neighbours.repeats))
    if neighbours.pairs >= FEWEST and neighbours.disjoint.count > DISJOINT_SHARE * neighbours.pairs:
        message = (
            f"{neighbours.disjoint.count} of {neighbours.pairs} candles open far outside the range of the candle before"
        )
        remedy = "some thin markets are like that; otherwise compare some candles with another source"
        findings.append(_of_span("jump", Severity.INFO, message, remedy, neighbours.disjoint))
    return findings


def _wicks(file: CddFile) -> list[Finding]:
    wicks, interval = file.checks.neighbours.wicks, file.series.interval
    findings = []
    for wick in wicks[:WICKS_SHOWN]:
        at = from_unix(wick.open_time)
        least = "lowest" if wick.side == "low" else "highest"
        findings.append(
            Finding(
                "wick",
                Severity.WARNING,
                f"{close_words(at + interval.length, interval)} lies far outside its neighbours: its {wick.side} is "
                f"{wick.price:g}, the {least} of the {WICK_NEIGHBOURS} candles before and after is {wick.neighbours:g}",
                f"compare it with another source; only wicks of {WICK_FACTOR:g} times and more are shown",
                1,
                at,
                at,
            )
        )
    if len(wicks) > WICKS_SHOWN:
        more = wicks[WICKS_SHOWN:]
        first, last = (from_unix(pick(wick.open_time for wick in more)) for pick in (min, max))
        message = f"{len(more)} more candles lie far outside their neighbours"
        findings.append(Finding("wick", Severity.WARNING, message, "look at the file", len(more), first, last))
    return findings


def _revisions(counts: StoreCounts) -> list[Finding]:
    if not counts.revised:
        return []
    first, last = (from_unix(instant) for instant in counts.revised_span)
    return [
        Finding(
            "revision",
            Severity.INFO if counts.moved_far == 0 else Severity.WARNING,
            f"the source changed {counts.revised} closed candles, by {counts.largest_move:.2%} at most",
            "both revisions are kept; candles --as-of shows the earlier one",
            counts.revised,
            first,
            last,
        )
    ]
