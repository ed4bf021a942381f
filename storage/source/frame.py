"""A CryptoDataDownload file read straight into a frame, for work that keeps nothing: the study."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from models.candles import CANDLE_COLUMNS, SeriesName
from storage.chunk import joined
from storage.errors import CddNotFound
from storage.source.file import CddFile

if TYPE_CHECKING:
    from models.frames import CandleFrame


def read_candle_file(
    path: Path, *, series: SeriesName, start: datetime | None = None, end: datetime | None = None
) -> "CandleFrame":
    """Return the closed candles of a file with start <= open_time <= end, oldest first, whatever order it has.

    Rows that are no candles are left out, and so is the newest row while nothing shows that its candle had closed.
    Raises CddNotFound when there is no such file, CddRefused or CddFormatChanged when it holds no candles of `series`.
    """
    import pandas as pd

    if not path.is_file():
        raise CddNotFound(f"expected a CSV file of {series}, there is none at {path}")
    with path.open("rb") as stream:
        read = joined(list(CddFile(stream, series).chunks()))
    read = read.take(~read.provisional)
    opened = pd.Series(read.open_time.astype("datetime64[s]").astype("datetime64[us]")).dt.tz_localize("UTC")
    times = {"open_time": opened, "close_time": opened + series.interval.length}
    values = {name: getattr(read, name) for name in CANDLE_COLUMNS if name not in times}
    frame = pd.DataFrame({**times, **values})[list(CANDLE_COLUMNS)].sort_values("open_time")
    if start is not None:
        frame = frame[frame["open_time"] >= start]
    if end is not None:
        frame = frame[frame["open_time"] <= end]
    return frame.reset_index(drop=True)
