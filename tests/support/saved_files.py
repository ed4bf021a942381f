"""Composes files of known candles at random from the forms of file_forms.py and the faults of file_faults.py."""

import csv
import io
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone

from file_faults import FAULTS, Fault
from file_forms import (
    CLOCK_COLUMNS,
    CLOCKS,
    COLUMN_ORDERS,
    COMPANY,
    DAYS,
    DELIMITERS,
    ENCODINGS,
    EXTRAS,
    FULL_UNIX,
    HEADERS,
    HEADINGS,
    HOUR,
    LINE_ENDS,
    MARKETS,
    NUMBER_FORMS,
    NUMBERS,
    PRICES,
    QUOTING,
    ROW_ORDERS,
    SYMBOLS,
    UNIX,
    ZONES,
    Known,
    Row,
    serial,
    walk,
)
from hypothesis import strategies as st

from models.candles import Interval, SeriesName


@dataclass
class Saved:
    """A file that was saved in some forms, and the candles that were in it."""

    data: bytes
    known: Known
    forms: list[str] = field(default_factory=list)
    fault: str = ""


Picker = Callable[[Iterable[str]], str]


@st.composite
def saved_files(draw: st.DrawFn, fault: str = "") -> Saved:
    """Return known candles, saved in some forms, and with a fault if one is named."""
    names: list[str] = []

    def pick(forms: Iterable[str]) -> str:
        """Return the name of a form: the first one, which is the plain one, in half of the cases."""
        offered = list(forms)
        name = offered[0] if draw(st.booleans()) else draw(st.sampled_from(offered))
        names.append(name)
        return name

    needs = FAULTS[fault] if fault else Fault()
    seed = draw(st.integers(0, 2**32 - 1))
    name = draw(st.sampled_from([one for one in MARKETS if one.rsplit("_", 1)[1] in needs.intervals]))
    n = draw(st.sampled_from([rows for rows in (60, 45, 30, 12, 5, 2, 1) if rows >= needs.rows]))
    start = datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=seed % 4300)
    start += SeriesName.parse(name).interval.length * (seed % 24) if not name.endswith("_d") else timedelta()
    known = walk(name, n, start, seed)
    shuffler = random.Random(seed)
    rows = needs.apply(_cells(needs.lie(known), pick, needs.columns), shuffler)
    columns = pick(COLUMN_ORDERS)
    present = [column for column in COLUMN_ORDERS[columns] if column in rows[0]]
    extra = pick(("no more columns", *EXTRAS))
    if extra in EXTRAS:
        present.insert(0 if extra == "an index" else seed % (len(present) + 1), extra)
        rows = [{**row, extra: EXTRAS[extra][1](i, row)} for i, row in enumerate(rows)]
    order = pick(ROW_ORDERS[:2] if fault else ROW_ORDERS)
    if order == "shuffled":
        shuffler.shuffle(rows)
    elif order == "newest first":
        rows.reverse()
    if needs.name:
        known = replace(known, series=replace(known.series, interval=Interval(needs.name)))
    written = _cut(known, rows, present) if needs.cut else _written(known, rows, present, pick, seed)
    return Saved(written, known, names, fault)


def _cells(known: Known, pick: Picker, needed: tuple[str, ...]) -> list[Row]:
    """Return the rows of a file, oldest first: a text for each column that the file has."""
    number_form = NUMBER_FORMS[pick(NUMBER_FORMS)]
    decimals = {**dict.fromkeys(PRICES, known.decimals), "base": 4, "quote": 3}
    volumes = pick(("two volumes", "a base volume", "no volumes"))
    left = {"two volumes": NUMBERS, "a base volume": NUMBERS[:5], "no volumes": PRICES}[volumes]
    if "quote" in needed:
        left = NUMBERS
    rows: list[Row] = [
        {
            "opened": str(int(at.timestamp())),
            **{column: number_form(known.numbers[column][i], decimals[column]) for column in left},
        }
        for i, at in enumerate(known.at)
    ]
    if pick(("a symbol", "no symbol")) == "a symbol" or "symbol" in needed:
        symbol = SYMBOLS[pick(SYMBOLS)](known.series)
        rows = [{**row, "symbol": symbol} for row in rows]
    times = "unix and date" if {"unix", "date"} <= {*needed} else pick(("unix and date", "unix", "date"))
    if "unix" in times:
        form = pick([one for one in UNIX if one in FULL_UNIX or "unix" not in needed])
        unix = UNIX[form]
        rows = [{**row, "unix": unix(int(at.timestamp()))} for row, at in zip(rows, known.at, strict=True)]
    if "date" in times:
        exact_unix = "unix" in times and form in FULL_UNIX
        dates = _dates(known, pick, beside_unix=exact_unix and not needed, whole="clock" in needed)
        rows = [{**row, **date} for row, date in zip(rows, dates, strict=True)]
    return rows


def _dates(known: Known, pick: Picker, *, beside_unix: bool, whole: bool) -> list[Row]:
    """Return the texts of the date column, and of a column of clocks if there is one."""
    if pick(("dates as texts", "dates as numbers of days")) == "dates as numbers of days":
        return [{"date": serial(at)} for at in known.at]
    day = DAYS[pick(DAYS)]
    clocks = [*CLOCKS, *CLOCK_COLUMNS]
    if whole or not (beside_unix or known.series.interval is Interval.DAY):
        # The hour must be told.
        clocks.remove("no clock")
        if known.series.interval is Interval.MINUTE:
            clocks.remove("hours and a dash")
    clock = pick(clocks)
    if clock in CLOCK_COLUMNS:
        return [{"date": day(at), "time": CLOCK_COLUMNS[clock](at)} for at in known.at]
    zone = timezone(-5 * HOUR) if "place" in clock else UTC
    if beside_unix and clock in ("h:mm", "hh:mm:ss", "AM and PM"):
        zone = ZONES[pick(ZONES)]
    return [{"date": day(at.astimezone(zone)) + CLOCKS[clock](at.astimezone(zone))} for at in known.at]


def _written(known: Known, rows: list[Row], columns: list[str], pick: Picker, seed: int) -> bytes:
    """Return rows as the bytes of a file."""
    series = known.series
    headings = _headings(columns, series, random.Random(seed))
    delimiter = DELIMITERS[pick(DELIMITERS)]
    header = pick(HEADERS)
    company = pick(COMPANY)
    if "symbol" in columns and company in ("other pairs between", "another pair below"):
        others = [_of_another_pair(row, series) for row in rows]
        between = company == "other pairs between"
        rows = [one for two in zip(rows, others, strict=True) for one in two] if between else rows + others
    elif company == "rows twice":
        rows = [*rows, *rows[::3]]
    elif company == "a sum below":
        time = "unix" if "unix" in columns else "date"
        rows = [*rows, {**rows[0], "unix": "", "date": "", "time": "", time: "Total"}]
    head, *lines = _lines([headings, *rows], columns, delimiter)
    if company == "a table beside":
        ether = _lines(
            [{**headings, "base": "Volume XRP"}, *(_of_another_pair(row, series) for row in rows)], columns, delimiter
        )
        head, *lines = [f"{one}{delimiter * 2}{other}" for one, other in zip([head, *lines], ether, strict=True)]
    half = len(lines) // 2
    if header == "another order below" and company != "a table beside":
        turned = columns[::-1]
        lines = [*lines[:half], *_lines([headings, *rows[half:]], turned, delimiter)]
    lines = {
        "no header": lines,
        "a banner": ["https://www.CryptoDataDownload.com", head, *lines],
        "the header again": [head, *lines[:half], head, *lines[half:]],
        "the header at the end": [*lines, head],
    }.get(header, [head, *lines])
    quoting = pick(QUOTING)
    if quoting == "quoted lines":
        lines = [line if '"' in line else f'"{line}"' for line in lines]
    elif quoting == "quoted cells":
        lines = [line if '"' in line else '"' + line.replace(delimiter, f'"{delimiter}"') + '"' for line in lines]
    elif quoting == "runs of semicolons" and delimiter != ";":
        lines = [f"{line};;;;" for line in lines]
    elif quoting == "padding":
        lines = [f"{line}{delimiter * 3}" for line in lines]
    elif quoting == "blank lines":
        lines = [*lines[:half], "", *lines[half:], "", ""]
    end = LINE_ENDS[pick(LINE_ENDS)]
    text = end.join(lines) + (end if pick(("a line end at the end", "no line end at the end")).startswith("a ") else "")
    return text.encode(ENCODINGS[pick(ENCODINGS)])


def _headings(columns: Sequence[str], series: SeriesName, choose: random.Random) -> Row:
    return {
        column: choose.choice(HEADINGS[column]).format(base=series.base, quote=series.quote)
        if column in HEADINGS
        else EXTRAS[column][0]
        for column in columns
    }


def _cut(known: Known, rows: list[Row], columns: list[str]) -> bytes:
    """Return rows as the bytes of a file that ends in the middle of its last cell."""
    lines = _lines([_headings(columns, known.series, random.Random(0)), *rows], columns, ";")
    cell = lines[-1].rpartition(";")[2]
    return "\n".join(lines)[: -(len(cell) + 1) // 2].encode()


def _lines(rows: Sequence[Row], columns: Sequence[str], delimiter: str) -> list[str]:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(
        [row.get(column, "") for column in columns] for row in rows
    )
    return out.getvalue().splitlines()


def _of_another_pair(row: Row, series: SeriesName) -> Row:
    """Return a row of the same time and another coin."""
    symbol = re.sub(f"{series.base}|XBT", "XRP", row.get("symbol", ""), flags=re.IGNORECASE)
    return {**row, "symbol": symbol, **dict.fromkeys(PRICES, "0.5")}
