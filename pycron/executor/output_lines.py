"""The output of running commands, followed line by line."""

from collections.abc import Iterator
from pathlib import Path

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.job import Job
from pycron.model.run import AttemptKey

_LONGEST = 65_536  # bytes; a longer line is shown in pieces


class OutputFollower:
    """Reads what was added to a file since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def lines(self, ended: bool) -> list[str]:
        """The new complete lines; with `ended`, also a last line without a newline."""
        data = self._rest + self._read()
        *lines, self._rest = data.split(b"\n")
        if self._rest and ended:
            lines.append(self._rest)
            self._rest = b""
        elif len(self._rest) > _LONGEST:
            whole = _whole_characters(self._rest)
            lines.append(self._rest[:whole])
            self._rest = self._rest[whole:]
        return [line.decode("utf-8", "backslashreplace") for line in lines]

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return b""
        self._offset += len(data)
        return data


def _whole_characters(data: bytes) -> int:
    """How many bytes can be shown without cutting the last UTF-8 character in two."""
    for back in range(1, 4):
        if data[-back] >= 0xC0:  # the first byte of a character of several
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)


class OutputLines:
    """The output of running commands as log events, for a daemon in the foreground."""

    def __init__(self) -> None:
        self._followed: dict[AttemptKey, tuple[Job, OutputFollower]] = {}

    def follow(self, attempt: AttemptKey, job: Job, path: Path) -> None:
        self._followed[attempt] = job, OutputFollower(path)

    def grown(self, attempt: AttemptKey, *, ended: bool = False) -> Iterator[Log]:
        """The new lines of an Attempt, which is forgotten once it has ended."""
        if attempt not in self._followed:
            return
        job, follower = self._followed[attempt]
        for line in follower.lines(ended):
            fields = {"job": job.name, "run_id": str(attempt.run), "line": line}
            yield Log(Event.OUTPUT, fields)
        if ended:
            del self._followed[attempt]
