"""The archive of CryptoDataDownload, read only: over HTTP, or from a folder of its files.

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
from typing import BinaryIO, cast
from urllib.parse import urljoin

import requests
import urllib3

from models.candles import SeriesName
from storage.errors import CddDenied, CddNotFound, CddRefused, CddUnavailable
from storage.redaction import safe_url
from storage.source.diagnosis import PAGE_BYTES, denied, no_answer, page_instead_of_file, reason
from storage.source.urls import same_server

IN_MEMORY_BYTES = 16_000_000
READ_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
MAX_REDIRECTS = 3
TRIES = 2
# The client waits no longer than this before its second try, and makes none after a failure that took longer: the
# day that waits for a candle asks again by itself.
QUICK_S = 5.0


@dataclass
class Fetched:
    """A file as it came; `body` is None where the file has not changed. Close it when done.

    `file_time` is the time of the file as the server gives it (Last-Modified), `answered_at` the server's clock then
    (Date). Both are None for a local file, whose own time says when somebody copied it and nothing about its candles.
    `end_known` is False where the answer did not say where it ends, so that a broken connection looks like its end.
    """

    url: str
    body: BinaryIO | None
    http_status: int | None = None
    file_time: datetime | None = None
    answered_at: datetime | None = None
    end_known: bool = True
    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None
    size: int = 0

    def close(self) -> None:
        """Forget the bytes."""
        if self.body is not None:
            self.body.close()


class StraightSession(requests.Session):
    """A session that ignores Location headers: requests parses them, and fails on a bad one, even unasked.

    It calls itself `user_agent`, by default candlecast with its version.
    """

    def __init__(self, user_agent: str | None = None) -> None:
        super().__init__()
        own = f"candlecast/{version('candlecast')} (self-hosted forecasts; python-requests/{requests.__version__})"
        self.headers["User-Agent"] = user_agent or own

    def get_redirect_target(self, _response: requests.Response) -> str | None:
        """Return None; the client itself reads the header and checks where it leads."""
        return None


class CddClient:
    """A source of CDD files: an http(s) base URL, or a local folder.

    Over HTTP, certificates are always verified (`ca_bundle` replaces the trusted ones), a fetch has `timeout_s` in
    all and at most `max_bytes` uncompressed, and redirects stay on the server. A failure that comes quickly and may
    pass is tried a second time: 5xx, 429 with a short Retry-After, a broken connection. A server that hangs is not.
    One client's requests start at least `interval_s` apart, whichever threads send them: make one client a run.
    Proxies are taken from the usual environment variables.
    """

    def __init__(
        self,
        source: str,
        *,
        timeout_s: float = 60.0,
        max_bytes: int = 1_000_000_000,
        ca_bundle: Path | None = None,
        user_agent: str | None = None,
        tries: int = TRIES,
        interval_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._web = source.casefold().startswith(("http://", "https://"))
        if not self._web and "://" in source:
            raise ValueError(f"expected an http(s) URL or a folder as source, got {source.split('://')[0]!r}://...")
        self.remote = self._web
        """Whether files come over the network, from a host that must not be flooded with requests."""
        self.source = source if not self._web else safe_url(source)
        """Where files come from, as it may be logged: without user, password and query."""
        self._source = source
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._ca_bundle = ca_bundle
        self._user_agent = user_agent
        self._tries = tries
        self._interval_s = interval_s
        self._next_start = 0.0
        self._turns = threading.Lock()
        self._sleep = sleep

    def fetch(
        self,
        series: SeriesName,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        file_name: str | None = None,
    ) -> Fetched:
        """Return the file of `series`, or that it is unchanged since `etag` or `last_modified`.

        `file_name` is the file's name where it is not that of the series, as those of CDD's yearly files.

        Raises CddNotFound (check the name), CddUnavailable (ask again later), CddRefused (the answer is not a whole
        CSV file).
        """
        file_name = file_name or f"{series}.csv"
        if not self._web:
            return self._from_folder(file_name)
        conditions = {"If-None-Match": etag} if etag else {"If-Modified-Since": last_modified} if last_modified else {}
        url = urljoin(self._source if self._source.endswith("/") else f"{self._source}/", file_name)
        deadline = None
        for tries_left in reversed(range(self._tries)):
            began = self._wait_for_turn()
            # Counted from the first start: waiting for other requests takes nothing from this one.
            deadline = deadline or began + self._timeout_s
            try:
                return self._download(url, series, conditions, deadline)
            except CddUnavailable as error:
                jitter = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                wait = jitter if error.retry_after_s is None else error.retry_after_s
                now = time.monotonic()
                slow = max(wait, now - began) > QUICK_S or now + wait > deadline
                if slow or not tries_left or isinstance(error, CddDenied):
                    raise
            self._sleep(wait)
        raise ValueError("expected at least one try")

    def reachable(self, series: SeriesName) -> str:
        """Return a sentence that says the source answers for `series`; raises as `fetch` does when it does not."""
        fetched = self.fetch(series)
        fetched.close()
        return f"{fetched.url}: {fetched.size:,} bytes"

    # --- folder ------------------------------------------------------------------------------------------------

    def _from_folder(self, file_name: str) -> Fetched:
        folder = Path(self._source)
        if not folder.is_dir():
            raise CddNotFound(f"expected a folder of CDD files at {folder}, there is none")
        path = folder / file_name
        try:
            status = path.stat()
            # Opening a pipe would wait for ever, and a device may never end.
            if not stat.S_ISREG(status.st_mode):
                raise CddRefused(f"{path} is not an ordinary file")
            if status.st_size > self._max_bytes:
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

    def _wait_for_turn(self) -> float:
        """Wait until `interval_s` after the last request started, in whichever thread; returns when this one starts."""
        with self._turns:
            if (wait := self._next_start - time.monotonic()) > 0:
                self._sleep(wait)
            # Counted from the real start: a request that started late is not followed too soon.
            began = time.monotonic()
            self._next_start = began + self._interval_s
        return began

    def _download(self, url: str, series: SeriesName, conditions: dict[str, str], deadline: float) -> Fetched:
        with StraightSession(self._user_agent) as session:
            try:
                with self._in_time(lambda: self._answer(session, url, conditions), url, deadline) as answer:
                    return self._received(answer, series, deadline)
            except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
                raise CddRefused(f"the source is no URL that can be fetched: {reason(error)}") from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise no_answer(url, error) from None

    def _in_time(self, ask: Callable[[], requests.Response], url: str, deadline: float) -> requests.Response:
        # The library's time-out starts anew with every byte that comes: a server that sends its headers byte by byte,
        # or a name that is slow to resolve, would keep us for hours. So another thread asks, and is left behind.
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
            asked.add_done_callback(_close_late_answer)
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
        promised = answer.headers.get("Content-Length", "")
        fetched = Fetched(
            url,
            None,
            status,
            file_time=http_date(answer.headers.get("Last-Modified")),
            answered_at=http_date(answer.headers.get("Date")),
            end_known=promised.isdecimal() or answer.raw.chunked,
            etag=answer.headers.get("ETag"),
            last_modified=answer.headers.get("Last-Modified"),
        )
        if status == 304:
            return fetched
        if status in (404, 410):
            raise CddNotFound(f"{url}: there is no such series (HTTP {status}); check the spelling of {series}")
        if status in (401, 403, 407, 429) or status >= 500:
            if page := page_instead_of_file(url, status, _head(answer, deadline)):
                raise page
            if status < 429:
                raise denied(url, status)
            raise CddUnavailable(f"{url} answered HTTP {status}", _retry_after(answer.headers.get("Retry-After")))
        if status != 200:
            raise CddRefused(f"{url}: expected HTTP 200, got {status}")
        if promised.isdecimal() and int(promised) > self._max_bytes:
            raise CddRefused(f"{url}: larger than {self._max_bytes:,} bytes: it announces {int(promised):,}")
        body = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
        try:
            digest = hashlib.sha256()
            # read1 returns the bytes that have come: iter_content would wait for a whole block, however slow it is.
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
            body.seek(0)
            if page := page_instead_of_file(url, status, body.read(PAGE_BYTES)):
                raise page
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.TimeoutError, TimeoutError):
            body.close()
            raise CddUnavailable(f"{url}: broken off after {fetched.size:,} bytes") from None
        except urllib3.exceptions.DecodeError:
            body.close()
            raise CddUnavailable(f"{url}: the body cannot be unpacked as its Content-Encoding says") from None
        except BaseException:
            body.close()
            raise
        body.seek(0)
        fetched.body, fetched.sha256 = cast("BinaryIO", body), digest.hexdigest()
        return fetched


def _close_late_answer(late: Future[requests.Response]) -> None:
    """Close an answer that came too late."""
    if late.exception() is None:
        late.result().close()


def _head(answer: requests.Response, deadline: float) -> bytes:
    """Return the beginning of an answer that is no file, as far as it comes."""
    head = b""
    try:
        while len(head) < PAGE_BYTES and time.monotonic() < deadline:
            block = answer.raw.read1(PAGE_BYTES, decode_content=True)
            if not block:
                break
            head += block
    except (urllib3.exceptions.HTTPError, OSError):
        pass
    return head


def http_date(text: str | None) -> datetime | None:
    """Return the aware UTC instant of a header such as Last-Modified, None where it cannot be read."""
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
    moment = http_date(text)
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)
