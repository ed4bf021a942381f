"""The views of an existing database are those of the code that opens it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from storage import tables
from storage.database.engine import open_database, open_for_reading, reading, writing


def columns(engine: Engine, view: str = "model_skill") -> list[str]:
    with reading(engine) as conn:
        return list(conn.execute(text(f"SELECT * FROM {view}")).keys())


@pytest.fixture
def with_old_view(engine: Engine) -> Engine:
    """A database whose view `model_skill` has an older text."""
    with writing(engine) as conn:
        conn.execute(text("DROP VIEW model_skill"))
        conn.execute(text("CREATE VIEW model_skill AS SELECT s.series, s.model FROM current_scores s"))
    return engine


def test_opening_a_database_renews_a_view_that_has_an_older_text(with_old_view: Engine, database_url: str) -> None:
    open_database(database_url).dispose()
    assert "naive_crps" in columns(with_old_view)
    assert all(columns(with_old_view, view) for view in tables.VIEWS)


def test_a_view_that_another_candlecast_wrote_is_renewed_too(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = columns(engine)
    with monkeypatch.context() as older:
        for texts in (tables.views("sqlite"), tables.views("postgresql")):
            older.setitem(texts, "model_skill", "SELECT s.series, s.model FROM current_scores s")
        open_database(database_url).dispose()
        assert columns(engine) == ["series", "model"]
    open_database(database_url).dispose()
    assert columns(engine) == before


def test_reading_a_database_renews_nothing(with_old_view: Engine, database_url: str) -> None:
    open_for_reading(database_url).dispose()
    assert columns(with_old_view) == ["series", "model"]


def test_opening_a_database_whose_views_are_current_waits_for_no_writer(engine: Engine, database_url: str) -> None:
    with writing(engine) as conn:
        conn.execute(text("DELETE FROM findings"))
        open_database(database_url).dispose()


def test_several_may_renew_them_at_once(with_old_view: Engine, database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for opened in pool.map(open_database, [database_url] * 4):
            opened.dispose()
    assert "naive_crps" in columns(with_old_view)
