"""The live forecasts: from the newest closed candle, one by each model that forecasts live."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from models.catalog import forecaster, scope
from models.errors import ModelError
from models.forecasts import BASELINE, REFERENCES, Kind
from models.history import CandleHistory
from models.times import Clock
from storage import decisions, registry
from storage.candles import closed_count, not_before, read_history
from storage.database.engine import reading, writing
from storage.errors import NotFound
from storage.forecasts import insert_forecasts, missing_origins
from tasks.steps.gate import ensure_champion
from tasks.steps.train import baseline_version, load_trained, newest_origin
from tasks.steps.young import lacks_candles, note_young


class Newest(NamedTuple):
    """The newest origin of a series, which is its newest close, and how many closed candles it has by then."""

    origin: datetime
    closed: int


class LiveForecasts(NamedTuple):
    """The champion's version, the versions whose forecasts are new, and which models lack candles, None without any."""

    champion: int
    new: list[int]
    young: str | None = None


def forecast_newest(
    engine: Engine, *, series: str, model: str, horizon: int, clock: Clock, flow_run: str | None = None
) -> LiveForecasts:
    """Store the live forecasts of the newest origin that are missing: the references', the champion's and `model`'s.

    `model` is the model that was asked for: its newest version forecasts from its first training on, champion or not.
    Of one model one version forecasts an origin; where the champion is of `model`, that is the champion. A version that
    learnt from candles after the origin does not forecast it: where a market's candle is late, the model's newest
    version from before that origin does. Raises as `forecast_live` does.
    """
    champion = ensure_champion(engine, series=series, baseline=BASELINE, now=clock())
    versions = [baseline_version(engine, series=series, model=name, now=clock()) for name in REFERENCES]
    newest = read_newest(engine, series=series)
    with reading(engine) as conn:
        serving = decisions.champion(conn, series=series)

        def newest_of(name: str) -> list[int]:
            version = registry.newest_version(conn, scope=scope(name, series), model=name, by=newest.origin)
            return [] if version is None else [version.id]

        ahead = serving is not None and serving.cutoff is not None and serving.cutoff > newest.origin
        versions += newest_of(serving.model) if serving is not None and ahead else [champion]
        if serving is None or serving.model != model:
            versions += newest_of(model)
    new = forecast_live(
        engine,
        series=series,
        newest=newest,
        versions=list(dict.fromkeys(versions)),
        horizon=horizon,
        clock=clock,
        flow_run=flow_run,
    )
    models = [*REFERENCES, model, *([] if serving is None else [serving.model])]
    young = note_young(engine, series=series, models=models, closed=newest.closed, latest=newest.origin, now=clock())
    return LiveForecasts(champion, new, None if young is None else young.message)


def read_newest(engine: Engine, *, series: str) -> Newest:
    """Return the newest origin of `series`; raises NotEnoughCandles as `newest_origin` does."""
    origin = newest_origin(engine, series=series)
    with reading(engine) as conn:
        return Newest(origin, closed_count(conn, series=series))


def forecast_live(
    engine: Engine,
    *,
    series: str,
    newest: Newest,
    versions: Sequence[int],
    horizon: int,
    clock: Clock,
    flow_run: str | None = None,
) -> list[int]:
    """Store the live forecasts of model `versions` from the `newest` origin; returns the versions whose were new.

    Each is stored with the time that `clock` reads when it is written, however long ago the run began: that decides
    whether its steps count as live.

    A model that needs more candles than the series has is left out. Raises NotEnoughCandles where gaps leave too few
    returns, and BadWeights for damaged weights, once the forecasts of all other versions are stored.
    """
    new: list[int] = []
    failures: list[ModelError | NotFound] = []
    history: CandleHistory | None = None
    for version in versions:
        try:
            with reading(engine) as conn:
                trained = load_trained(conn, version=version)
                if lacks_candles(trained.model, newest.closed):
                    continue
                if not missing_origins(
                    conn, series=series, model=trained.model, kind=Kind.LIVE, origins=[newest.origin]
                ):
                    continue
                # Read once for all of them.
                history = history or read_history(conn, series=series)
            forecasts = forecaster(trained.model).forecast(trained, history.known_at(), [newest.origin], horizon)
        except (ModelError, NotFound) as error:
            failures.append(error)
            continue
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
    if failures:
        raise failures[0]
    return new
