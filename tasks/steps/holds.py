"""When a file waits for a person: it rewrites too much of what is stored, or too much of it is no candles."""

from storage.candles import StoreCounts
from storage.errors import StorageError
from storage.source.checks import KINDS_OF_CDD
from storage.source.file import CddFile

# A file is held for a person when it lacks, or moves by more than 1 %, more than this share of the stored candles.
HELD_SHARE = 0.02
# ... or when more than this share of its rows is set aside for reasons that are not CDD's own.
HELD_ROWS_SHARE = 0.25
# ... and at least this many, so that a short series is not held for one candle.
HELD_CANDLES = 5


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
