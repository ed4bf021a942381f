"""Kept answers: never older than the last commit, never those of another question, and limited in size."""

import asyncio
import gzip
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.middleware.gzip import GZipMiddleware
from web_server import Web

from candlecast.http.answers import answer, problem
from candlecast.http.kept_answers import OVERHEAD_BYTES, KeptAnswers
from models.candles import SeriesName
from storage.database.engine import make_engine, open_database
from storage.database.watched import Watched
from storage.series import ensure_series

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SERIES = "Coinbase_BTCUSD_d"


def add(url: str, *names: str) -> None:
    engine = make_engine(url)
    for name in names:
        with engine.begin() as conn:
            ensure_series(conn, name=SeriesName.parse(name), now=NOW)
    engine.dispose()


def names(web: Web) -> list[str]:
    return [row["name"] for row in web.get("/api/v1/series").json()["rows"]]


def test_an_answer_changes_with_the_very_next_commit_of_another_process(empty, database_url):
    open_database(database_url).dispose()
    with Web(empty, CANDLECAST_DATABASE_URL=database_url) as web:
        stored = [f"Bitstamp_{chr(65 + number)}BTCUSD_d" for number in range(25)]
        for number, name in enumerate(stored):
            first = web.get("/api/v1/series")
            assert [row["name"] for row in first.json()["rows"]] == stored[:number]
            condition = {"If-None-Match": first.headers["ETag"]}
            assert web.get("/api/v1/series", headers=condition).status_code == 304
            add(database_url, name)
            assert web.get("/api/v1/series", headers=condition).status_code == 200
        assert names(web) == stored


def test_replacing_the_database_file_changes_the_answers(empty, tmp_path):
    database, other = tmp_path / "a.db", tmp_path / "b.db"
    for path, name in ((database, "Bitstamp_BTCUSD_d"), (other, "Bitstamp_ETHUSD_d")):
        open_database(f"sqlite:///{path}").dispose()
        add(f"sqlite:///{path}", name)
    with Web(empty, CANDLECAST_DATABASE_URL=f"sqlite:///{database}") as web:
        assert names(web) == names(web) == ["Bitstamp_BTCUSD_d"]
        database.unlink()
        without_file = web.get("/api/v1/series")
        assert without_file.status_code == 503
        assert "there is no database" in without_file.json()["detail"]
        other.rename(database)
        assert names(web) == ["Bitstamp_ETHUSD_d"]


def test_a_kept_answer_is_for_those_with_the_token_only(daily_done):
    with Web(daily_done, CANDLECAST_API_TOKEN="hunter2") as web:
        leave = {"Authorization": "Bearer hunter2"}
        first = web.get("/api/v1/series", headers=leave)
        again = web.get("/api/v1/series", headers=leave)
        assert again.content == first.content
        for stranger in ({}, {"Authorization": "Bearer hunter3"}, {"If-None-Match": first.headers["ETag"]}):
            refused = web.get("/api/v1/series", headers=stranger)
            assert refused.status_code == 401
            assert SERIES not in refused.text


def test_kept_answers_carry_the_same_headers_and_a_304_those_of_its_200(daily_done):
    with Web(daily_done) as web:
        path = "/api/v1/candles?series=Coinbase_BTCUSD_d&format=csv&limit=100"
        first, again = web.get(path), web.get(path)
        unlike = {"date"}
        assert {k: v for k, v in first.headers.lower_items() if k not in unlike} == {
            k: v for k, v in again.headers.lower_items() if k not in unlike
        }
        assert again.headers["X-Next-Cursor"]
        unchanged = web.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert unchanged.status_code == 304
        assert unchanged.content == b""
        several = {"If-None-Match": f'"other", W/{first.headers["ETag"]}'}
        assert web.get(path, headers=several).status_code == 304
        assert first.headers["Content-Encoding"] == "gzip"
        for name in ("ETag", "Vary", "Cache-Control", "X-Next-Cursor", "Content-Security-Policy"):
            assert unchanged.headers[name] == first.headers[name]
        plain = web.get(path, headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        assert plain.content == first.content


def test_answers_that_depend_on_the_clock_are_not_kept(daily_done):
    with Web(daily_done) as web:
        ages = [web.get("/healthz").json()["data_age_s"][SERIES] for _ in range(2)]
        assert ages[0] < ages[1]
        assert web.get("/metrics").text != web.get("/metrics").text


class CountingApp:
    """Answers the stored series, or a problem for /api/v1/wrong, behind the middlewares; counts its calls."""

    def __init__(self, database: Watched, most_bytes: int) -> None:
        self.count = 0
        self._database = database
        self.kept = KeptAnswers(
            GZipMiddleware(self._app, minimum_size=1000), database=database, most_bytes=most_bytes,
            is_kept=lambda path: path.startswith("/api/v1/"), period=lambda _path: self.period,
        )  # fmt: skip
        self.period = 0

    async def _app(self, scope, receive, send):
        self.count += 1
        await asyncio.sleep(0.01)
        if scope["path"] == "/api/v1/wrong":
            response = problem(404, "there is no such thing")
        else:
            with self._database.connect() as conn:
                response = answer(("name",), conn.execute(text("SELECT name FROM series")).all(), "json", None)
        await response(scope, receive, send)

    async def get(self, path="/api/v1/series", query=b"", **headers):
        scope = {
            "type": "http", "method": "GET", "path": path, "query_string": query,
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        messages = []

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            messages.append(message)

        await self.kept(scope, receive, send)
        start, body = messages
        return start["status"], dict(start["headers"]), body["body"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Watched]:
    url = f"sqlite:///{tmp_path / 'candlecast.db'}"
    open_database(url).dispose()
    add(url, *(f"Exchange{number}_BTCUSD_d" for number in range(60)))
    database = Watched(url)
    yield database
    database.close()


def test_an_answer_is_computed_once_for_any_number_of_equal_requests(database):
    async def everybody():
        app = CountingApp(database, 10**6)
        answers = await asyncio.gather(*(app.get() for _ in range(50)))
        answers += [await app.get() for _ in range(50)]
        assert len({body for _, _, body in answers}) == 1
        assert app.count == 1
        # Another question and another encoding each make one more answer; both gzip requests share one.
        await app.get(query=b"limit=1")
        await app.get(accept_encoding="gzip")
        await app.get(accept_encoding="br, gzip")
        assert app.count == 3
        _, headers, body = await app.get(accept_encoding="gzip")
        assert headers[b"content-encoding"] == b"gzip"
        assert gzip.decompress(body) == answers[0][2]
        assert app.count == 3

    asyncio.run(everybody())


def test_an_answer_is_computed_again_when_its_period_is_over(database):
    async def ask():
        app = CountingApp(database, 10**6)
        for period in (0, 0, 1, 1):
            app.period = period
            await app.get()
        assert app.count == 2

    asyncio.run(ask())


def test_a_first_request_with_an_etag_keeps_the_whole_answer(database):
    async def ask():
        app = CountingApp(database, 10**6)
        _, _, body = await CountingApp(database, 10**6).get()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        assert await app.get(if_none_match=etag) == (304, {b"etag": etag.encode(), b"vary": b"Accept-Encoding"}, b"")
        assert (await app.get())[2] == body
        assert app.count == 1

    asyncio.run(ask())


def test_errors_are_not_kept(database):
    async def ask():
        app = CountingApp(database, 10**6)
        for _ in range(3):
            status, _, body = await app.get("/api/v1/wrong")
            assert status == 404
            assert json.loads(body)["detail"] == "there is no such thing"
        assert app.count == 3
        assert app.kept.bytes == 0

    asyncio.run(ask())


def test_a_thousand_different_questions_take_no_more_memory_than_allowed(database):
    async def ask():
        allowed = 20 * (OVERHEAD_BYTES + 2500)
        app = CountingApp(database, allowed)
        await app.get()
        for start in range(0, 1000, 100):
            await asyncio.gather(*(app.get(query=b"x=%d" % number) for number in range(start, start + 100)))
            await app.get()
            assert app.kept.bytes <= allowed
        # The answer that was requested again and again was made anew only when a hundred others came in between.
        assert 1001 < app.count <= 1011
        count = app.count
        await app.get()
        assert app.count == count
        # A question too long to keep is answered all the same, and leaves nothing.
        assert (await app.get(query=b"x" * 2 * allowed))[0] == 200
        assert app.kept.bytes == 0

    asyncio.run(ask())
