"""Which URLs may be fetched, and where a redirect may lead."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib3.util import Url

_PORTS = {"http": 80, "https": 443}


def checked_web_url(url: str) -> str:
    """Return `url`; raises ValueError, without naming it, unless it is an http(s) URL with a host."""
    expected = "expected an http(s) URL such as https://host/path/"
    try:
        parts = urlsplit(url)
        found = parts.scheme in _PORTS and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        found = None
    if not found or not url.isprintable() or " " in url:
        raise ValueError(expected)
    return url


def same_server(first: str, then: str) -> bool:
    """Return whether a redirect may lead from `first` to `then`: scheme, host and port are equal.

    A redirect from http to https of the same host is allowed where both use their usual ports. Raises ValueError for a
    text that is no URL.
    """
    # The parser that also connects: another one might read another host in the same URL.
    from urllib3.util import parse_url

    if "\\" in then:
        raise ValueError("a URL holds no backslash")
    a, b = parse_url(first), parse_url(then)
    if not b.host or a.host != b.host:
        return False
    if (a.scheme, b.scheme) == ("http", "https"):
        return _port(a) == _PORTS["http"] and _port(b) == _PORTS["https"]
    return a.scheme == b.scheme and _port(a) == _port(b)


def _port(url: "Url") -> int | None:
    return url.port or _PORTS.get(url.scheme or "")
