"""Reads CDD's list of series, https://api.cryptodatadownload.com/v1/data/ohlc/<exchange>/available.

CDD documents no format for the answer, so the whole JSON is searched: every place that names a pair and an interval
counts as a series.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import requests
import urllib3

from models.candles import Interval, SeriesName, UnknownSeries
from storage.errors import CddFormatChanged, CddNotFound, CddRefused, CddUnavailable
from storage.redaction import safe_url
from storage.source.client import StraightSession
from storage.source.diagnosis import no_answer

TIMEOUT_S = 20.0
MAX_BYTES = 20_000_000

_INTERVALS = {
    "d": Interval.DAY, "1d": Interval.DAY, "day": Interval.DAY, "daily": Interval.DAY,
    "h": Interval.HOUR, "1h": Interval.HOUR, "hour": Interval.HOUR, "hourly": Interval.HOUR, "1hr": Interval.HOUR,
    "m": Interval.MINUTE, "1m": Interval.MINUTE, "1min": Interval.MINUTE, "minute": Interval.MINUTE,
}  # fmt: skip
_PAIR_KEYS = ("symbol", "pair", "ticker", "market", "name")
_INTERVAL_KEYS = ("timeframe", "interval", "period", "frequency", "granularity", "resolution")


def available_series(
    exchange: str,
    *,
    api: str,
    token: str | None = None,
    ca_bundle: Path | None = None,
    user_agent: str | None = None,
) -> list[SeriesName]:
    """Return the series that CDD's listing names for `exchange`, sorted by name.

    Raises CddNotFound when CDD does not know the exchange, CddUnavailable when asking later may help, CddRefused when
    CDD wants a (valid) token or its certificate is not trusted, CddFormatChanged when its answer names no series.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,40}", exchange):
        raise UnknownSeries(f"expected the name of an exchange such as Bitstamp, got {exchange[:40]!r}")
    at = urljoin(api if api.endswith("/") else f"{api}/", f"data/ohlc/{quote(exchange.casefold())}/available")
    url = safe_url(at)
    headers = {"Accept": "application/json"} | ({"Authorization": f"Token {token}"} if token else {})
    try:
        with (
            StraightSession(user_agent) as session,
            session.get(
                at,
                headers=headers,
                timeout=TIMEOUT_S,
                stream=True,
                # A redirect would send the token to another server.
                allow_redirects=False,
                verify=None if ca_bundle is None else str(ca_bundle),
            ) as answer,
        ):
            status = answer.status_code
            body = answer.raw.read(MAX_BYTES + 1, decode_content=True)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise no_answer(at, error) from None
    if status in (401, 403):
        raise CddRefused(
            f"{url} answered HTTP {status}: "
            + ("the token in CANDLECAST_CDD_TOKEN is not accepted" if token else "set CANDLECAST_CDD_TOKEN to a token")
        )
    if status == 404:
        raise CddNotFound(f"{url}: CDD knows no exchange {exchange}")
    if 300 <= status < 400:
        raise CddRefused(f"{url} redirects, which is not followed; set CANDLECAST_CDD_API to where it leads")
    if status != 200:
        raise CddUnavailable(f"{url} answered HTTP {status}")
    if len(body) > MAX_BYTES:
        raise CddRefused(f"{url}: larger than {MAX_BYTES:,} bytes")
    try:
        series = set(_series_in(json.loads(body), exchange, None))
    except (ValueError, RecursionError):
        raise CddFormatChanged(f"{url}: expected JSON, got {body[:60]!r}") from None
    if not series:
        raise CddFormatChanged(f"{url}: found no pair with an interval in {body[:120]!r}")
    return sorted(series, key=str)


def _series_in(node: Any, exchange: str, interval: Interval | None) -> Iterator[SeriesName]:  # noqa: ANN401 - any JSON
    """Yield the series that a part of the answer names; `interval` is the one named around it, if any."""
    if isinstance(node, list):
        for item in node:
            yield from _series_in(item, exchange, interval)
    elif isinstance(node, str):
        yield from _series_from_text(node, exchange, interval)
    elif isinstance(node, dict):
        fields = {str(key).casefold(): value for key, value in node.items()}
        own = next((fields[key] for key in _INTERVAL_KEYS if key in fields), None)
        pair = next((fields[key] for key in _PAIR_KEYS if isinstance(fields.get(key), str)), None)
        texts = [str(value).casefold() for value in (own if isinstance(own, list) else [own])]
        intervals: list[Interval | None] = [_INTERVALS[text] for text in texts if text in _INTERVALS]
        if pair is not None:
            for each in intervals or [interval]:
                yield from _series_from_text(pair, exchange, each)
        for key, value in node.items():
            if isinstance(value, dict | list) and str(key).casefold() not in _INTERVAL_KEYS:
                # The key may name the interval, as in {"d": [...], "1h": [...]}, or the pair, as in {"BTC/USD": [...]}.
                inner = _INTERVALS.get(str(key).casefold(), interval)
                if isinstance(value, list) and value and all(str(item).casefold() in _INTERVALS for item in value):
                    for item in value:
                        yield from _series_from_text(str(key), exchange, _INTERVALS[str(item).casefold()])
                else:
                    yield from _series_in(value, exchange, inner)


def _series_from_text(text: str, exchange: str, interval: Interval | None) -> Iterator[SeriesName]:
    """Yield the series that `text` names: a full name such as Bitstamp_BTCUSD_d, or a pair if `interval` is known."""
    name = text.rsplit("/", 1)[-1].removesuffix(".csv") if text.endswith(".csv") else text
    try:
        whole = SeriesName.parse(name)
        if whole.exchange.casefold() == exchange.casefold():
            yield whole
        return
    except UnknownSeries:
        pass
    pair = re.sub(r"[/_:-]", "", name).upper()
    if interval is not None and re.fullmatch(r"[A-Z0-9]{4,30}", pair):
        yield SeriesName(exchange, pair, interval)
