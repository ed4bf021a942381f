"""Every real file gives the counts, the first and last candle and the three values in fixtures/golden.csv.

The reader wrote that table, and people compared it with the descriptions of the files. The second test looks for its
values in the lines of the files, without the reader.
"""

import csv
from collections import Counter
from pathlib import Path

import pytest
from cdd_files import read, times

from storage.source.checks import DUPLICATE, KINDS_OF_CDD, OVERLAP, PLACEHOLDER
from tasks.steps.holds import hold_if_doubtful, hold_if_few_candles

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden.csv"
with GOLDEN.open() as golden:
    ROWS = list(csv.DictReader(golden))


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_every_real_file_gives_the_golden_counts_and_values(shared_data: Path, row: dict[str, str]) -> None:
    path = shared_data.parent / row["file"]
    if not path.is_file():
        pytest.skip(f"the real file is not at {path}")
    file, chunk = read(path, row["series"])
    kinds = Counter(one.kind for one in file.set_aside)
    counts = {
        "rows": file.rows_in,
        "candles": len(chunk),
        "duplicates": kinds[DUPLICATE],
        "overlaps": kinds[OVERLAP],
        "placeholders": kinds[PLACEHOLDER],
        "no_candles": sum(count for kind, count in kinds.items() if kind not in KINDS_OF_CDD),
        "swapped": file.checks.swapped.count,
        "wicks": len(file.checks.neighbours.wicks),
    }
    assert counts == {name: int(row[name]) for name in counts}
    assert file.rows_in == len(chunk) + len(file.set_aside)
    assert (times(chunk)[0], times(chunk)[-1]) == (row["first"], row["last"])
    values = (chunk.open[0], chunk.close[len(chunk) // 2], chunk.volume_base[-1])
    assert values == tuple(float(row[name]) for name in ("first_open", "middle_close", "last_volume_base"))
    # Its prices, volumes and times do not contradict each other.
    hold_if_few_candles(file, remedy="")
    hold_if_doubtful(file, remedy="")
    assert (file.remarks, file.zones, file.checks.unreadable_volumes.count) == ([], {}, 0)
    assert (file.checks.torn, file.day_numbers) == ([], False)


def test_the_golden_values_are_in_the_files_lines(shared_data: Path) -> None:
    """This test does not use the reader, which wrote the table."""
    for row in ROWS:
        path = shared_data.parent / row["file"]
        if not path.is_file():
            continue
        lines = path.read_text().splitlines()
        for day, value in ((row["first"], row["first_open"]), (row["last"], row["last_volume_base"])):
            of_day = [line for line in lines if day[:10] in line or _american(day) in line]
            cells = {float(cell) for line in of_day for cell in line.split(",") if _is_number(cell)}
            assert float(value) in cells, (row["file"], day, value)


def _american(day: str) -> str:
    year, month, date = day[:10].split("-")
    return f"{int(month)}/{int(date)}/{year},"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
