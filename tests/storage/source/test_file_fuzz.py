"""Generated files: every unambiguous layout is read, and any bytes give rows or a typed error."""

import io
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.candles import SeriesName
from storage.chunk import joined
from storage.errors import StorageError
from storage.source.file import CddFile

FIXTURES = Path(__file__).parents[2] / "fixtures" / "cdd"
SERIES = SeriesName.parse("Kraken_BTCUSD_d")
FUZZED = 4000


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


@given(st.binary(max_size=400))
def test_every_row_of_random_bytes_is_read_or_set_aside_or_they_are_refused(data: bytes) -> None:
    try:
        file, candles = parse(data)
    except StorageError:
        return
    assert file.rows_in == candles + len(file.set_aside)


@given(st.text(alphabet='unixdate,openhighlowclose0123456789.-\n\r";', max_size=300))
def test_every_row_of_almost_valid_csv_is_read_or_set_aside_or_it_is_refused(text: str) -> None:
    try:
        file, candles = parse(b"unix,date,open,high,low,close\n" + text.encode())
    except StorageError:
        return
    assert file.rows_in == candles + len(file.set_aside)


NAMES = {
    "open": ("open", "Open", "OPEN", "Open Price"),
    "high": ("high", "High", "HIGH"),
    "low": ("low", "Low", "LOW"),
    "close": ("close", "Close", "CLOSE", "Close Price"),
    "base": ("Volume BTC", "volume_btc", "VolumeFrom", "Volume From", "Volume (BTC)", "base volume"),
    "quote": ("Volume USD", "volume_usd", "Volume To", "Volume (USD)", "Quote Volume"),
    "symbol": ("symbol", "Symbol", "PAIR"),
    "trades": ("tradecount", "TradeCount", "trades", "Number of Trades"),
    "unix": ("unix", "Unix", "Unix Timestamp", "unix timestamp", "UNIX"),
    "date": ("date", "Date", "DATE", "datetime", "Timestamp"),
}
UNITS = {
    "s": lambda t: str(t),
    "s.0": lambda t: f"{t}.0",
    "ms": lambda t: str(t * 1000),
    "us": lambda t: str(t * 1_000_000),
}
DATES = {
    "day": lambda m: f"{m:%Y-%m-%d}",
    "instant": lambda m: f"{m:%Y-%m-%d %H:%M:%S}",
    "zone": lambda m: f"{m:%Y-%m-%dT%H:%M:%S}Z",
    "zone in numbers": lambda m: f"{m:%Y-%m-%d %H:%M:%S}+00:00",
    "apostrophe": lambda m: f"'{m:%Y-%m-%d}",
    "month name": lambda m: f"{m:%d-%b-%Y}",
    "slashes": lambda m: f"{m.year}/{m.month}/{m.day} 0:00",
    "american": lambda m: f"{m.month}/{m.day}/{m.year}",
    "american with a clock": lambda m: f"{m.month}/{m.day}/{m.year} 0:00",
    "hour": lambda m: f"{m:%Y-%m-%d} 12-AM",
}


@st.composite
def vintages(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, float, float, float, float, float, float]]]:
    """A file in some layout, and the candles it holds."""
    n = draw(st.integers(2, 12))
    start = datetime(2019, 12, 1, tzinfo=UTC) + timedelta(days=draw(st.integers(0, 900)))
    price = st.integers(5_000, 60_000)
    candles = []
    for i in range(n):
        o, c = draw(price), draw(price)
        base = draw(st.integers(10, 9_000))
        high, low = max(o, c) + 7, min(o, c) - 7
        opened = int((start + timedelta(days=i)).timestamp())
        candles.append((opened, o / 1, high / 1, low / 1, c / 1, base / 1, base * (o + c) / 2))
    columns = ["open", "high", "low", "close", "base", "quote"]
    times = draw(st.sampled_from((("unix",), ("date",), ("unix", "date"))))
    columns += [*times, *draw(st.lists(st.sampled_from(("symbol", "trades")), unique=True))]
    columns = draw(st.permutations(columns))
    delimiter = draw(st.sampled_from((",", ";", "\t")))
    padding = delimiter * draw(st.integers(0, 3))
    end = draw(st.sampled_from(("\n", "\r\n")))
    date_form = DATES[draw(st.sampled_from(sorted(DATES)))]
    symbol = draw(st.sampled_from(("BTCUSD", "BTC/USD", "btcusd", "XBT/USD")))
    lines = [draw(st.sampled_from(("https://www.CryptoDataDownload.com", "Created on 01-02-2024,www", "# a note")))]
    if draw(st.booleans()):
        lines = []
    lines.append(delimiter.join(draw(st.sampled_from(NAMES[name])) for name in columns) + padding)
    rows = []
    for opened, o, high, low, c, base, quote in candles:
        unit = UNITS[draw(st.sampled_from(sorted(UNITS)))]
        cells = {
            "open": repr(o),
            "high": repr(high),
            "low": f"{low:e}",
            "close": repr(c),
            "base": repr(base),
            "quote": repr(quote),
            "symbol": symbol,
            "trades": draw(st.sampled_from(("17", "17.0", "NULL", ""))),
            "unix": unit(opened),
            "date": date_form(datetime.fromtimestamp(opened, UTC)),
        }
        rows.append(delimiter.join(cells[name] for name in columns) + padding)
    if draw(st.booleans()):
        rows.reverse()
    data = end.join([*lines, *rows]) + (end if draw(st.booleans()) else "")
    return data.encode("utf-8-sig" if draw(st.booleans()) else "utf-8"), candles


@settings(max_examples=400)
@given(vintages())
def test_every_unambiguous_layout_is_read(
    vintage: tuple[bytes, list[tuple[int, float, float, float, float, float, float]]],
) -> None:
    data, candles = vintage
    file = CddFile(io.BytesIO(data), SERIES)
    chunk = joined(list(file.chunks()))
    assert file.set_aside == []
    order = np.argsort(chunk.open_time)
    columns = (chunk.open_time, chunk.open, chunk.high, chunk.low, chunk.close, chunk.volume_base, chunk.volume_quote)
    np.testing.assert_allclose(np.stack([values[order] for values in columns], axis=1), np.array(candles), rtol=1e-12)
