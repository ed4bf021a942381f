"""What reading a file of known candles gave, as a word and a reason: the judge of every fuzzer of files."""

import io
import math
from typing import NamedTuple
from unittest.mock import patch

import pyarrow.csv  # noqa: F401 - now files without oddities are read the quick way, however short they are
from file_forms import FETCHED_AT
from saved_files import Saved

from storage.candles import StoreCounts
from storage.chunk import joined, no_candles
from storage.errors import StorageError
from storage.source import file as reader
from storage.source.checks import DUPLICATE, OTHER_PAIR
from storage.source.columns import Layout
from storage.source.file import CddFile
from storage.source.plain import Plain, read_plain
from tasks.steps.file_findings import file_findings
from tasks.steps.holds import Held, hold_if_doubtful, hold_if_few_candles, hold_if_times_are_doubtful

READ, SET_ASIDE, REFUSED, HELD, SAID, SILENT = "read", "set aside", "refused", "held", "said", "silent"
# These findings do not say that a candle may be wrong.
_NO_WARNING = {"layout", "duplicate", "quarantine", "contradiction"}
_COLUMNS = ("open", "high", "low", "close", "volume_base", "volume_quote")


class Outcome(NamedTuple):
    """`read`: exactly the known candles; `set aside`: the others of them were set aside; `refused`; `held`; `said`: a
    finding warns of wrong candles; `silent`: candles are wrong or missing, and nothing says so.
    """

    word: str
    reason: str


def outcome(saved: Saved) -> Outcome:
    """Read a file as an ingest into an empty database does, and compare its candles with the known ones.

    A file that can be read the quick way has the same outcome the careful way.
    """
    read_so: list[bool] = []

    def quick(text: str, layout: Layout, length: int) -> Plain | None:
        plain = read_plain(text, layout, length)
        read_so.append(plain is not None)
        return plain

    with patch.object(reader, "read_plain", quick):
        result = _outcome(saved)
    if any(read_so):
        with patch.object(reader, "read_plain", return_value=None):
            careful = _outcome(saved)
        assert careful.word == result.word, (careful, result, saved.forms)
    return result


def _outcome(saved: Saved) -> Outcome:
    file = CddFile(io.BytesIO(saved.data), saved.known.series, fetched_at=FETCHED_AT)
    try:
        chunk = joined([no_candles(), *file.chunks()])
        counts = StoreCounts(new=len(chunk), span=(int(chunk.open_time.min()), int(chunk.open_time.max())))
        hold_if_few_candles(file, remedy="")
        hold_if_doubtful(file, remedy="")
        hold_if_times_are_doubtful(file, counts, remedy="")
    except Held as held:
        return Outcome(HELD, str(held))
    except StorageError as refused:
        return Outcome(REFUSED, str(refused))
    assert file.rows_in == len(chunk) + len(file.set_aside)
    assert all(row.reason for row in file.set_aside)
    known = {
        int(at.timestamp()): numbers
        for at, numbers in zip(saved.known.at, zip(*saved.known.numbers.values(), strict=True), strict=True)
    }
    wrong = []
    for at, *numbers in zip(chunk.open_time.tolist(), *(getattr(chunk, name) for name in _COLUMNS), strict=True):
        if at not in known or not all(map(_is_same, numbers, known[at])):
            wrong.append(f"{at}: {numbers} instead of {known.get(at)}")
    missing = len(known.keys() - set(chunk.open_time.tolist()))
    # Rows of another pair and duplicates were added to the known ones, unless the fault is that they are named so.
    added = {DUPLICATE} if saved.fault else {DUPLICATE, OTHER_PAIR}
    aside = [row.reason for row in file.set_aside if row.kind not in added]
    warnings = {finding.code for finding in file_findings(file, counts)} - _NO_WARNING
    if saved.fault and wrong and warnings:
        return Outcome(SAID, ", ".join(sorted(warnings)))
    if wrong or missing > len(aside):
        return Outcome(
            SILENT, "; ".join([*wrong[:3], f"{len(wrong)} wrong, {missing} missing, {len(aside)} set aside"])
        )
    return Outcome(SET_ASIDE, aside[0]) if missing else Outcome(READ, "")


def _is_same(number: float, known: float) -> bool:
    """Return whether a number is the known one; a volume may be unknown, a price is always a number."""
    return math.isnan(number) or math.isclose(number, known, rel_tol=1e-9)
