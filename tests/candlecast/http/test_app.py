"""The HTTP API as clients use it: a separate process, reached over a real socket."""

import contextlib
import csv
import io
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from web_server import Web

from candlecast.http.cursors import to_cursor

SERIES = "Coinbase_BTCUSD_d"


@pytest.fixture(scope="module")
def web(daily_done) -> Iterator[Web]:
    with Web(daily_done) as running:
        yield running


def test_the_latest_forecast_is_that_of_the_command_line(web, daily_done):
    rows = web.get("/api/v1/forecasts/latest").json()["rows"]
    assert rows == json.loads(daily_done.run("forecasts", "--json").stdout)
    assert [row["step"] for row in rows] == list(range(1, 8))


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("series", "series"),
        ("forecasts --model naive --kind backfill --start 2019-10-01 --end 2019-10-05",
         "forecasts?model=naive&kind=backfill&start=2019-10-01&end=2019-10-05"),
        (f"forecasts {SERIES} --origin 2019-10-01", f"forecasts?series={SERIES}&origin=2019-10-01"),
        (f"candles {SERIES} --start 2019-01-01 --end 2019-01-05",
         f"candles?series={SERIES}&start=2019-01-01&end=2019-01-05"),
        (f"skill {SERIES} --start 2019-06-01 --end 2019-09-30",
         f"skill?series={SERIES}&start=2019-06-01&end=2019-09-30"),
        (f"models {SERIES}", f"models?series={SERIES}"),
        (f"findings {SERIES}", f"findings?series={SERIES}"),
        (f"paths {SERIES} --below 7500 --samples 200 --seed 5", f"paths?series={SERIES}&below=7500&samples=200&seed=5"),
        (f"skill {SERIES} --reliability", f"reliability?series={SERIES}"),
        (f"chance {SERIES} --above 8000 --step 2", f"chance?series={SERIES}&above=8000&step=2"),
        (f"chance {SERIES} --chance 0.05 --model naive --kind backfill",
         f"chance?series={SERIES}&chance=0.05&model=naive&kind=backfill"),
    ],
)  # fmt: skip
def test_the_same_filters_give_the_same_rows_as_the_command_line(web, daily_done, words, question):
    rows = web.get(f"/api/v1/{question}").json()["rows"]
    printed = json.loads(daily_done.run(*words.split(), "--json").stdout)
    assert printed
    # Some collections have more columns over HTTP, such as the numbers that order their pages.
    assert [{name: row[name] for name in printed[0]} for row in rows] == printed


@pytest.mark.parametrize(
    "collection",
    [
        "series",
        "glance",
        "models",
        "decisions",
        "findings",
        "skill",
        "calibration",
        "forecasts?model=naive",
        "origins",
        "arrivals",
        f"candles?series={SERIES}",
        f"chance?series={SERIES}&below=8000",
        f"reliability?series={SERIES}&model=naive",
        f"paths?series={SERIES}",
    ],
)
def test_every_collection_answers_as_json_and_csv(web, collection):
    rows = web.get(f"/api/v1/{collection}").json()["rows"]
    assert rows
    joint = "&" if "?" in collection else "?"
    answer = web.get(f"/api/v1/{collection}{joint}format=csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert list(next(csv.DictReader(io.StringIO(answer.text)))) == list(rows[0])


def test_arrivals_are_filtered_and_paged_by_close(web):
    query = f"/api/v1/arrivals?series={SERIES}&start=2019-10-01&end=2019-10-05&limit=2"
    first = web.get(query).json()
    closes = [row["close_time"] for row in first["rows"]]
    assert closes == ["2019-10-01T00:00:00Z", "2019-10-02T00:00:00Z"]
    assert {row["series"] for row in first["rows"]} == {SERIES}
    following = web.get(f"{query}&cursor={first['next']}").json()["rows"]
    assert [row["close_time"] for row in following] == ["2019-10-03T00:00:00Z", "2019-10-04T00:00:00Z"]


def test_a_forecast_after_the_fact_is_late_and_never_live(web):
    """The sample is of 2019, and the forecast was stored today."""
    rows = web.get(f"/api/v1/forecasts?series={SERIES}&kind=live").json()["rows"]
    assert rows
    assert not any(row["before_close"] for row in rows)
    kinds = {row["kind"] for row in web.get(f"/api/v1/skill?series={SERIES}").json()["rows"]}
    assert kinds == {"backfill"}
    assert web.get("/api/v1/skill?kind=late").json()["rows"] == []
    backfilled = web.get(f"/api/v1/calibration?series={SERIES}&kind=backfill").json()["rows"]
    assert backfilled == web.get(f"/api/v1/calibration?series={SERIES}").json()["rows"]


@pytest.mark.parametrize("path", ["/api/v1/forecasts?model=naive", "/healthz", "/metrics", "/", "/api/v1/nothing"])
def test_a_head_is_answered_as_its_get_without_the_body(web, path):
    whole, head = web.get(path), requests.head(web.url + path, timeout=20)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    growing = ("date", "content-length") if path in ("/healthz", "/metrics") else ("date",)
    assert {name.casefold() for name in head.headers} == {name.casefold() for name in whole.headers}
    compared = [name for name in whole.headers if name.casefold() not in growing]
    assert {name: head.headers[name] for name in compared} == {name: whole.headers[name] for name in compared}


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/api/v1/forecasts?series=Kraken_BTCUSD_d", 404, "stored are"),
        ("/api/v1/candles?series=../../etc/passwd", 400, "expected a series"),
        ("/api/v1/candles?series=x' OR 1=1 --", 400, "expected a series"),
        ("/api/v1/candles", 400, "series"),
        ("/api/v1/forecasts?start=2020-02-01&end=2020-01-01", 400, "before the start"),
        ("/api/v1/forecasts?start=yesterday", 400, "expected a day"),
        ("/api/v1/forecasts?kind=dead", 400, "kind"),
        ("/api/v1/forecasts?limit=-1", 400, "limit"),
        ("/api/v1/forecasts?cursor=1000", 400, "cursor"),
        ("/api/v1/candles?series=Coinbase_BTCUSD_d&cursor=WzFd", 400, "cursor"),
        (f"/api/v1/models?cursor={to_cursor([2**63])}", 400, "cursor"),
        (f"/api/v1/series?cursor={to_cursor(['NUL' + chr(0)])}", 400, "cursor"),
        ("/api/v1/forecasts?model=naive'--", 400, "model"),
        ("/api/v1/forecasts?start=0001-01-01T00:00%2B12:00", 400, "years 1 to 9999"),
        (f"/api/v1/arrivals?cursor={to_cursor(['no series', datetime(2020, 1, 1, tzinfo=UTC)])}", 400, "a series"),
        ("/api/v1/skill?kind=dead", 400, "kind"),
        (f"/api/v1/chance?series={SERIES}", 400, "expected one of above, below and chance, got none"),
        (f"/api/v1/chance?series={SERIES}&above=1&chance=0.1", 400, "got above and chance"),
        (f"/api/v1/chance?series={SERIES}&above=nan", 400, "above"),
        (f"/api/v1/chance?series={SERIES}&chance=0.001", 400, "chance"),
        (f"/api/v1/chance?series={SERIES}&above=1&model=lstm", 404, "no forecast of lstm"),
        (f"/api/v1/paths?series={SERIES}&weights=1&weights=2", 400, "a weight for each of 1 series, got 2"),
        (f"/api/v1/paths?series={SERIES}&series={SERIES}", 400, "different series"),
        (f"/api/v1/paths?series={SERIES}&samples=5", 400, "samples"),
        ("/api/v1/nothing", 404, "Not Found"),
        ("/api/v1/series?format=xml", 400, "format"),
    ],
)
def test_bad_requests_get_a_reason_and_no_traceback(web, path, status, reason):
    answer = web.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert reason in answer.json()["detail"]


def test_ten_megabytes_of_url_are_refused_and_the_server_lives(web):
    with socket.create_connection(("127.0.0.1", int(web.url.rsplit(":", 1)[1])), timeout=20) as raw:
        with contextlib.suppress(OSError):  # the server may hang up before it has read everything
            raw.sendall(b"GET /api/v1/series?series=" + b"x" * 10_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(OSError):
            assert raw.recv(100).startswith(b"HTTP/1.1 4")
    assert web.get("/api/v1/series?series=" + "x" * 60_000).status_code in (400, 200)
    assert web.get("/api/v1/series").status_code == 200


def test_nothing_can_be_written_and_headers_are_strict(web):
    refused = requests.post(f"{web.url}/api/v1/series", timeout=5)
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET, HEAD"
    headers = web.get("/api/v1/series").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_health_and_metrics_report_the_age_of_the_data(web):
    health = web.get("/healthz").json()
    assert health["data_age_s"][SERIES] > 1e8
    text = web.get("/metrics").text
    assert f'candlecast_data_age_seconds{{series="{SERIES}"}}' in text
    assert f'candlecast_data_stale{{series="{SERIES}"}} 1.0' in text
    assert f'candlecast_publication_seconds{{series="{SERIES}"}} ' in text
    assert f'candlecast_champion_drifting{{series="{SERIES}"}} 0.0' in text
    assert 'candlecast_open_findings{code="gap",series="Coinbase_BTCUSD_d",severity="warning"} 1.0' in text


def test_a_token_is_required_and_listening_beyond_loopback_needs_one(daily_done):
    with Web(daily_done, CANDLECAST_API_TOKEN="hunter2") as guarded:
        assert guarded.get("/api/v1/series").status_code == 401
        assert guarded.get("/openapi.json").json()["security"] == [{"token": []}]
        assert guarded.get("/metrics", headers={"Authorization": "Bearer hunter3"}).status_code == 401
        assert guarded.get("/api/v1/series", headers={"Authorization": "Bearer hunter2"}).status_code == 200
    done = daily_done.run("web", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "CANDLECAST_API_TOKEN" in done.stderr


def test_before_the_first_run_the_server_names_the_command_to_run(empty):
    with Web(empty) as early:
        answer = early.get("/healthz")
    assert answer.status_code == 503
    assert "candlecast daily" in answer.json()["detail"]


def test_health_is_degraded_while_a_candle_is_late(tmp_path):
    import asyncio
    from datetime import timedelta

    import httpx
    from stores import Store

    from candlecast.http.app import create_app
    from models.candles import Finding, Severity
    from storage.database.engine import open_database, writing
    from storage.findings import record_findings

    url = f"sqlite:///{tmp_path / 'candlecast.db'}"
    store = Store(open_database(url))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    store.add_candle(today - timedelta(days=1), 100.0, fetched_at=today)
    late = Finding("late", Severity.WARNING, "no candle", "wait")
    app = create_app(url)

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            return (await client.get("/healthz")).json()

    assert asyncio.run(ask())["status"] == "ok"
    with writing(store.engine) as conn:
        record_findings(conn, series=store.series, codes={"late"}, seen=[late], now=store.now)
    health = asyncio.run(ask())
    assert (health["status"], health["late"], health["stale"]) == ("degraded", [store.series], [])
    store.engine.dispose()
