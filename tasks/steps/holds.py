"""When a file waits for a person: it rewrites much of what is stored, or much of it is no candles or doubtful."""

from datetime import timedelta

from sqlalchemy import Connection

from models.candles import QUOTE_CURRENCIES
from models.times import from_unix
from storage.agreement import FEWEST_COMPARED, read_disagreement
from storage.candles import StoreCounts
from storage.errors import StorageError
from storage.source.checks import CONTRADICTED, KINDS_OF_CDD, OTHER_PAIR, day_starts
from storage.source.file import CddFile, commonest_reason
from storage.source.neighbours import FEWEST, JUMP_FACTOR

# A file is held for a person when it lacks, or changes by more than 1 %, more than this share of the stored candles.
HELD_SHARE = 0.02
# ... or when more than this share of its rows is set aside for reasons that are not CDD's own.
HELD_ROWS_SHARE = 0.25
# ... and at least this many, so that a short series is not held for one candle.
HELD_CANDLES = 5
# ... or when the two volumes of more than this share of its candles contradict their prices (0.1 % in real files) ...
# ... or when more than this share of its candles open far outside the range of the candle before (half of it where
# times contradict each other too) ...
HELD_VOLUMES_SHARE = 0.005
HELD_DISJOINT_SHARE = 0.2
# ... or more than this share of them at a multiple or a fraction of the close before.
HELD_JUMPS_SHARE = 0.01
# ... or more than this share of them, without two volumes that confirm the prices, are as narrow as logarithms.
LOGARITHMS_SHARE = 0.6
# Rows of other pairs are beside the pair's where these fill this share of their own time.
FILLED_SHARE = 0.75
# A workbook of Excel counts days from 1899-12-30 or, on a Mac, from 1904-01-01.
DAYS_FROM_1900_TO_1904 = timedelta(days=1462)
MONEY = frozenset(QUOTE_CURRENCIES) - {"BTC", "XBT", "ETH", "BNB"}


class Held(StorageError):
    """A file that a person should look at before it is taken."""


def hold_for_a_person(conn: Connection, file: CddFile, *, download: int, counts: StoreCounts, remedy: str) -> None:
    """Raise Held for the first reason below that applies to a file that was read and stored in this transaction."""
    series = str(file.series)
    hold_if_few_candles(file, remedy=remedy)
    hold_if_doubtful(file, remedy=remedy)
    hold_if_times_are_doubtful(file, counts, remedy=remedy)
    hold_if_rewritten(series, counts, remedy=remedy)
    hold_if_others_disagree(conn, series=series, download=download, counts=counts, remedy=remedy)


def hold_if_rewritten(series: str, counts: StoreCounts, *, remedy: str) -> None:
    """Raise Held for a file that lacks or moves too many of the candles that were stored before it."""
    limit = max(HELD_CANDLES, HELD_SHARE * counts.stored_before)
    missing = counts.stored_before - counts.matched
    if missing > limit:
        raise Held(
            f"{series}: the file lacks {missing} of the {counts.stored_before} stored candles "
            f"(more than {HELD_SHARE:.0%}); nothing was stored. {remedy}"
        )
    if counts.moved_far > limit:
        raise Held(
            f"{series}: the file changes {counts.moved_far} of the {counts.stored_before} stored candles by more than "
            f"1 % (more than {HELD_SHARE:.0%} of them); nothing was stored. {remedy}"
        )


def hold_if_few_candles(file: CddFile, *, remedy: str) -> None:
    """Raise Held for a file of which more than HELD_ROWS_SHARE is set aside.

    Duplicates, overlapping days and placeholders are left out: CDD's own files hold many of them. So are the rows of
    other pairs where the pair's own candles have no holes that these rows could belong into.
    """
    beside = {OTHER_PAIR} if file.checks.filled_share() >= FILLED_SHARE else set()
    odd = [row for row in file.set_aside if row.kind not in KINDS_OF_CDD | beside]
    others = sum(row.kind in beside for row in file.set_aside)
    rows = file.rows_in - others
    if len(odd) > max(HELD_CANDLES, HELD_ROWS_SHARE * rows):
        counted = (
            f"the {rows} rows of this pair (the file has {others} rows of other pairs)"
            if others
            else f"the file's {rows} rows"
        )
        raise Held(
            f"{file.series}: {len(odd)} of {counted} are no candles (more than {HELD_ROWS_SHARE:.0%}); nothing was "
            f"stored. {commonest_reason(odd)}. {remedy}"
        )


def hold_if_doubtful(file: CddFile, *, remedy: str) -> None:
    """Raise Held for a file whose prices contradict its volumes or each other, or whose days may be in local time."""
    doubt = _doubt_of_prices(file) or _doubt_of_neighbours(file)
    if doubt:
        raise Held(f"{file.series}: {doubt}; nothing was stored. {remedy}")


def hold_if_times_are_doubtful(file: CddFile, counts: StoreCounts, *, remedy: str) -> None:
    """Raise Held for a file whose times may be moved, unless the stored candles confirm them."""
    if counts.equal > counts.new + counts.revised:
        return
    torn = sorted(file.checks.torn)
    doubt = None
    if torn:
        doubt = (
            f"{len(torn)} times have two rows that open at different prices, the first at "
            f"{from_unix(torn[0]):%Y-%m-%d %H:%M} UTC: a part of the file is moved by whole candles (local time?), or "
            f"files of several markets were joined"
        )
    elif file.day_numbers and file.fetched_at is not None and counts.span:
        first, last = (from_unix(instant) for instant in counts.span)
        first_1904, last_1904 = first + DAYS_FROM_1900_TO_1904, last + DAYS_FROM_1900_TO_1904
        if last_1904 <= file.fetched_at:
            doubt = (
                f"the dates are day numbers of a spreadsheet: {first:%Y-%m-%d}..{last:%Y-%m-%d} if it counts from "
                f"1900, {first_1904:%Y-%m-%d}..{last_1904:%Y-%m-%d} if from 1904; write them as year-month-day, or "
                f"take the first"
            )
    if doubt:
        raise Held(f"{file.series}: {doubt}; nothing was stored. {remedy}")


def hold_if_others_disagree(conn: Connection, *, series: str, download: int, counts: StoreCounts, remedy: str) -> None:
    """Raise Held where many candles of a download contradict another stored source of the pair, or the stored ones."""
    if counts.new + counts.revised < FEWEST_COMPARED:
        return
    other = read_disagreement(conn, series=series, download=download, earlier=counts.revised >= FEWEST_COMPARED)
    if other is None:
        return
    if other.ratio != 1:
        doubt = (
            f"in the median the closes are {other.ratio:.4g} times those of {other.other} of the same time: one of the "
            f"two is of another unit, coin or currency"
        )
    else:
        whose = "the stored candles" if other.other == series else f"those of {other.other}"
        hours = abs(other.by_s) / 3600
        doubt = (
            f"{other.candles} candles from {from_unix(other.first):%Y-%m-%d %H:%M} to "
            f"{from_unix(other.last):%Y-%m-%d %H:%M} UTC agree with {whose} of "
            f"{f'{hours / 24:g} days' if hours % 24 == 0 else f'{hours:g} hours'} "
            f"{'later' if other.by_s > 0 else 'earlier'}, and not with those of the same time: the times of one of the "
            f"two are moved"
        )
    raise Held(f"{series}: {doubt}; nothing was stored. {remedy}")


def _doubt_of_prices(file: CddFile) -> str | None:
    checks, neighbours = file.checks, file.checks.neighbours
    candles = file.rows_in - len(file.set_aside)
    if checks.odd_volumes.count > max(HELD_CANDLES, HELD_VOLUMES_SHARE * checks.two_volumes):
        return (
            f"the two volumes of {checks.odd_volumes.count} of {checks.two_volumes} candles give no price between "
            f"their low and high (more than {HELD_VOLUMES_SHARE:.1%}): the prices or volumes are in another unit, have "
            f"lost their decimal points, or stand in the rows of other times"
        )
    # The volumes have confirmed the prices where there are two; money against money moves as little as logarithms do.
    unconfirmed = checks.two_volumes < candles / 2 and file.series.base not in MONEY
    narrow = neighbours.like_logarithms > LOGARITHMS_SHARE * neighbours.lively
    if unconfirmed and narrow and neighbours.lively >= FEWEST:
        return (
            f"{neighbours.like_logarithms} of {neighbours.lively} candles are as narrow as if their prices were "
            f"logarithms of prices: write the prices themselves"
        )
    if checks.unsure_starts > max(HELD_CANDLES, HELD_ROWS_SHARE * candles):
        return (
            f"{checks.unsure_starts} of {candles} days do not start at midnight but at "
            f"{day_starts(checks.day_starts)}, and no unix time says that this is UTC: the times may be local; put "
            f"unix times or midnight UTC in the file"
        )
    return None


def _doubt_of_neighbours(file: CddFile) -> str | None:
    neighbours = file.checks.neighbours
    contradicted = sum(row.kind == CONTRADICTED for row in file.set_aside) > HELD_CANDLES
    disjoint_share = HELD_DISJOINT_SHARE / 2 if contradicted else HELD_DISJOINT_SHARE
    if neighbours.pairs >= FEWEST and neighbours.disjoint.count > disjoint_share * neighbours.pairs:
        return (
            f"{neighbours.disjoint.count} of {neighbours.pairs} candles open far outside the range of the candle "
            f"before (more than {disjoint_share:.0%}): dates, columns or several markets may be mixed up"
        )
    if len(neighbours.jumps) > max(HELD_CANDLES, HELD_JUMPS_SHARE * (file.rows_in - len(file.set_aside))):
        first = neighbours.jumps[0]
        return (
            f"{len(neighbours.jumps)} candles open {JUMP_FACTOR:g} times above or below the close before, the first on "
            f"{from_unix(first.open_time):%Y-%m-%d} ({first.close_before:g}, then {first.open:g}): several markets or "
            f"units may be mixed up"
        )
    return None
