"""A database with one series, and short methods that store the rows a test needs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import Engine, insert

from models.candles import SeriesName
from models.catalog import scope
from models.forecasts import QUANTILE_LEVELS, Forecast, Kind
from storage import decisions, registry
from storage.forecasts import insert_forecasts
from storage.scores import Score, insert_scores
from storage.series import ensure_series
from storage.tables import candles, downloads

DAY = timedelta(days=1)


class Store:
    """A database with one series, and methods that each commit one change."""

    now = datetime(2020, 3, 1, 0, 20, tzinfo=UTC)
    origin = datetime(2020, 1, 10, tzinfo=UTC)
    series = "Bitstamp_BTCUSD_d"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.add_series(self.series)

    def add_series(self, name: str) -> None:
        with self.engine.begin() as conn:
            ensure_series(conn, name=SeriesName.parse(name), now=self.now)

    def add_version(
        self,
        model: str = "naive",
        *,
        series: str | None = None,
        cutoff: datetime | None = None,
        purpose: str = "live",
        seed: int = 0,
        weights: bytes | None = None,
        init_from: int | None = None,
        config: dict[str, object] | None = None,
        learnt_from: Sequence[str] = (),
    ) -> int:
        with self.engine.begin() as conn:
            return registry.register(
                conn,
                scope=scope(model, series or self.series),
                model=model,
                config=config or {"days": 365},
                seed=seed,
                cutoff=cutoff,
                data_fingerprint="f" * 64,
                device="cpu",
                seconds=1.5,
                purpose=purpose,
                code_version="0.1.0+abc",
                created_at=self.now,
                weights=weights,
                init_from=init_from,
                learnt_from=learnt_from,
            )

    def forecast(self, origin: datetime | None = None, *, centre: float = 100.0, horizon: int = 7) -> Forecast:
        """A forecast whose quantiles at every step are all different."""
        values = np.array([[centre + h + 10 * level for level in QUANTILE_LEVELS] for h in range(horizon)])
        return Forecast(origin or self.origin, values, "a" * 64)

    def add_forecasts(
        self,
        version: int,
        origins: Sequence[datetime],
        *,
        model: str = "naive",
        kind: Kind = Kind.LIVE,
        series: str | None = None,
        centre: float = 100.0,
        created_at: datetime | None = None,
    ) -> int:
        """Store a forecast for each origin; a live one is created 20 minutes after it unless `created_at` is given."""
        stored = 0
        with self.engine.begin() as conn:
            for origin in origins:
                soon = origin + timedelta(minutes=20) if kind is Kind.LIVE else self.now
                stored += insert_forecasts(
                    conn,
                    series=series or self.series,
                    model=model,
                    model_version=version,
                    kind=kind,
                    forecasts=[self.forecast(origin, centre=centre)],
                    created_at=created_at or soon,
                )
        return stored

    def promote(self, version: int, *, outcome: str = "promoted", series: str | None = None) -> None:
        with self.engine.begin() as conn:
            decisions.decide(
                conn,
                series=series or self.series,
                version=version,
                outcome=outcome,
                reason="because",
                evidence={"p": 0.01},
                decided_at=self.now,
            )

    def add_candle(
        self,
        open_time: datetime,
        close: float,
        *,
        series: str | None = None,
        fetched_at: datetime | None = None,
        provisional: bool = False,
        file_time: datetime | None = None,
        **values: float,
    ) -> None:
        """Store a revision of a daily candle; prices not given equal its close, and volumes are unknown."""
        series, fetched = series or self.series, fetched_at or self.now
        with self.engine.begin() as conn:
            download = conn.execute(
                insert(downloads).values(
                    series=series, url="u", fetched_at=fetched, file_time=file_time, outcome="stored"
                )
            ).inserted_primary_key
            assert download is not None
            conn.execute(
                insert(candles).values(
                    **({"open": close, "high": close, "low": close, "close": close} | values),
                    series=series,
                    open_time=open_time,
                    close_time=open_time + DAY,
                    fetched_at=fetched,
                    provisional=provisional,
                    download=download[0],
                )
            )

    def add_score(
        self,
        forecast: int,
        step: int,
        error: float,
        *,
        crps: float = 0.01,
        pit: float = 0.5,
        truth_fetched_at: datetime | None = None,
    ) -> int:
        score = Score(
            forecast=forecast,
            step=step,
            truth_fetched_at=truth_fetched_at or self.now,
            actual=100.0,
            absolute_error=error,
            crps=crps,
            covered50=False,
            covered80=True,
            covered95=True,
            pit=pit,
        )
        with self.engine.begin() as conn:
            return insert_scores(conn, rows=[score], scored_at=self.now)
