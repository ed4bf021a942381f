"""The chance that a close is above or below a price, and the price of a chance, from one stored forecast."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from models.candles import SeriesName
from models.chance import chance_of, price_of
from models.forecasts import Bound, Chance, Kind, Side, target_time
from models.wording import after_close, chance_words, close_name, price_words
from storage.forecasts import OriginRow, load_values
from tasks.steps.chosen import ForecastChoice, find_chosen


class ChanceRow(NamedTuple):
    """The chance that one step's close is on one side of a price, and the forecast that says so.

    `bound` is `exact`, or `at most` (0.01) or `at least` (0.99) where the price lies beyond the stored quantiles.
    `before_close` is true where the forecast was stored before that close.
    """

    forecast_id: int
    series: str
    model: str
    kind: str
    origin: datetime
    created_at: datetime
    step: int
    target_time: datetime
    before_close: bool
    side: str
    price: float
    chance: float
    bound: str


def answered_chance(
    conn: Connection,
    choice: ForecastChoice,
    *,
    above: float | None = None,
    below: float | None = None,
    chance: float | None = None,
    step: int = 1,
) -> ChanceRow:
    """Return the answer to one question: the chance to close above or below a price, or the price of a chance.

    With `chance` the price is that below which the close is with this chance. Raises ValueError unless exactly one of
    the three is given, for one of a wrong size and for a step that the forecast lacks; NotFound for no such forecast.
    """
    given = {
        name: value for name, value in (("above", above), ("below", below), ("chance", chance)) if value is not None
    }
    if len(given) != 1:
        came = " and ".join(given) or "none of them"
        raise ValueError(f"expected one of above, below and chance, got {came}")
    stored = find_chosen(conn, choice)
    steps = load_values(conn, forecast=stored.forecast_id)
    if not 1 <= step <= len(steps):
        raise ValueError(f"expected a step from 1 to {len(steps)}, got {step}")
    quantiles = steps[step - 1]
    if chance is not None:
        return _row(stored, step, Side.BELOW, price_of(chance, quantiles), Chance(chance, Bound.EXACT))
    side = Side.BELOW if above is None else Side.ABOVE
    price = next(iter(given.values()))
    return _row(stored, step, side, price, chance_of(side, price, quantiles))


def _row(stored: OriginRow, step: int, side: Side, price: float, chance: Chance) -> ChanceRow:
    interval, origin = SeriesName.parse(stored.series).interval, stored.origin
    return ChanceRow(
        forecast_id=stored.forecast_id,
        series=stored.series,
        model=stored.model,
        kind=stored.kind,
        origin=origin,
        created_at=stored.created_at,
        step=step,
        target_time=target_time(origin, step, interval),
        before_close=stored.kind == Kind.LIVE and stored.created_at < origin + step * interval.length,
        side=side.value,
        price=price,
        chance=chance.value,
        bound=chance.bound.value,
    )


def chance_sentence(row: ChanceRow) -> str:
    """Return the answer in words, with the forecast that says so."""
    name = SeriesName.parse(row.series)
    close = close_name(row.target_time + name.interval.length, name.interval)
    words = chance_words(Chance(row.chance, Bound(row.bound)))
    return (
        f"{row.series}: the {close} is {row.side} {price_words(row.price)} {name.quote} with a chance of {words} "
        f"({row.model}, {row.kind}, {after_close(row.origin, name.interval)})"
    )
