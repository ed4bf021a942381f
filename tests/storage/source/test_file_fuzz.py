"""Generated files: any form gives the known candles or a sentence, any bytes give rows or a typed error.

`python benchmarks/forms.py` runs many more of them.
"""

import io
import random
from pathlib import Path

import pytest
from file_faults import FAULTS
from file_forms import FULL_UNIX
from file_outcomes import READ, SILENT, outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_files import Saved, saved_files

from models.candles import SeriesName
from storage.errors import StorageError
from storage.source.file import CddFile

FIXTURES = Path(__file__).parents[2] / "fixtures" / "cdd"
SERIES = SeriesName.parse("Kraken_BTCUSD_d")
FUZZED = 1000


def parse(data: bytes) -> tuple[CddFile, int]:
    file = CddFile(io.BytesIO(data), SERIES)
    return file, sum(len(chunk) for chunk in file.chunks())


@pytest.mark.parametrize("seed", range(4))
def test_every_row_of_a_damaged_file_is_read_or_set_aside_or_the_file_is_refused(seed: int) -> None:
    """Files with pieces cut, doubled, swapped and flipped, as broken disks, proxies and editors leave them."""
    rng = random.Random(seed)
    originals = [path.read_bytes() for path in sorted(FIXTURES.glob("*.csv"))]
    alphabet = b"0123456789.,;-:/ \t\r\n\"'eENaxnull\0\xff\xef\xbb\xbf\xc3"
    parsed = refused = 0
    for case in range(FUZZED // 4):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(len(data) + 1)
            damage = rng.randrange(6)
            if damage == 0 and data:
                data[at : at + rng.randint(1, 30)] = b""
            elif damage == 1:
                data[at:at] = bytes(rng.choices(alphabet, k=rng.randint(1, 8)))
            elif damage == 2 and data:
                data[at % len(data)] = rng.randrange(256)
            elif damage == 3:
                piece = data[at : at + rng.randint(1, 200)]
                data[at:at] = piece
            elif damage == 4:
                other = rng.choice(originals)
                data[at:at] = other[: rng.randint(0, len(other))]
            else:
                del data[at:]
        try:
            file, candles = parse(bytes(data))
        except StorageError:
            refused += 1
            continue
        except Exception as error:  # pragma: no cover - must not happen
            raise AssertionError(f"seed {seed}, case {case}: {bytes(data)!r}") from error
        assert file.rows_in == candles + len(file.set_aside), (seed, case, bytes(data))
        assert all(row.reason for row in file.set_aside)
        parsed += 1
    assert parsed > FUZZED // 40
    assert refused > FUZZED // 100


@settings(max_examples=50)
@given(st.binary(max_size=400))
def test_every_row_of_random_bytes_is_read_or_set_aside_or_they_are_refused(data: bytes) -> None:
    try:
        file, candles = parse(data)
    except StorageError:
        return
    assert file.rows_in == candles + len(file.set_aside)


@settings(max_examples=50)
@given(st.text(alphabet='unixdate,openhighlowclose0123456789.-\n\r";', max_size=300))
def test_every_row_of_almost_valid_csv_is_read_or_set_aside_or_it_is_refused(text: str) -> None:
    try:
        file, candles = parse(b"unix,date,open,high,low,close\n" + text.encode())
    except StorageError:
        return
    assert file.rows_in == candles + len(file.set_aside)


# The same files in every run; benchmarks/forms.py looks for others.
@settings(max_examples=100, derandomize=True)
@given(saved_files())
def test_a_file_in_any_forms_gives_the_known_candles_or_a_sentence(saved: Saved) -> None:
    word, reason = outcome(saved)
    assert word != SILENT, (saved.forms, reason)
    assert word == READ or reason
    # A unix time in full and a header leave no doubt.
    if (
        len(saved.known) >= 30
        and set(saved.forms) & FULL_UNIX
        and not set(saved.forms) & {"no header", "a table beside"}
    ):
        assert word == READ, (saved.forms, reason)


# The same files in every run; benchmarks/forms.py looks for others.
@settings(max_examples=100, derandomize=True)
@given(st.sampled_from(sorted(FAULTS)).flatmap(saved_files))
def test_a_file_that_contradicts_itself_is_never_read_in_silence(saved: Saved) -> None:
    word, reason = outcome(saved)
    assert word != SILENT, (saved.fault, saved.forms, reason)
