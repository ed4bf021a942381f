"""When a file waits for a person: it rewrites much of what is stored, or much of it is no candles or doubtful."""

from models.times import from_unix
from storage.candles import StoreCounts
from storage.errors import StorageError
from storage.source.checks import CONTRADICTED, KINDS_OF_CDD, day_starts
from storage.source.file import CddFile
from storage.source.neighbours import FEWEST, JUMP_FACTOR

# A file is held for a person when it lacks, or moves by more than 1 %, more than this share of the stored candles.
HELD_SHARE = 0.02
# ... or when more than this share of its rows is set aside for reasons that are not CDD's own.
HELD_ROWS_SHARE = 0.25
# ... and at least this many, so that a short series is not held for one candle.
HELD_CANDLES = 5
# ... or when more than this share of its candles open far outside the range of the candle before (half of it where
# times contradict each other too) ...
HELD_DISJOINT_SHARE = 0.2
# ... or more than this share of them at a multiple or a fraction of the close before.
HELD_JUMPS_SHARE = 0.01


class Held(StorageError):
    """A file that a person should look at before it is taken."""


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
            f"{series}: the file moves {counts.moved_far} of the {counts.stored_before} stored candles by more than "
            f"1 % (more than {HELD_SHARE:.0%} of them); nothing was stored. {remedy}"
        )


def hold_if_few_candles(file: CddFile, *, remedy: str) -> None:
    """Raise Held for a file of which more than HELD_ROWS_SHARE is set aside.

    Duplicates, overlapping days and placeholders are left out: CDD's own files hold many of them.
    """
    odd = [row for row in file.set_aside if row.kind not in KINDS_OF_CDD]
    if len(odd) > max(HELD_CANDLES, HELD_ROWS_SHARE * file.rows_in):
        raise Held(
            f"{file.series}: {len(odd)} of the file's {file.rows_in} rows are no candles (more than "
            f"{HELD_ROWS_SHARE:.0%}); nothing was stored. {file.commonest_reason()}. {remedy}"
        )


def hold_if_doubtful(file: CddFile, *, remedy: str) -> None:
    """Raise Held for a file whose prices contradict its volumes or each other, or whose days may be in local time."""
    checks, neighbours = file.checks, file.checks.neighbours
    candles = file.rows_in - len(file.set_aside)
    contradicted = sum(row.kind == CONTRADICTED for row in file.set_aside) > HELD_CANDLES
    disjoint_share = HELD_DISJOINT_SHARE / 2 if contradicted else HELD_DISJOINT_SHARE
    doubt = None
    if checks.odd_volumes.count > max(HELD_CANDLES, HELD_ROWS_SHARE * checks.two_volumes):
        doubt = (
            f"the two volumes of {checks.odd_volumes.count} of {checks.two_volumes} candles give no price between "
            f"their low and high (more than {HELD_ROWS_SHARE:.0%}): the prices or volumes are in another unit, or have "
            f"lost their decimal points"
        )
    elif checks.unsure_starts > max(HELD_CANDLES, HELD_ROWS_SHARE * candles):
        doubt = (
            f"{checks.unsure_starts} of {candles} days do not start at midnight but at "
            f"{day_starts(checks.day_starts)}, and no unix time says that this is UTC: the times may be local; put "
            f"unix times or midnight UTC in the file"
        )
    elif neighbours.pairs >= FEWEST and neighbours.disjoint.count > disjoint_share * neighbours.pairs:
        doubt = (
            f"{neighbours.disjoint.count} of {neighbours.pairs} candles open far outside the range of the candle "
            f"before (more than {disjoint_share:.0%}): dates, columns or several markets may be mixed up"
        )
    elif len(neighbours.jumps) > max(HELD_CANDLES, HELD_JUMPS_SHARE * candles):
        first = neighbours.jumps[0]
        doubt = (
            f"{len(neighbours.jumps)} candles open {JUMP_FACTOR:g} times above or below the close before, the first on "
            f"{from_unix(first.open_time):%Y-%m-%d} ({first.close_before:g}, then {first.open:g}): several markets or "
            f"units may be mixed up"
        )
    if doubt is not None:
        raise Held(f"{file.series}: {doubt}; nothing was stored. {remedy}")
