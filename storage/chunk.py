"""Candles as columns: what the reader of a file hands to the store, and all that the two share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NO_TIME = int(np.iinfo(np.int64).min)
"""Stands for an instant that is not known."""


@dataclass
class Chunk:
    """Candles as columns, one element a candle, in file order: `open_time` in unix seconds, numbers NaN if unknown.

    `provisional` marks the newest candle of the file when nothing shows that it had closed.
    """

    open_time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume_base: Floats
    volume_quote: Floats
    trades: Floats
    line_number: Ints
    provisional: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.open_time)

    def take(self, rows: "Ints | NDArray[np.bool_] | slice") -> "Chunk":
        """Return the chunk of the chosen rows."""
        return Chunk(**{name: getattr(self, name)[rows] for name in _ARRAYS})


_ARRAYS = (
    "open_time", "open", "high", "low", "close", "volume_base", "volume_quote", "trades", "line_number", "provisional",
)  # fmt: skip


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Return several chunks as one."""
    if len(chunks) == 1:
        return chunks[0]
    return Chunk(**{name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in _ARRAYS})


def no_candles() -> Chunk:
    """Return a chunk of length 0."""
    kinds = {"open_time": np.int64, "line_number": np.int64, "provisional": np.bool_}
    return Chunk(**{name: np.empty(0, dtype=kinds.get(name, np.float64)) for name in _ARRAYS})
