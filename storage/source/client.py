"""The archive of CryptoDataDownload, read only: over HTTP with care, or from a folder of its files.

Files: `<base>/<Exchange>_<PAIR>_<interval>.csv`, as https://www.cryptodatadownload.com/cdd/Bitstamp_BTCUSD_d.csv.
"""

import email.utils
import hashlib
import random
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
import urllib3

from models.candles import SeriesName
from storage.errors import CddNotFound, CddRefused, CddUnavailable
from storage.redaction import safe_url
from storage.source.pacing import polite
from storage.source.urls import same_server

IN_MEMORY_BYTES = 16_000_000
READ_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
MAX_REDIRECTS = 3
TRIES = 5
LONGEST_WAIT_S = 120.0


@dataclass
class Fetched:
    """A file as it came, or the word that it has not changed (`body` is None). Close it when done.

    `file_time` is what the server says of the file's age (Last-Modified), None for a local file: when a copy was
    made says nothing about when its newest candle was.
    """

    url: str
    body: BinaryIO | None
    http_status: int | None = None
    file_time: datetime | None = None
    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None
    size: int = 0

    def close(self) -> None:
        """Forget the bytes."""
        if self.body is not None:
            self.body.close()


class StraightSession(requests.Session):
    """A session that looks at no Location header: requests parses one, and fails on a bad one, even unasked."""

    def get_redirect_target(self, _response: requests.Response) -> str | None:
        """Return nothing; whoever follows a redirect reads the header."""
        return None


class CddClient:
    """A source of CDD files: an http(s) base URL, or a local folder.

    Over HTTP, certificates are always verified (`ca_bundle` replaces the trusted ones), a download has `timeout_s`
    in all and at most `max_bytes` uncompressed, redirects stay on the server, and what can heal is retried with
    exponential backoff and jitter: 5xx, 429 (after its Retry-After) and broken connections, never 404. Requests to one
    host from this process start at least `interval_s` apart, at most two at a time. Proxies are taken from the usual
    environment variables.
    """

    def __init__(
        self,
        source: str,
        *,
        timeout_s: float = 60.0,
        max_bytes: int = 1_000_000_000,
        ca_bundle: Path | None = None,
        token: str | None = None,
        tries: int = TRIES,
        interval_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._web = source.casefold().startswith(("http://", "https://"))
        if not self._web and "://" in source:
            raise ValueError(f"expected an http(s) URL or a folder as source, got {source.split('://')[0]!r}://...")
        self.remote = self._web
        """Whether files come over the network, from a host that is to be spared."""
        self.source = source if not self._web else safe_url(source)
        """Where files come from, fit for a log: without user, password and query."""
        self._source = source
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._ca_bundle = ca_bundle
        self._token = token
        self._tries = tries
        self._interval_s = interval_s
        self._sleep = sleep

    def fetch(self, series: SeriesName, *, etag: str | None = None, last_modified: str | None = None) -> Fetched:
        """Return the file of `series`, or that it is unchanged since `etag` or `last_modified`.

        Raises CddNotFound (check the name), CddUnavailable (retry later; it was retried here), CddRefused (what came
        is not a whole CSV file).
        """
        if not self._web:
            return self._from_folder(series)
        conditions = {"If-None-Match": etag} if etag else {"If-Modified-Since": last_modified} if last_modified else {}
        url = urljoin(self._source if self._source.endswith("/") else f"{self._source}/", f"{series}.csv")
        return self._retried(lambda: self._download(url, series, {k: v for k, v in conditions.items() if v}))

    def reachable(self, series: SeriesName) -> str:
        """Return a sentence that says the source answers for `series`; raises as `fetch` does when it does not."""
        fetched = self.fetch(series)
        fetched.close()
        return f"{fetched.url}: {fetched.size:,} bytes"

    # --- folder ------------------------------------------------------------------------------------------------

    def _from_folder(self, series: SeriesName) -> Fetched:
        folder = Path(self._source)
        if not folder.is_dir():
            raise CddNotFound(f"expected a folder of CDD files at {folder}, there is none")
        path = folder / f"{series}.csv"
        try:
            found = path.stat()
            # A pipe would be waited for, a device read, for ever.
            if not stat.S_ISREG(found.st_mode):
                raise CddRefused(f"{path} is no ordinary file")
            if found.st_size > self._max_bytes:
                raise CddRefused(f"{path} is larger than {self._max_bytes:,} bytes")
            digest = hashlib.sha256()
            body = path.open("rb")
            while block := body.read(READ_BYTES):
                digest.update(block)
                if body.tell() > self._max_bytes:
                    body.close()
                    raise CddRefused(f"{path} is larger than {self._max_bytes:,} bytes")
        except FileNotFoundError:
            raise CddNotFound(f"no file {path.name} in {folder}") from None
        except OSError as error:
            raise CddUnavailable(f"{path} cannot be read: {error.strerror}") from None
        size = body.tell()
        body.seek(0)
        return Fetched(str(path), body, sha256=digest.hexdigest(), size=size)

    # --- HTTP --------------------------------------------------------------------------------------------------

    def _retried(self, attempt: Callable[[], Fetched]) -> Fetched:
        backoff = tenacity.wait_random_exponential(multiplier=1, max=60)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, CddUnavailable) else None
            return asked + random.random() if asked is not None else backoff(state)  # noqa: S311 - jitter

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, CddUnavailable) and (error.retry_after_s or 0) <= LONGEST_WAIT_S
            ),
            stop=tenacity.stop_after_attempt(self._tries),
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(attempt)

    def _download(self, url: str, series: SeriesName, conditions: dict[str, str]) -> Fetched:
        deadline = time.monotonic() + self._timeout_s
        with StraightSession() as session:
            session.max_redirects = MAX_REDIRECTS
            session.headers["User-Agent"] = (
                f"candlecast/{version('candlecast')} (self-hosted forecasts; python-requests/{requests.__version__})"
            )
            try:
                with (
                    polite(urlsplit(url).netloc, self._interval_s),
                    self._in_time(lambda: self._answer(session, url, conditions), url, deadline) as answer,
                ):
                    return self._received(answer, series, deadline)
            except requests.exceptions.SSLError as error:
                raise CddRefused(f"{safe_url(url)}: the certificate is not trusted: {_reason(error)}") from None
            except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
                raise CddRefused(f"the source is no URL that can be fetched: {_reason(error)}") from None
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise CddUnavailable(f"{safe_url(url)} did not answer: {_reason(error)}") from None

    def _in_time(self, ask: Callable[[], requests.Response], url: str, deadline: float) -> requests.Response:
        # The driver's timeout starts anew with every byte that comes: a server that sends its headers one by one, or
        # names that are slow to resolve, would keep us for hours. So another thread waits, and is left behind.
        asked: Future[requests.Response] = Future()

        def run() -> None:
            try:
                asked.set_result(ask())
            except BaseException as error:
                asked.set_exception(error)

        threading.Thread(target=run, name="cdd", daemon=True).start()
        try:
            return asked.result(max(deadline - time.monotonic(), 0.0))
        except TimeoutError:
            asked.add_done_callback(_closed)
            raise CddUnavailable(f"{safe_url(url)} did not answer within {self._timeout_s:g} s") from None

    def _answer(self, session: requests.Session, url: str, conditions: dict[str, str]) -> requests.Response:
        at = url
        for _ in range(MAX_REDIRECTS + 1):
            answer = session.get(
                at,
                headers=conditions,
                stream=True,
                allow_redirects=False,
                # Given here, since requests prefers its environment variables to a session's setting.
                verify=None if self._ca_bundle is None else str(self._ca_bundle),
                timeout=(CONNECT_TIMEOUT_S, min(READ_TIMEOUT_S, self._timeout_s)),
            )
            if not answer.is_redirect:
                return answer
            answer.close()
            try:
                at = urljoin(at, answer.headers["Location"])
                stays = same_server(url, at)
            except ValueError:
                raise CddRefused(f"{safe_url(url)} redirects to something that is no URL") from None
            if not stays:
                raise CddRefused(f"{safe_url(url)} redirects to {safe_url(at)}, which is another host, port or scheme")
        raise CddRefused(f"{safe_url(url)} redirects more than {MAX_REDIRECTS} times")

    def _received(self, answer: requests.Response, series: SeriesName, deadline: float) -> Fetched:
        url, status = safe_url(answer.url), answer.status_code
        fetched = Fetched(
            url,
            None,
            status,
            _http_date(answer.headers.get("Last-Modified")),
            answer.headers.get("ETag"),
            answer.headers.get("Last-Modified"),
        )
        if status == 304:
            return fetched
        if status in (404, 410):
            raise CddNotFound(f"{url}: there is no such series (HTTP {status}); check the spelling of {series}")
        if status == 429 or status >= 500:
            raise CddUnavailable(f"{url} answered HTTP {status}", _retry_after(answer.headers.get("Retry-After")))
        if status != 200:
            raise CddRefused(f"{url}: expected HTTP 200, got {status}")
        promised = answer.headers.get("Content-Length", "")
        if promised.isdecimal() and int(promised) > self._max_bytes:
            raise CddRefused(f"{url}: larger than {self._max_bytes:,} bytes: it announces {int(promised):,}")
        body = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
        try:
            digest = hashlib.sha256()
            # read1 returns what has come: iter_content would wait for a whole block, however slowly it trickles in.
            while block := answer.raw.read1(READ_BYTES, decode_content=True):
                fetched.size += len(block)
                if fetched.size > self._max_bytes:
                    raise CddRefused(f"{url}: larger than {self._max_bytes:,} bytes uncompressed")
                if time.monotonic() > deadline:
                    raise CddUnavailable(f"{url}: not received whole within {self._timeout_s:g} s")
                digest.update(block)
                body.write(block)
            arrived = answer.raw.tell()
            if promised.isdecimal() and arrived != int(promised):
                raise CddUnavailable(f"{url}: broken off after {arrived:,} of {int(promised):,} bytes")
        except BaseException:
            body.close()
            raise
        body.seek(0)
        fetched.body, fetched.sha256 = cast("BinaryIO", body), digest.hexdigest()
        return fetched


def _closed(late: Future[requests.Response]) -> None:
    """Let go of an answer that came too late."""
    if late.exception() is None:
        late.result().close()


def _reason(error: BaseException) -> str:
    """Return what went wrong at the bottom of an error, without addresses that may hold secrets."""
    arguments: tuple[Any, ...] = error.args
    while arguments and isinstance(arguments[0], BaseException):
        error, arguments = arguments[0], arguments[0].args
    inner = getattr(error, "reason", None)
    return f"{type(inner or error).__name__}" + (f": {inner.__cause__ or inner.args[-1]}" if inner is not None else "")


def _http_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        parsed = email.utils.parsedate_to_datetime(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _retry_after(text: str | None) -> float | None:
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    moment = _http_date(text)
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)
