"""Opening a database for writing renews its views if the code has other texts for them."""

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


def test_opening_a_database_renews_a_view_with_an_older_text(with_old_view: Engine, database_url: str) -> None:
    open_database(database_url).dispose()
    assert "naive_crps" in columns(with_old_view)
    assert all(columns(with_old_view, view) for view in tables.VIEWS)


def test_a_view_written_by_another_version_of_candlecast_is_renewed(
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


def test_opening_a_database_for_reading_renews_no_view(with_old_view: Engine, database_url: str) -> None:
    open_for_reading(database_url).dispose()
    assert columns(with_old_view) == ["series", "model"]


def test_opening_a_database_with_current_views_does_not_wait_for_a_writer(engine: Engine, database_url: str) -> None:
    with writing(engine) as conn:
        conn.execute(text("DELETE FROM findings"))
        open_database(database_url).dispose()


def test_several_processes_may_renew_the_views_at_once(with_old_view: Engine, database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for opened in pool.map(open_database, [database_url] * 4):
            opened.dispose()
    assert "naive_crps" in columns(with_old_view)
