"""What pycrond and the runner say to each other: one JSON object a line, over a Unix socket.

The runner outlives the daemon, so a newer daemon may meet an older runner. Both begin with their
protocol version; unknown types and unknown keys are passed over, so a version changes only when an
old meaning does.

daemon to runner
    hello    protocol
    start    id, argv, env, user (or null: don't change), cwd, cwd_required, umask, nice,
             stdin, output (a path), output_limit (bytes), short_output (bytes: an output of
             no more may come with its end, and not be in the file), report_output, timeout and
             kill_after (seconds; no timeout: null), memory_max (bytes or null),
             processes_max, hold (null, or the UTC second for whose go it is to wait)
    go       until: the starts that are held until this UTC second may begin at it; it has come, or
             (since version 2) will come in a moment
    drop     id of a held start that is not to be; so are all of a daemon that has gone
    ack      ids of endings that are recorded; the runner forgets them
    signal   id, signal: to the process group of the Attempt
    end      id, cause, reason, kill_after: TERM to all its processes, KILL so many seconds later;
             one that isn't started yet never will be. The first cause and the earliest KILL hold
    bye      this daemon ends in good order: whatever it has ordered has come to the runner
    leave    the same; and exit as soon as nothing runs and nothing is left to tell

runner to daemon
    hello    protocol, instance, cgroup (where it makes those of the Attempts, or null),
             attempts: what it knows, each as in started, refused or ended, or with its id and
             the type `starting`
    started  id, pid, started; not of one that has ended by then
    refused  id, cause, reason: no process exists, because it could not be forked (cause null), or
             because it was to end before it was started
    ended    id, pid, started, ended, exit_status, signal, cpu_seconds, memory_peak,
             output_bytes, output_kept, output (null: it is in the file; else a character for
             each byte of it), cause (null, timeout, memory or cancelled), reason
    output   id: its output file has grown

This module is imported by the runner: it stays small.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

PROTOCOL = 2
CHUNK = 65_536  # bytes to take at a time: while they are decoded they are there several times

Message = dict[str, Any]

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(messages: Iterable[Message]) -> bytes:
    """The messages as bytes to send."""
    return b"".join(_encode(message).encode() + b"\n" for message in messages)


class Decoder:
    """Bytes as they come in, messages as they are complete.

    ValueError when a message is longer than `limit` bytes or is no JSON object.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        self._rest += data
        if b"\n" not in data and len(self._rest) <= self._limit:
            return
        *lines, last = self._rest.split(b"\n")
        self._rest = last
        if len(last) > self._limit:
            raise ValueError(f"a message of more than {self._limit} bytes")
        yield from _decoded(lines)


def _decoded(lines: list[bytearray]) -> list[Message]:
    """All at once: so thousands of messages have one copy of the keys that they all have."""
    try:
        messages: list[Message] = json.loads(b"[%b]" % b",".join(lines))
    except RecursionError:
        raise ValueError("a message that is nested too deeply") from None
    if len(messages) != len(lines) or not all(isinstance(each, dict) for each in messages):
        raise ValueError("a message that is no object")
    return messages
