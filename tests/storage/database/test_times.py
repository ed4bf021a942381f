from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, insert, select, text

from storage.database.times import UtcDateTime

instants = Table(
    "instants",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("coarse", UtcDateTime()),
    Column("fine", UtcDateTime(precise=True)),
)
INSTANT = datetime(2025, 1, 31, 22, 4, 5, 678_901, tzinfo=UTC)


@pytest.fixture
def stored(engine: Engine) -> Engine:
    instants.create(engine)
    with engine.begin() as conn:
        elsewhere = INSTANT.astimezone(timezone(timedelta(hours=9)))
        conn.execute(
            insert(instants),
            [{"id": 1, "coarse": elsewhere, "fine": elsewhere}, {"id": 2, "coarse": None, "fine": None}],
        )
    return engine


def test_instants_of_any_zone_are_read_back_as_aware_utc(stored: Engine) -> None:
    with stored.connect() as conn:
        rows = conn.execute(select(instants.c.coarse, instants.c.fine).order_by(instants.c.id)).all()
    assert rows == [(INSTANT.replace(microsecond=0), INSTANT), (None, None)]
    assert all(value.tzinfo is UTC or value.utcoffset() == timedelta(0) for value in rows[0])


def test_a_naive_instant_is_refused(stored: Engine) -> None:
    with pytest.raises(Exception, match="expected an aware instant"), stored.begin() as conn:
        conn.execute(insert(instants).values(id=3, fine=INSTANT.replace(tzinfo=None)))


def test_sqlite_stores_instants_as_readable_sortable_text(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    instants.create(engine)
    with engine.begin() as conn:
        conn.execute(insert(instants).values(id=1, coarse=INSTANT, fine=INSTANT))
        stored_texts = conn.execute(text("SELECT coarse, fine FROM instants")).one()
    engine.dispose()
    assert stored_texts == ("2025-01-31 22:04:05", "2025-01-31 22:04:05.678901")
