"""Lines and cells of a CSV that a spreadsheet may have written again; what they mean is not known here."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from storage.errors import CddRefused

# About forty thousand rows.
BLOCK_CHARACTERS = 4_000_000
MAX_LINE_CHARACTERS = 10_000
DELIMITERS = ",;\t|"


class Block(NamedTuple):
    """A piece of the file's text that ends with a whole line."""

    first_line: int
    """The number of its first line in the file, from 1."""
    text: str
    """Lines separated by a line feed, whatever the file uses."""
    open_end: bool
    """Whether the file ends here without a line end."""

    def lines(self) -> list[str]:
        """Return the lines without their ends; raises CddRefused for a line that no CSV of candles has."""
        lines = self.text.removesuffix("\n").split("\n")
        longest = max(map(len, lines))
        if longest > MAX_LINE_CHARACTERS:
            raise CddRefused(
                f"a line after line {self.first_line} is {longest} characters long, at most {MAX_LINE_CHARACTERS} "
                f"are expected: this is no CSV of candles"
            )
        return lines


# What the first bytes of a file say of it, where it is no text.
_NO_TEXT = {
    b"\x1f\x8b": "the file is packed with gzip: unpack it (gunzip), and give the CSV file in it",
    b"PK\x03\x04": "the file is a ZIP archive or a workbook (xlsx, ods, numbers): unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "the file is a workbook (xls): save the sheet as CSV",
    b"BZh": "the file is packed with bzip2: unpack it, and give the CSV file in it",
    b"\xfd7zXZ": "the file is packed with xz: unpack it, and give the CSV file in it",
    b"\x28\xb5\x2f\xfd": "the file is packed with zstd: unpack it, and give the CSV file in it",
    b"7z\xbc\xaf": "the file is a 7z archive: unpack it, and give the CSV file in it",
    b"PAR1": "the file is Parquet: save it as CSV",
    b"ARROW1": "the file is an Arrow file: save it as CSV",
    b"SQLite f": "the file is a SQLite database: save the candles as CSV",
    b"%PDF": "the file is a PDF: save the table as CSV",
}


def _encoding(head: bytes) -> str:
    """Return the encoding that the first bytes of a text show."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Without a byte order mark every second byte of a Latin text is zero.
    if len(head) >= 4 and head[1] == head[3] == 0 and head[0] and head[2]:
        return "utf-16-le"
    if len(head) >= 4 and head[0] == head[2] == 0 and head[1] and head[3]:
        return "utf-16-be"
    return "utf-8-sig"


def blocks(stream: BinaryIO) -> Iterator[Block]:
    """Yield the file's text, a block at a time."""
    stream.seek(0)
    head = stream.read(8)
    stream.seek(0)
    for magic, sentence in _NO_TEXT.items():
        if head.startswith(magic):
            raise CddRefused(sentence)
    encoding = _encoding(head)
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline=None)
    number, rest = 1, ""
    try:
        while piece := text.read(BLOCK_CHARACTERS):
            if "\0" in piece:
                raise CddRefused(f"a zero byte stands after line {number}: this is no text file")
            rest += piece
            if len(piece) < BLOCK_CHARACTERS:
                continue
            end = rest.rfind("\n") + 1
            if not end:
                if len(rest) > MAX_LINE_CHARACTERS:
                    raise CddRefused(f"line {number} is over {MAX_LINE_CHARACTERS} characters long: this is no CSV")
                continue
            yield Block(number, rest[:end], open_end=False)
            number += rest.count("\n", 0, end)
            rest = rest[end:]
        if rest:
            yield Block(number, rest, open_end=not rest.endswith("\n"))
    finally:
        # The caller owns the stream, and may have closed it if reading ended early.
        with suppress(ValueError):
            text.detach()


def texts_of_lines(stream: BinaryIO, wanted: set[int]) -> dict[int, str]:
    """Return the texts of some lines of the file by their numbers."""
    texts: dict[int, str] = {}
    for block in blocks(stream):
        lines = block.text.removesuffix("\n").split("\n")
        last = block.first_line + len(lines)
        texts |= {number: lines[number - block.first_line] for number in wanted if block.first_line <= number < last}
        if len(texts) == len(wanted):
            break
    return texts


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, stripped.

    Two marks of a re-save are undone first: quotes around the whole line, and a run of another delimiter at its end
    (`...,65132771.81;;;;`).
    """
    text = line.strip(" \r")
    if text.startswith('"') and text.endswith('"') and text.count('"') == 2 and delimiter in text:
        text = text[1:-1]
    text = text.rstrip("".join(other for other in DELIMITERS if other != delimiter) + " ")
    if '"' not in text:
        cells = [cell.strip() for cell in text.split(delimiter)]
        return cells if "'" not in text else [cell.removeprefix("'") for cell in cells]
    try:
        cells = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        cells = text.split(delimiter)
    if len(cells) == 1 and delimiter in cells[0]:
        cells = cells[0].split(delimiter)
    # A spreadsheet writes ="2019-10-16" or '2019-10-16 to keep a text a text.
    return [re.sub(r'^="?|^\'|"$', "", cell.strip()) for cell in cells]


def filled(cells: list[str]) -> int:
    """Return how many cells a row has when empty ones at its end are not counted."""
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    return count
