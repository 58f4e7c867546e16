"""Tokens: what programs, and people without a password, log in with.

A token is shown once, when it is made. The file has only its hash, in one JSON object a line.
"""

import hmac
import json
import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from pycron.system.files import Unreadable, own_rules, read_checked, replace_file
from pycron.web.access.secret import hash_of, new_secret

_MOST_BYTES = 2**20
_PREFIX = "pycron"


class BadTokens(Exception):
    """The file of tokens cannot be used, or does not have what was asked for."""


@dataclass(frozen=True, slots=True)
class Token:
    """`id`: public, names the token in its text. `hash`: SHA-256 of its secret part, in hex.

    `user`: for whom it asks. `may_change`: it is for operating, not only for reading. `made`: UTC
    seconds.
    """

    id: str
    name: str
    user: str
    may_change: bool
    made: int
    hash: str


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file; none if it does not exist. Raises BadTokens."""
    try:
        text = read_checked(str(path), own_rules(), _MOST_BYTES).data.decode()
        return [Token(**json.loads(line)) for line in text.splitlines()]
    except FileNotFoundError:
        return []
    except (Unreadable, OSError, ValueError, TypeError) as error:
        raise BadTokens(f"{path}: {error}") from None


def add_token(path: Path, name: str, user: str, *, may_change: bool, group: int = -1) -> str:
    """Make a token; its text, which is not kept. `group`: the gid that may read the file.

    Raises BadTokens if there is a token of this name; OSError.
    """
    tokens = read_tokens(path)
    if any(token.name == name for token in tokens):
        raise BadTokens(f'there is a token "{name}" already: revoke it, or choose another name')
    token_id, secret = secrets.token_hex(4), new_secret()
    new = Token(token_id, name, user, may_change, int(time.time()), hash_of(secret))
    _write(path, [*tokens, new], group)
    return f"{_PREFIX}_{token_id}_{secret}"


def revoke_token(path: Path, name: str, group: int = -1) -> None:
    """Remove a token. Raises BadTokens if there is none of this name; OSError."""
    tokens = read_tokens(path)
    left = [token for token in tokens if token.name != name]
    if len(left) == len(tokens):
        raise BadTokens(f'no such token: "{name}"')
    _write(path, left, group)


def _write(path: Path, tokens: Collection[Token], group: int) -> None:
    """Replace the file as a whole: a page may read it at any time. Raises OSError."""
    lines = "".join(f"{json.dumps(asdict(token))}\n" for token in tokens)
    mode = 0o600 if group == -1 else 0o640
    replace_file(path, lines.encode(), mode=mode, owner=(-1, group))


class Tokens:
    """The tokens of a file, read again when the file has changed: a revoked one is refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._current())

    def named(self, text: str) -> Token | None:
        """The token with this text; None if there is none. Raises BadTokens."""
        prefix, _, rest = text.partition("_")
        token_id, _, secret = rest.partition("_")
        token = self._current().get(token_id)
        expected = "" if token is None else token.hash  # the same work for an unknown one
        is_right = hmac.compare_digest(hash_of(secret), expected)
        return token if is_right and prefix == _PREFIX else None

    def has(self, token_id: str) -> bool:
        """Whether a token has not been revoked. Raises BadTokens."""
        return token_id in self._current()

    def _current(self) -> dict[str, Token]:
        version = _version(self._path)
        if version != self._version:
            self._tokens = {token.id: token for token in read_tokens(self._path)}
            self._version = version
        return self._tokens


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
