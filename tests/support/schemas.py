"""Databases with the schema of an older release, and rows in them."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, Table, insert, inspect

from storage.tables import forecast_values, forecasts, metadata, model_versions

DAY = timedelta(days=1)


def upgrade_to(version: str, engine: Engine) -> None:
    """Bring the schema of the engine's database to a released version."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "storage.database:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, version)


def declared_columns(engine: Engine) -> dict[str, list[str]]:
    """Return the columns of each table that both tables.py and the database have, in the order of tables.py."""
    present = inspect(engine)
    return {
        name: [c.name for c in table.c if c.name in {one["name"] for one in present.get_columns(name)}]
        for name, table in metadata.tables.items()
    }


def fill(store: Any) -> None:
    """Store a few rows in each of most tables, in the columns that the database has."""
    columns = declared_columns(store.engine)

    def add(table: Table, **values: Any) -> None:
        present = {name: value for name, value in values.items() if name in columns[table.name]}
        with store.engine.begin() as conn:
            conn.execute(insert(table).values(present))

    store.add_candle(store.origin, 1.0)
    store.add_candle(store.origin, 2.0, fetched_at=store.now + DAY)
    store.add_candle(store.origin + DAY, 3.0, provisional=True)
    add(
        model_versions, id=1, series=store.series, interval="d", model="lstm", purpose="live",
        config='{"pool": ["Kraken_ETHEUR_d"]}', config_sha256="c" * 64, seed=7, cutoff=store.origin,
        learnt_from=f'["{store.series}"]', data_fingerprint="f" * 64, code_version="0.1.0+abc", device="cpu",
        seconds=1.5, created_at=store.now, weights=b"weights", weights_sha256="0" * 64,
    )  # fmt: skip
    add(
        model_versions, id=2, series=store.series, interval="d", model="naive", purpose="live", config="{}",
        config_sha256="d" * 64, seed=0, learnt_from="[]", data_fingerprint="f" * 64, code_version="0.1.0+abc",
        device="cpu", seconds=0.0, created_at=store.now,
    )  # fmt: skip
    store.promote(1)
    # The baseline's forecast is stored beside the newest of the champion.
    for n, (model, version, day) in enumerate([("lstm", 1, 0), ("lstm", 1, 1), ("lstm", 1, 2), ("naive", 2, 2)]):
        origin = store.origin + day * DAY
        add(
            forecasts, id=n + 1, series=store.series, model=model, model_version=version, origin=origin, kind="live",
            created_at=origin + DAY / 24, data_fingerprint="a" * 64,
        )  # fmt: skip
        add(forecast_values, forecast=n + 1, step=1, quantile=0.5, target_time=origin, value=100.0)
    store.add_score(1, 1, 0.5)
