"""Without a token the server answers only requests to localhost or an address, which stops DNS rebinding."""

import pytest
from web_server import Web

QUESTIONS = ["/api/v1/series", "/healthz", "/"]


@pytest.fixture(scope="module")
def web(daily_done):
    with Web(daily_done) as running:
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1:1234", "localhost", "LOCALHOST:80", "[::1]:8000", "192.168.1.5"])
def test_localhost_and_addresses_are_answered(web, host):
    assert [web.get(path, headers={"Host": host}).status_code for path in QUESTIONS] == [200, 200, 200]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[", "", "a@b"]
)
def test_any_other_name_is_refused_with_a_reason(web, host):
    for path in QUESTIONS:
        answer = web.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "CANDLECAST_API_TOKEN" in answer.json()["detail"]


def test_with_a_token_any_host_name_is_answered(daily_done):
    with Web(daily_done, CANDLECAST_API_TOKEN="a-token") as running:
        headers = {"Host": "forecasts.example", "Authorization": "Bearer a-token"}
        assert running.get("/api/v1/series", headers=headers).status_code == 200
        assert running.get("/api/v1/series", headers={"Host": "forecasts.example"}).status_code == 401
