"""The files that browsers load: the page, the page of the API, and their scripts, all served from here.

They come from no other server and hold no data: the scripts ask the API, with the token where one is needed.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from candlecast.http.answers import has_already

OWN = Path(__file__).parents[1] / "page"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Plotly draws its exports and Swagger its arrows from data: images; nothing inline is run, nothing foreign loaded.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A file whose name carries its version never changes.
FOR_EVER = "public, max-age=31536000, immutable"
_VENDORED = {
    "plotly": ("plotly", "package_data/plotly.min.js"),
    "swagger-ui": ("fastapi_offline", "static/swagger-ui-bundle.js"),
    "swagger-ui-style": ("fastapi_offline", "static/swagger-ui.css"),
}


@dataclass(frozen=True)
class Asset:
    """A file as it is sent: its bytes, packed once, and a tag that changes with them."""

    body: bytes
    packed: bytes
    etag: str
    media: str
    caching: str


def is_page(path: str) -> bool:
    """Return whether `path` holds no data, so that a browser may load it before it knows the token."""
    return path in ("/", "/docs", "/openapi.json", "/favicon.ico") or path.startswith("/page/")


def add_pages(app: FastAPI) -> None:
    """Serve the page at /, the API's page at /docs, and their parts under /page/."""

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        return _sent(request, _own("index.html"))

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        return _sent(request, _own("docs.html"))

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon(request: Request) -> Response:
        return _sent(request, _own("icon.svg"))

    @app.get("/page/{name}", include_in_schema=False)
    def part(request: Request, name: str) -> Response:
        return _sent(request, asset(name))


def asset(name: str) -> Asset:
    """Return a part of the pages by its name; raises HTTPException 404 for any other name."""
    vendored = {_versioned(what): what for what in _VENDORED}
    if name in vendored:
        return _vendored(vendored[name])
    if name in {path.name for path in OWN.iterdir() if path.suffix in MEDIA}:
        return _own(name)
    raise HTTPException(404)


def _versioned(what: str) -> str:
    package, file = _VENDORED[what]
    return f"{what}-{version(package)}{Path(file).suffix}"


@cache
def _own(name: str) -> Asset:
    body = (OWN / name).read_bytes()
    if name.endswith(".html"):
        for what in _VENDORED:
            body = body.replace(f"{{{what}}}".encode(), _versioned(what).encode())
    return _packed(body, Path(name).suffix, "no-cache")


@cache
def _vendored(what: str) -> Asset:
    package, file = _VENDORED[what]
    # The package is only located: importing it would take longer than reading its file.
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return _packed((Path(spec.origin).parent / file).read_bytes(), Path(file).suffix, FOR_EVER)


def _packed(body: bytes, suffix: str, caching: str) -> Asset:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Asset(body, gzip.compress(body, mtime=0), etag, MEDIA[suffix], caching)


def _sent(request: Request, part: Asset) -> Response:
    headers = {
        "ETag": part.etag,
        "Cache-Control": part.caching,
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": POLICY,
    }
    if has_already(request, part.etag):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return Response(part.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=part.media)
    return Response(part.body, headers=headers, media_type=part.media)
