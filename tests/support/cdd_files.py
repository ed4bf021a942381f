"""Files of CryptoDataDownload, read for tests."""

import io
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.candles import SeriesName
from storage.chunk import Chunk, joined, no_candles
from storage.source.file import CddFile


def read(data: Path | bytes, series: str = "Coinbase_BTCUSD_d", **more: object) -> tuple[CddFile, Chunk]:
    """Return a file and its candles, oldest first."""
    stream = io.BytesIO(data if isinstance(data, bytes) else data.read_bytes())
    file = CddFile(stream, SeriesName.parse(series), **more)  # type: ignore[arg-type]
    chunk = joined([no_candles(), *file.chunks()])
    return file, chunk.take(np.argsort(chunk.open_time, kind="stable"))


def times(chunk: Chunk) -> list[str]:
    return [datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M") for t in chunk.open_time.tolist()]


def days(chunk: Chunk) -> list[str]:
    return [text.removesuffix(" 00:00") for text in times(chunk)]


def reasons(file: CddFile) -> dict[str, int]:
    return dict(Counter(row.reason.split(":")[0] for row in file.set_aside))
