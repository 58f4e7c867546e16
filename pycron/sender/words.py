"""What is said about a message that could not be sent: nothing that is in the URL of its broker."""

from urllib.parse import unquote, urlsplit

from pycron.model.text import printable
from pycron.sender.request import SendRequest

_MOST = 500  # characters of what a library says


def why(request: SendRequest, error: BaseException) -> str:
    """Why a message was not sent: `redis://broker.example.org: connection refused`."""
    text = " ".join(str(error).split())[:_MOST]
    if not text or any(secret in text for secret in _secrets(request["url"])):
        text = type(error).__name__
    return printable(f"{_where(request['url'])}: {text}")


def _where(url: str) -> str:
    """The broker, without user, password and options."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _secrets(url: str) -> set[str]:
    """Texts that only the URL has. A part of a password counts, where it is split at a sign."""
    parts = urlsplit(url)
    password = parts.password or ""
    whole = unquote(password)
    pieces = {each for sign in ":/@#?[]" for each in whole.split(sign) if len(each) > 2}
    return {url, parts.query, password, whole, *pieces} - {""}
