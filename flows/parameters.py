"""The types of the flows' parameters: Prefect checks them before a run begins, and its pages show what they allow."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from models.candles import SeriesName
from models.catalog import MODEL_NAMES, checked_model
from models.times import as_instant


def _series(name: str) -> str:
    return str(SeriesName.parse(name))


def _first(value: object) -> object:
    return as_instant(value) if isinstance(value, str) else value


def _last(value: object) -> object:
    return as_instant(value, end_of_day=True) if isinstance(value, str) else value


SeriesParameter = Annotated[
    str,
    AfterValidator(_series),
    Field(description="A series as CDD names its file, such as Bitstamp_BTCUSD_d."),
]
ModelParameter = Annotated[str, AfterValidator(checked_model), Field(description=f"One of {', '.join(MODEL_NAMES)}.")]
StartParameter = Annotated[
    datetime, BeforeValidator(_first), Field(description="First origin, UTC: a day such as 2024-01-01, or an instant.")
]
EndParameter = Annotated[
    datetime, BeforeValidator(_last), Field(description="Last origin, UTC; a bare day is included whole.")
]
