"""Messages on a stream socket: one JSON object on a line.

Imported by the runner: it stays small.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

CHUNK = 65_536  # bytes to receive at a time: decoding holds several copies of them

Message = dict[str, Any]

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(messages: Iterable[Mapping[str, object]]) -> bytes:
    """The messages as bytes to send."""
    return b"".join(_encode(message).encode() + b"\n" for message in messages)


def is_utf8(text: str) -> bool:
    """JSON can contain half of a surrogate pair; neither a file nor a database can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Decoder:
    """Turns received bytes into messages."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete.

        Raises ValueError if a message is longer than `limit` bytes or is no JSON object.
        """
        self._rest += data
        if b"\n" not in data and len(self._rest) <= self._limit:
            return
        *lines, last = self._rest.split(b"\n")
        self._rest = last
        if len(last) > self._limit:
            raise ValueError(f"a message of more than {self._limit} bytes")
        yield from _decoded(lines)


def _decoded(lines: list[bytearray]) -> list[Message]:
    """Decode all lines at once, so that thousands of messages share one copy of their keys."""
    try:
        messages: list[Message] = json.loads(b"[%b]" % b",".join(lines))
    except RecursionError:
        raise ValueError("a message that is nested too deeply") from None
    if len(messages) != len(lines) or not all(isinstance(each, dict) for each in messages):
        raise ValueError("a message that is no object")
    return messages
