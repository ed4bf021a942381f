"""Reading CDD's list of an exchange's series from several shapes of JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cdd_server import CddServer, Reply, Request
from certificates import self_signed

from models.candles import UnknownSeries
from storage.errors import CddFormatChanged, CddNotFound, CddRefused, CddUnavailable
from storage.source.listing import available_series

EXPECTED = ["Bitstamp_BTCUSD_1h", "Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d"]
SHAPES = [
    ["Bitstamp_BTCUSD_d", "Bitstamp_BTCUSD_1h", "Bitstamp_ETHUSD_d", "Kraken_BTCUSD_d"],
    {"result": ["https://x/cdd/Bitstamp_BTCUSD_d.csv", "/cdd/Bitstamp_BTCUSD_1h.csv", "Bitstamp_ETHUSD_d.csv"]},
    [
        {"symbol": "BTC/USD", "timeframe": "daily"},
        {"symbol": "BTC/USD", "timeframe": "hourly"},
        {"symbol": "ETHUSD", "timeframe": "1d", "rows": 12},
    ],
    {"count": 2, "data": [{"Pair": "BTC-USD", "Interval": ["d", "1h"]}, {"Pair": "ETH-USD", "Interval": ["d"]}]},
    {"data": {"d": ["BTCUSD", "ETHUSD"], "1h": [{"symbol": "BTCUSD"}]}},
    {"BTC/USD": ["1d", "1h"], "ETH/USD": ["1d"]},
]


@pytest.fixture
def server() -> Iterator[CddServer]:
    with CddServer() as server:
        yield server


def api(server: CddServer) -> str:
    return f"http://127.0.0.1:{server.port}/v1/"


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_pairs_and_intervals_are_read_from_every_shape(server: CddServer, shape: object) -> None:
    server.faults = [Reply(200, json.dumps(shape).encode())]
    assert [str(series) for series in available_series("Bitstamp", api=api(server))] == EXPECTED
    assert server.requests[0].path == "/v1/data/ohlc/bitstamp/available"


def test_a_token_is_sent_when_there_is_one(server: CddServer) -> None:
    def answer(request: Request) -> Reply:
        authorization = request.headers.get("Authorization")
        return Reply(200, json.dumps(SHAPES[0]).encode()) if authorization == "Token hunter2" else Reply(401)

    server.answer = answer
    assert len(available_series("Bitstamp", api=api(server), token="hunter2")) == 3
    with pytest.raises(CddRefused, match="set CANDLECAST_CDD_TOKEN"):
        available_series("Bitstamp", api=api(server))
    with pytest.raises(CddRefused, match="is not accepted") as caught:
        available_series("Bitstamp", api=api(server), token="wrong-one")
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(404), CddNotFound),
        (Reply(503), CddUnavailable),
        (Reply(200, b"<html>"), CddFormatChanged),
        (Reply(200, b'{"detail": "none"}'), CddFormatChanged),
    ],
)
def test_every_other_answer_raises_a_typed_error(server: CddServer, reply: Reply, error: type[Exception]) -> None:
    server.faults = [reply]
    with pytest.raises(error):
        available_series("Bitstamp", api=api(server))


def test_no_request_is_sent_for_a_malformed_exchange(server: CddServer) -> None:
    with pytest.raises(UnknownSeries):
        available_series("../x", api=api(server))
    assert server.requests == []


def test_the_listing_is_requested_with_the_configured_user_agent(server: CddServer) -> None:
    server.faults = [Reply(200, json.dumps(SHAPES[0]).encode())]
    available_series("Bitstamp", api=api(server), user_agent="Mozilla/5.0 (me)")
    assert server.requests[0].headers["User-Agent"] == "Mozilla/5.0 (me)"


def test_an_untrusted_certificate_of_the_listing_names_the_setting(server: CddServer, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, days=2)
    server.use_tls(certificate, key)
    with pytest.raises(CddRefused, match="set CANDLECAST_CA_BUNDLE"):
        available_series("Bitstamp", api=api(server).replace("http://", "https://"))


def test_a_closed_port_of_the_listing_is_an_unavailable_source() -> None:
    with pytest.raises(CddUnavailable, match="did not answer"):
        available_series("Bitstamp", api="http://127.0.0.1:9/")
