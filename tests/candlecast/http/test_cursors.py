"""Cursors: pages lose no row and repeat none, even if rows are stored between two pages."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from web_server import Web

from candlecast.http.cursors import from_cursor, to_cursor
from models.forecasts import QUANTILE_LEVELS, Forecast, Kind
from storage.database.engine import make_engine
from storage.forecasts import insert_forecasts

SERIES = "Coinbase_BTCUSD_d"


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P"))), st.integers(0, 2**63 - 1), st.datetimes())
def test_a_decoded_cursor_equals_the_encoded_one(word, number, moment):
    key = (word, number, moment.replace(tzinfo=UTC))
    assert from_cursor(to_cursor(key), str, int, datetime) == key


@given(st.text(max_size=50))
def test_anything_else_is_refused(garbage):
    with pytest.raises(ValueError, match="cursor"):
        from_cursor(garbage, str, datetime, str, str, int)


@pytest.fixture(scope="module")
def web(daily_done):
    with Web(daily_done) as running:
        yield running


def pages(web, question, between=lambda: None):
    rows, cursor = [], None
    while True:
        page = web.get(f"/api/v1/{question}" + (f"&cursor={cursor}" if cursor else "")).json()
        rows += page["rows"]
        cursor = page["next"]
        if cursor is None:
            return rows
        between()


@pytest.mark.parametrize(
    "question",
    ["forecasts?limit=1000", "forecasts?kind=live&limit=3", "origins?limit=100", f"candles?series={SERIES}&limit=333",
     f"arrivals?series={SERIES}&limit=500", "arrivals?limit=700",
     "models?limit=1", "decisions?limit=1", "findings?limit=1", "series?limit=1"],
)  # fmt: skip
def test_all_pages_together_are_the_whole_answer_in_order(web, question):
    whole = web.get(f"/api/v1/{question.rsplit('limit=')[0]}limit=10000").json()
    assert whole["next"] is None
    assert pages(web, question) == whole["rows"]
    if question.startswith(("candles", "arrivals")):
        assert len(whole["rows"]) == 1769


def test_rows_stored_between_two_pages_move_no_row(daily_done, tmp_path):
    database = tmp_path / "copy.db"
    shutil.copy(daily_done.database, database)
    url = f"sqlite:///{database}"
    engine = make_engine(url)
    with engine.connect() as conn:
        version = conn.execute(text("SELECT max(id) FROM model_versions WHERE model = 'naive'")).scalar_one()
    stored = 0
    with Web(daily_done, CANDLECAST_DATABASE_URL=url) as web:
        question = "forecasts?model=naive&limit=500"
        before = pages(web, question)
        first = datetime.fromisoformat(before[0]["origin"])

        def store_an_earlier_one() -> None:
            nonlocal stored
            stored += 1
            values = np.array([[100.0 + level for level in QUANTILE_LEVELS]] * 7)
            with engine.begin() as conn:
                insert_forecasts(
                    conn, series=SERIES, model="naive", model_version=version, kind=Kind.BACKFILL,
                    forecasts=[Forecast(first - stored * timedelta(days=1), values, "f")], created_at=first,
                )  # fmt: skip

        assert pages(web, question, store_an_earlier_one) == before
        assert stored == 4
        assert len(pages(web, question)) == len(before) + 7 * stored
    engine.dispose()
