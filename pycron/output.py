"""Output files: following those of running commands, line by line, and removing them."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pycron.actions import Log
from pycron.events import Event
from pycron.model import AttemptKey, Job
from pycron.recording import tail_of

_LONGEST = 65_536  # bytes; a longer line is shown in pieces
_FILES_A_LOOK = 500


class OutputFollower:
    """What has been added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def lines(self, ended: bool) -> list[str]:
        """The new complete lines; with `ended`, also what the last line lacks a newline to be."""
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
    """How much of it can be shown without cutting the last UTF-8 character in two."""
    for back in range(1, 4):
        if data[-back] >= 0xC0:  # the first byte of a character of several
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)


class OutputLines:
    """What running commands print, as log events: for a daemon in the foreground."""

    def __init__(self) -> None:
        self._followed: dict[str, tuple[Job, OutputFollower]] = {}

    def follow(self, attempt: AttemptKey, job: Job, path: Path) -> None:
        self._followed[str(attempt)] = job, OutputFollower(path)

    def grown(self, attempt: str, *, ended: bool = False) -> Iterator[Log]:
        """The new lines of an Attempt, which is forgotten once it has ended."""
        if attempt not in self._followed:
            return
        job, follower = self._followed[attempt]
        for line in follower.lines(ended):
            fields = {"job": job.name, "run_id": attempt.rpartition(".")[0], "line": line}
            yield Log(Event.OUTPUT, fields)
        if ended:
            del self._followed[attempt]


def remove_outputs(paths: Iterable[Path]) -> None:
    """Delete output files, and the directory of a day when it is empty.

    A file that can't be deleted stays: it must not keep all others from going.
    """
    days: set[Path] = set()
    for path in paths:
        for each in (path, Path(tail_of(str(path)))):  # a tail: the runner died beside the command
            with suppress(OSError):  # most often there never was one
                each.unlink()
        days.add(path.parent)
    for day in days:
        with suppress(OSError):  # there is more of that day, or there never was any
            day.rmdir()


class Strays:
    """Output files that no record leads to: a damaged database has lost it, or it was dropped.

    A few files are looked at at a time, each time the next ones.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = self._all()

    def remove(self, before: float, is_known: Callable[[AttemptKey], bool]) -> None:
        """Delete those among the next files that were written to before a UTC second only."""
        files = list(islice(self._files, _FILES_A_LOOK))
        if len(files) < _FILES_A_LOOK:
            self._files = self._all()
        old = (file for file in files if _last_written(file) < before)
        remove_outputs(file for file in map(_output_of, old) if _is_stray(file, is_known))

    def _all(self) -> Iterator[Path]:
        with suppress(OSError):  # of the directory; of a day, it has gone meanwhile
            for day in sorted(self._directory.iterdir()):
                with suppress(OSError), os.scandir(day) as files:
                    for file in files:
                        yield Path(file.path)


def _last_written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def _output_of(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == tail_of("") else path


def _is_stray(path: Path, is_known: Callable[[AttemptKey], bool]) -> bool:
    """What is not called like an output is somebody else's, and stays."""
    try:
        return path.suffix == ".log" and not is_known(AttemptKey.parse(path.stem))
    except ValueError:
        return False
