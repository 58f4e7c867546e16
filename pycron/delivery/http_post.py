"""Sends one HTTP POST within a time limit, and follows redirects to http and https only.

URLs are secrets: no exception that leaves this module has one in its text.
"""

import re
import string
import time
from base64 import b64encode
from http.client import HTTPException
from queue import Empty, SimpleQueue
from threading import Thread
from urllib import request
from urllib.error import URLError
from urllib.parse import SplitResult, quote, unquote_to_bytes, urljoin, urlsplit, urlunsplit

import pycron
from pycron.model.text import printable

_REDIRECTS = 5  # at most so many, one after the other
_BECOMES_GET = (301, 302, 303)  # what browsers and urllib do with a POST that is redirected so
_STAYS_POST = (307, 308)
_HOST = re.compile(r"([0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")


class NoAnswer(Exception):
    """The server gave no answer in time, or none that is HTTP. It may do so later."""


class BadRedirect(Exception):
    """The server redirects too often, or to what is no http or https URL."""


def parse_url(text: str) -> SplitResult:
    """The parts of an http or https URL, in ASCII and without its fragment. Raises ValueError."""
    try:
        parts = urlsplit(text)
        user_info, at, host = parts.netloc.rpartition("@")
        host = host.encode("idna").decode()
        valid = parts.scheme in ("http", "https") and _HOST.fullmatch(host) and parts.port != 0
        path, query = _quoted(parts.path), _quoted(parts.query)
        user_info = _quoted(user_info)
    except ValueError:
        valid = None
    if not valid:
        raise ValueError("no http or https URL") from None
    return SplitResult(parts.scheme, f"{user_info}{at}{host}", path, query, "")


def _quoted(part: str) -> str:
    """Percent-encode all but printable ASCII; an encoded character stays as it is."""
    return quote(part, safe=string.punctuation)


def post(url: SplitResult, body: bytes, time_limit: float) -> int:
    """The HTTP status with which the server answers. Raises NoAnswer or BadRedirect.

    The limit, in seconds, is for everything: name, connection, redirects, answer. A thread does
    the work, because a name look-up cannot be interrupted; if it takes too long, it is left alone.
    """
    results: SimpleQueue[int | NoAnswer | BadRedirect] = SimpleQueue()
    deadline = time.monotonic() + time_limit
    Thread(target=lambda: results.put(_result(url, body, deadline)), daemon=True).start()
    try:
        result = results.get(timeout=time_limit)
    except Empty:
        raise NoAnswer("timed out") from None
    if isinstance(result, int):
        return result
    raise result


def _result(url: SplitResult, body: bytes, deadline: float) -> int | NoAnswer | BadRedirect:
    try:
        return _exchange(url, body, deadline)
    except BadRedirect as error:
        return error
    except Exception as error:  # noqa: BLE001  a traceback could show the URL
        return NoAnswer(_in_words(error))


def _exchange(url: SplitResult, body: bytes | None, deadline: float) -> int:
    """The status of the first answer that is no redirect.

    The body of an answer is not read: its status says everything, and it may have no end.
    """
    opener = _opener()
    for _ in range(_REDIRECTS + 1):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        with opener.open(_request(url, body), timeout=remaining) as response:
            status: int = response.status
            location: str | None = response.headers["Location"]
        if location is None or status not in (*_BECOMES_GET, *_STAYS_POST):
            return status
        url = _redirected(url, location)
        body = body if status in _STAYS_POST else None
    raise BadRedirect(f"more than {_REDIRECTS} redirects")


def _opener() -> request.OpenerDirector:
    """It opens http and https only, and gives back redirects and errors like other answers."""
    opener = request.OpenerDirector()
    opener.add_handler(request.ProxyHandler())
    opener.add_handler(request.HTTPHandler())
    opener.add_handler(request.HTTPSHandler())
    opener.add_handler(request.UnknownHandler())
    return opener


def _request(url: SplitResult, body: bytes | None) -> request.Request:
    """A POST, or a GET if there is no body (an empty one is a body)."""
    user_info, _, host = url.netloc.rpartition("@")
    headers = {"User-Agent": f"pycron/{pycron.__version__}"}
    if body is not None:
        headers["Content-Type"] = "text/plain"
    if user_info:
        headers["Authorization"] = _basic_authorization(user_info)
    address = urlunsplit(url._replace(netloc=host))
    return request.Request(address, body, headers)  # noqa: S310  parse_url() checks the scheme


def _basic_authorization(user_info: str) -> str:
    user, _, password = user_info.partition(":")
    return "Basic " + b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()


def _redirected(url: SplitResult, location: str) -> SplitResult:
    """The URL of a redirect. User and password go with it only to the same server."""
    try:
        # http.client has decoded the header as Latin-1, whatever it was.
        there = quote(location, safe=string.punctuation, encoding="latin-1")
        target = parse_url(urljoin(urlunsplit(url), there))
    except ValueError:
        raise BadRedirect("a redirect to what is no http or https URL") from None
    if (target.scheme, target.netloc) == (url.scheme, url.netloc.rpartition("@")[2]):
        return target._replace(netloc=url.netloc)
    return target


def _in_words(error: Exception) -> str:
    """The error in words of ours: the texts of http.client and urllib may contain the URL."""
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    if isinstance(error, ConnectionError | HTTPException):
        return "the server gave no valid answer"
    return f"not sent ({type(error).__name__})"
