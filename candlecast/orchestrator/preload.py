"""Import the model while Prefect's server starts, if the command will need it."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module

from flows.settings import Settings
from models.candles import SeriesName
from models.catalog import family, forecaster
from models.errors import ModelError
from models.freshness import is_candle_due
from storage.candles import latest_close_time
from storage.database.engine import disposing, open_for_reading, reading

# Packages that models and charts import only when they first use them.
LATER = ("matplotlib.pyplot", "scipy.stats", "sklearn.ensemble")


def import_what_is_due(settings: Settings, names: Sequence[str]) -> None:
    """Import the model, which takes seconds, if a new candle is probably there to forecast from."""
    if family(settings.model).learns and _something_is_due(settings, names):
        # The day says which forecasts could not be made, after the others.
        with suppress(ModelError):
            forecaster(settings.model)
        for name in LATER:
            import_module(name)


def _something_is_due(settings: Settings, names: Sequence[str]) -> bool:
    now = datetime.now(UTC)
    with disposing(open_for_reading(settings.database_url)) as engine, reading(engine) as conn:
        return any(
            is_candle_due(latest_close_time(conn, series=name), SeriesName.parse(name).interval, now) for name in names
        )
