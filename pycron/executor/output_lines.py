"""What commands print, as lines for the log of a daemon in the foreground."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pycron.engine.actions import Printed
from pycron.model.run import AttemptKey
from pycron.protocol.runner_messages import STREAMS


@dataclass(slots=True)
class _Stream:
    """`rest`: of a line that is not complete. `begun`: pieces of that line were shown."""

    rest: bytearray = field(default_factory=bytearray)
    begun: bool = False


def _streams() -> dict[str, _Stream]:
    return {stream: _Stream() for stream in STREAMS}


@dataclass(slots=True)
class _Followed:
    """An Attempt. `open`: its streams that have not ended. `over`: its command has ended."""

    job: str
    open: dict[str, _Stream] = field(default_factory=_streams)
    over: bool = False


class OutputLines:
    """The output of Attempts, line by line.

    A line is shown when it is complete, or when its stream or its command ends. One of more than
    `longest` bytes is shown in pieces. An Attempt is forgotten when its command and both of its
    streams have ended: background processes may print after their command has ended.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._followed: dict[AttemptKey, _Followed] = {}

    def follow(self, attempt: AttemptKey, job: str) -> None:
        """Show what this Attempt prints from now on; `job`: the name of its Job."""
        self._followed.setdefault(attempt, _Followed(job))

    def forget(self, attempt: AttemptKey) -> None:
        """The Attempt was not started, or it is lost."""
        self._followed.pop(attempt, None)

    def printed(self, attempt: AttemptKey, stream: str, data: bytes) -> Iterator[Printed]:
        """The lines that this data completes; no data is the end of the stream."""
        followed = self._followed.get(attempt)
        if followed is None or stream not in followed.open:
            return
        if data:
            yield from self._completed(attempt, stream, data)
            return
        yield from self._rest(attempt, stream)
        del followed.open[stream]
        self._forget_if_over(attempt)

    def ended(self, attempt: AttemptKey) -> Iterator[Printed]:
        """What is left of an Attempt whose command has ended: lines without a newline."""
        followed = self._followed.get(attempt)
        if followed is None:
            return
        for stream in followed.open:
            yield from self._rest(attempt, stream)
        followed.over = True
        self._forget_if_over(attempt)

    def _completed(self, attempt: AttemptKey, stream: str, data: bytes) -> Iterator[Printed]:
        state = self._followed[attempt].open[stream]
        lines, newline, rest = data.rpartition(b"\n")
        if newline:
            lines = bytes(state.rest + lines)
            state.rest.clear()
            state.begun = False
            yield self._lines(attempt, stream, lines)
        state.rest += rest
        while len(state.rest) > self._longest:
            piece = bytes(state.rest[: self._longest])
            piece = piece[: _whole_characters(piece)]
            del state.rest[: len(piece)]
            state.begun = True
            yield self._lines(attempt, stream, piece, partial=True)

    def _rest(self, attempt: AttemptKey, stream: str) -> Iterator[Printed]:
        state = self._followed[attempt].open[stream]
        if state.rest or state.begun:
            yield self._lines(attempt, stream, bytes(state.rest))
        state.rest, state.begun = bytearray(), False

    def _lines(
        self, attempt: AttemptKey, stream: str, lines: bytes, *, partial: bool = False
    ) -> Printed:
        return Printed(self._followed[attempt].job, str(attempt.run), stream, lines, partial)

    def _forget_if_over(self, attempt: AttemptKey) -> None:
        followed = self._followed[attempt]
        if followed.over and not followed.open:
            del self._followed[attempt]


def _whole_characters(data: bytes) -> int:
    """How many bytes can be shown without cutting the last UTF-8 character in two."""
    for back in range(1, 4):
        if data[-back] >= 0xC0:  # the first byte of a character of several
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)
