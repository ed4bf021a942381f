"""Which URLs may be fetched, and where a redirect may lead."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib3.util import Url

_PORTS = {"http": 80, "https": 443}


def checked_web_url(url: str) -> str:
    """Return `url` if it is an http(s) URL with a host; else raise ValueError with a message that omits the URL."""
    expected = "expected an http(s) URL such as https://host/path/"
    try:
        parts = urlsplit(url)
        is_web_url = parts.scheme in _PORTS and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        is_web_url = None
    if not is_web_url or not url.isprintable() or " " in url:
        raise ValueError(expected)
    return url


def same_server(first: str, target: str) -> bool:
    """Return whether a redirect may lead from `first` to `target`: scheme, host and port are equal.

    A redirect from http to https of the same host is allowed when both use their default ports. Raises ValueError for
    text that is not a URL.
    """
    # urllib3 also makes the connection: another parser might read another host from the same URL.
    from urllib3.util import parse_url

    if "\\" in target:
        raise ValueError("a URL must not hold a backslash")
    a, b = parse_url(first), parse_url(target)
    if not b.host or a.host != b.host:
        return False
    if (a.scheme, b.scheme) == ("http", "https"):
        return _port(a) == _PORTS["http"] and _port(b) == _PORTS["https"]
    return a.scheme == b.scheme and _port(a) == _port(b)


def _port(url: "Url") -> int | None:
    return url.port or _PORTS.get(url.scheme or "")
