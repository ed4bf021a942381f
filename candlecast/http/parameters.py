"""What a client may say in a question to the HTTP API: its parameters, and which page of the answer it wants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Response

from candlecast.http.answers import answer
from candlecast.http.cursors import MOST_CHARACTERS, from_cursor, to_cursor
from candlecast.output import columns_of
from models.forecasts import Kind, ScoreKind

PAGE_ROWS = 1000
MOST_ROWS = 10_000

Series = Annotated[str | None, Query(description="One series, such as Bitstamp_BTCUSD_d.", max_length=100)]
OneSeries = Annotated[str, Query(description="One series, such as Bitstamp_BTCUSD_d.", max_length=100)]
When = Annotated[str | None, Query(description="A day or an instant, UTC.", max_length=40)]
Model = Annotated[str | None, Query(description="One model, such as naive.", max_length=40, pattern="^[a-z-]+$")]
OneKind = Annotated[Kind | None, Query(description="live or backfill; default: both, in separate rows.")]
# Of the one forecast that a question is about.
ChosenModel = Annotated[
    str | None, Query(description="One model; default: the champion.", max_length=40, pattern="^[a-z-]+$")
]
ChosenKind = Annotated[Kind | None, Query(description="live or backfill; default: live where there is one.")]
OneScoreKind = Annotated[
    ScoreKind | None,
    Query(
        description="live (stored before the close), late (stored after) or backfill; default: all, in separate rows."
    ),
]
Price = Annotated[float | None, Query(gt=0, allow_inf_nan=False, description="A price in the quote currency.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of a page.")]
Cursor = Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="`next` of the page before.")]
Format = Annotated[str, Query(pattern="^(json|csv)$", description="json or csv.")]


@dataclass(frozen=True)
class AskedPage:
    """Which page of an answer a client asks for, and in which format."""

    limit: Limit = PAGE_ROWS
    cursor: Cursor = None
    format: Format = "json"

    @property
    def rows(self) -> int:
        """How many rows to read: one more than the page holds, to see whether another page follows."""
        return self.limit + 1

    def after(self, *types: type) -> Any:  # noqa: ANN401 - the types say what it is
        """Return the key of the last row before this page, None for the first page.

        A key of several `types` is a tuple, a key of one type is its value. Raises ValueError for any other cursor.
        """
        if self.cursor is None:
            return None
        key = from_cursor(self.cursor, *types)
        return key if len(types) > 1 else key[0]

    def answer(self, kind: type, read: Sequence[Any], key: Callable[[Any], tuple[Any, ...]]) -> Response:
        """Return the page of `read`, which are rows of type `kind`, at most `rows` of them."""
        rows = read[: self.limit]
        following = to_cursor(key(rows[-1])) if len(read) > self.limit else None
        return answer(columns_of(kind), rows, self.format, following)


Page = Annotated[AskedPage, Depends()]
