"""Why the source gave no file, in a sentence that a person can act on."""

import re
import ssl
from typing import Any

from storage.errors import CddDenied, CddRefused, CddUnavailable, StorageError
from storage.redaction import safe_url

# How much of a web page is searched for what it is.
PAGE_BYTES = 64 * 1024

_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body|title|meta|script)", re.IGNORECASE)
_CHALLENGE = re.compile(
    rb"captcha|cf[-_]chl|/cdn-cgi/challenge|challenge-platform|just a moment|checking your browser|"
    rb"verify(ing)? (that )?you are (a )?human|are you a robot|enable javascript and cookies|ddos[- ]protection",
    re.IGNORECASE,
)
_LOGIN = re.compile(rb"type\s*=\s*[\"']?password|<title>[^<]{0,80}\b(log|sign)[ -]?in\b", re.IGNORECASE)


def page_instead_of_file(url: str, status: int, head: bytes) -> CddDenied | None:
    """Return the error for an answer that begins with `head`, a login or challenge page; None for any other answer."""
    if not _PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        return None
    # A challenge may hold a password field and a login page may hold a captcha; the captcha stops programs first.
    if _CHALLENGE.search(head):
        return CddDenied(
            f"{url}: a challenge page for browsers came instead of the file (HTTP {status}): the source takes this "
            f"client for an unwanted program. {_USER_AGENT}"
        )
    if _LOGIN.search(head):
        return CddDenied(
            f"{url}: a login page came instead of the file (HTTP {status}). If the network requires it, log in "
            f"with a browser first; if the source does, {_LOG_IN}"
        )
    return None


def denied(url: str, status: int) -> CddDenied:
    """Return the error for an answer of 401, 403 or 407."""
    if status == 401:
        return CddDenied(f"{url}: the source requires a login (HTTP 401): {_LOG_IN}")
    if status == 407:
        return CddDenied(
            f"{url}: the proxy requires a login (HTTP 407): write user and password into HTTPS_PROXY and HTTP_PROXY as "
            "http://USER:PASSWORD@host:port"
        )
    return CddDenied(f"{url}: the source refuses this client (HTTP {status}). {_USER_AGENT}")


def no_answer(url: str, error: BaseException) -> StorageError:
    """Return the error for a request that failed before there was an answer.

    CddRefused for a certificate that is not trusted, CddUnavailable for everything that may pass by itself.
    """
    if "certificate bundle" in str(error) or "no certificate or crl" in str(error).casefold():
        return CddRefused(
            f"{safe_url(url)}: the file of trusted certificates is missing or holds none: correct "
            "CANDLECAST_CA_BUNDLE, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE"
        )
    certificate = _inside(error, ssl.SSLCertVerificationError)
    if certificate is None:
        return CddUnavailable(f"{safe_url(url)} did not answer: {reason(error)}")
    assert isinstance(certificate, ssl.SSLCertVerificationError)
    explanation = certificate.verify_message
    if certificate.verify_code in _UNTRUSTED_CHAIN:
        remedy = (
            "If a company's proxy or your own authority signs certificates here, save its CA certificates as one PEM "
            "file and set CANDLECAST_CA_BUNDLE to that file's path; it then replaces the usual authorities"
        )
    elif certificate.verify_code in _WRONG_TIME:
        remedy = "Check this machine's clock; if it is right, the source has to renew its certificate"
    else:
        remedy = "Check the host's name in the URL"
    return CddRefused(f"{safe_url(url)}: the certificate is not trusted: {explanation}. {remedy}")


def reason(error: BaseException) -> str:
    """Return the innermost reason of an error, without addresses that may hold secrets."""
    arguments: tuple[Any, ...] = error.args
    while arguments and isinstance(arguments[0], BaseException):
        error, arguments = arguments[0], arguments[0].args
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return f"{type(inner).__name__}: {inner.__cause__ or inner.args[-1]}"
    if arguments and isinstance(arguments[-1], OSError):
        return f"the connection broke off ({arguments[-1].strerror or arguments[-1]})"
    return type(error).__name__


_USER_AGENT = (
    "If a browser on this machine gets the file, set CANDLECAST_USER_AGENT to a name that the source accepts, such as "
    "the browser's; if it does not, the source refuses this network address"
)
_LOG_IN = "write user and password into CANDLECAST_SOURCE as https://USER:PASSWORD@host/"
# X509_V_ERR_* of OpenSSL, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/ (seen 2026-11).
_UNTRUSTED_CHAIN = (2, 18, 19, 20, 21, 24, 26, 27)
_WRONG_TIME = (9, 10)


def _inside(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the error of `kind` that `error` was made of, if any."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        at = waiting.pop()
        if not isinstance(at, BaseException) or id(at) in seen:
            continue
        if isinstance(at, kind):
            return at
        seen.add(id(at))
        waiting += [*at.args, getattr(at, "reason", None), at.__cause__, at.__context__]
    return None
