"""The live forecast: the champion and the newest closed candle in, a stored forecast out."""

from collections.abc import Sequence

from sqlalchemy import Engine

from models.catalog import forecaster
from models.errors import NotEnoughCandles
from models.forecasts import Kind
from models.history import CandleHistory
from models.times import Clock
from storage.candles import latest_close_time, not_before, read_history
from storage.database.engine import reading, writing
from storage.forecasts import insert_forecasts, missing_origins
from tasks.steps.train import load_trained


def forecast_live(
    engine: Engine,
    *,
    series: str,
    versions: Sequence[int],
    horizon: int,
    clock: Clock,
    flow_run: str | None = None,
) -> list[int]:
    """Store the live forecasts of model `versions` from the newest closed candle; returns the versions whose were new.

    Each is stored with the time that `clock` reads when it is written, however long ago the run began: that decides
    whether its steps count as live.

    Raises NotEnoughCandles when the series is shorter than a model needs, and BadWeights for damaged weights; the
    forecasts of the versions before that one are stored.
    """
    with reading(engine) as conn:
        origin = latest_close_time(conn, series=series)
    if origin is None:
        raise NotEnoughCandles(f"{series} has no closed candle yet to forecast from")
    new: list[int] = []
    history: CandleHistory | None = None
    for version in versions:
        with reading(engine) as conn:
            trained = load_trained(conn, version=version)
            if not missing_origins(conn, series=series, model=trained.model, kind=Kind.LIVE, origins=[origin]):
                continue
            # Read once for all of them.
            history = history or read_history(conn, series=series)
        forecasts = forecaster(trained.model).forecast(trained, history.known_at(), [origin], horizon)
        with writing(engine) as conn:
            stored = insert_forecasts(
                conn,
                series=series,
                model=trained.model,
                model_version=version,
                kind=Kind.LIVE,
                forecasts=forecasts,
                created_at=not_before(history, clock()),
                flow_run=flow_run,
            )
        new += [version] * stored
    return new
