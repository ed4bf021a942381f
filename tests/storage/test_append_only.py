from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, text

from storage.errors import StatementRefused

TABLES = {"promotions": "reason", "forecasts": "flow_run", "forecast_values": "value", "scores": "crps"}


@pytest.fixture
def recorded(store: Any, engine: Engine) -> Engine:
    version = store.add_version()
    store.add_forecasts(version, [store.origin])
    store.promote(version)
    store.add_score(1, 1, 2.0)
    return engine


def rows_of(engine: Engine, table: str) -> list[Any]:
    with engine.connect() as conn:
        return list(conn.execute(text(f"SELECT * FROM {table}")))


@pytest.mark.parametrize("table", TABLES)
def test_records_cannot_be_changed_or_deleted(recorded: Engine, table: str) -> None:
    statements = [f"UPDATE {table} SET {TABLES[table]} = {TABLES[table]}", f"DELETE FROM {table}"]
    if recorded.dialect.name == "postgresql":
        statements.append(f"TRUNCATE {table} CASCADE")
    before = rows_of(recorded, table)
    assert before
    for statement in statements:
        with pytest.raises(StatementRefused, match=f"{table} is append-only"), recorded.begin() as conn:
            conn.execute(text(statement))
    assert rows_of(recorded, table) == before


@pytest.mark.parametrize("table", TABLES)
def test_records_cannot_be_replaced_by_new_ones_of_the_same_key(store: Any, recorded: Engine, table: str) -> None:
    copied = ", ".join(
        {TABLES[table]: "NULL" if table == "forecasts" else "'9'"}.get(column, column)
        for column in rows_of(recorded, table)[0]._fields
    )
    replace = "INSERT OR REPLACE INTO {0}" if recorded.dialect.name == "sqlite" else "INSERT INTO {0}"
    before = rows_of(recorded, table)
    # Some tables refuse the new row and some ignore it; neither may change a stored row.
    with suppress(StatementRefused), recorded.begin() as conn:
        conn.execute(text(f"{replace.format(table)} SELECT {copied} FROM {table}"))
    assert rows_of(recorded, table) == before


def test_a_forecast_cannot_be_replaced_under_another_number(recorded: Engine) -> None:
    columns = "series, model, model_version, origin, kind, created_at, data_fingerprint"
    replace = "INSERT OR REPLACE INTO" if recorded.dialect.name == "sqlite" else "INSERT INTO"
    before = rows_of(recorded, "forecasts")
    with suppress(StatementRefused), recorded.begin() as conn:
        conn.execute(text(f"{replace} forecasts (id, {columns}) SELECT 99, {columns} FROM forecasts"))
    assert rows_of(recorded, "forecasts") == before
