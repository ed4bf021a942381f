"""The check in front of every answer: the token or the host's name. It also sets strict security headers."""

from collections.abc import Callable
from hmac import compare_digest
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from candlecast.http.answers import problem

# A browser may load, run or frame nothing from an answer; the pages send their own policy.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware: asks for `token` as a bearer token, except where `is_open` says a path holds no data.

    Without a token the server is for this machine alone and answers only requests whose Host is localhost or an IP
    address. A foreign page whose domain was pointed at this machine (DNS rebinding) still sends its own domain as Host.
    """

    def __init__(self, app: ASGIApp, *, token: str, is_open: Callable[[str], bool]) -> None:
        self._app = app
        self._token = token
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        given = Headers(scope=scope).get("Authorization", "").removeprefix("Bearer ")
        # Bytes, because compare_digest takes no text beyond ASCII.
        if (
            self._token
            and not self._is_open(scope["path"])
            and not compare_digest(given.encode(), self._token.encode())
        ):
            refusal = problem(
                401, "a bearer token is needed: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"}
            )
            await refusal(scope, receive, send_strictly)
        elif not self._token and not _is_local(Headers(scope=scope).get("Host", "")):
            refusal = problem(
                421, "without CANDLECAST_API_TOKEN this server answers requests to localhost or an IP address only"
            )
            await refusal(scope, receive, send_strictly)
        else:
            await self._app(scope, receive, send_strictly)


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False
