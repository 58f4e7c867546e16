"""Housekeeping: deletes history beyond the limits, and output files without a record.

A step takes a bounded time. If there is more to delete, further steps follow at short intervals;
and if much output was recorded, the next step does not wait for the end of the minute.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pycron.config import Config
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.run import AttemptKey, RunKey
from pycron.storage.errors import StoreError
from pycron.storage.recorder import Recorder
from pycron.storage.store import Store
from pycron.system.output_names import output_name
from pycron.system.output_tail import tail_of

_DAY = 86_400
_STRAYS_KEPT = 7  # days
_FILES_PER_STEP = 500
_NEXT_STEP = 0.1  # seconds after a step that left something
_SOONEST = 1.0  # seconds between steps because of much output
_MUCH_OUTPUT = 1 / 32  # of the limit


class Housekeeping:
    """Prunes a store and its output files, a step at a time.

    `is_alive`: whether a Run has not ended; such a Run may not be recorded yet. `writing`: the
    Attempts whose commands run, with their users.
    """

    def __init__(
        self,
        store: Store,
        outputs: Path,
        recorder: Recorder,
        config: Callable[[], Config],
        is_alive: Callable[[RunKey], bool],
        writing: Callable[[], Iterable[tuple[str, AttemptKey]]],
        log: Callable[[Log], None],
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._recorder = recorder
        self._config = config
        self._is_alive = is_alive
        self._writing = writing
        self._log = log
        self._more = False
        self._last = 0.0
        self._strays = Strays(outputs)

    @property
    def next_at(self) -> float:
        """When a further step is due, on the monotonic clock; infinity if none is needed."""
        if self._more:
            return self._last + _NEXT_STEP
        much = self._config().keep.output_bytes * _MUCH_OUTPUT
        return self._last + _SOONEST if self._store.output_since_prune > much else math.inf

    def prune(self) -> None:
        """Do the step of a minute; the next one tries again what could not be deleted."""
        self._prune_store()
        self._remove_strays()

    def go_on(self) -> None:
        """Do a further step if one is due."""
        if time.monotonic() >= self.next_at:
            self._prune_store()

    def _prune_store(self) -> None:
        """Done also if nothing can be written: deleting output files may make room."""
        config = self._config()
        before = int(time.time()) - config.retention_days * _DAY
        self._more = False
        try:
            self._more = self._store.prune(
                config.keep, before, self._remove, self._bytes_being_written()
            )
        except StoreError as error:
            if not self._recorder.behind:  # otherwise the failure was logged
                self._log(Log(Event.STORE_FAILED, {"reason": str(error)}, bad=True))
        if self._recorder.behind:
            self._recorder.write([])  # before new output fills the room again
        self._last = time.monotonic()

    def _bytes_being_written(self) -> dict[str, int]:
        """The size of the output files of running commands, for each user."""
        sizes: dict[str, int] = {}
        for user, attempt in self._writing():
            path = str(self._outputs / output_name(attempt))
            if size := _size(path) + _size(tail_of(path)):
                sizes[user] = sizes.get(user, 0) + size
        return sizes

    def _remove(self, attempts: list[AttemptKey]) -> None:
        remove_outputs(self._outputs / output_name(attempt) for attempt in attempts)

    def _remove_strays(self) -> None:
        """Delete output files without a record, after some days in which users can find them."""
        if self._recorder.behind:
            return  # their records may still wait to be written
        days = min(_STRAYS_KEPT, self._config().retention_days)
        with suppress(StoreError):  # the next write logs it
            self._strays.remove(time.time() - days * _DAY, self._is_known)

    def _is_known(self, attempt: AttemptKey) -> bool:
        return self._is_alive(attempt.run) or self._store.knows(attempt)


def remove_outputs(paths: Iterable[Path]) -> None:
    """Delete output files, and the directory of a day when it is empty.

    A file that cannot be deleted stays, and the others are deleted all the same.
    """
    days: set[Path] = set()
    for path in paths:
        for each in (
            path,
            Path(tail_of(str(path))),
        ):  # a tail is left if the runner died before the command
            with suppress(OSError):  # most of them do not exist
                each.unlink()
        days.add(path.parent)
    for day in days:
        with suppress(OSError):  # it is not empty, or does not exist
            day.rmdir()


class Strays:
    """Output files without a record: a damaged database has lost it, or the write queue dropped it.

    Each step looks at the next few files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = self._all()

    def remove(self, before: float, is_known: Callable[[AttemptKey], bool]) -> None:
        """Delete those of the next files that were last written before a UTC second."""
        files = list(islice(self._files, _FILES_PER_STEP))
        if len(files) < _FILES_PER_STEP:
            self._files = self._all()
        old = (file for file in files if _last_written(file) < before)
        remove_outputs(file for file in map(_output_of, old) if _is_stray(file, is_known))

    def _all(self) -> Iterator[Path]:
        with suppress(OSError):  # the directory is missing, or that of a day was deleted
            for day in sorted(self._directory.iterdir()):
                with suppress(OSError), os.scandir(day) as files:
                    for file in files:
                        yield Path(file.path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # the Attempt has printed nothing so far
        return 0


def _last_written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def _output_of(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == tail_of("") else path


def _is_stray(path: Path, is_known: Callable[[AttemptKey], bool]) -> bool:
    """A file that is not named like an output is not ours, and stays."""
    try:
        return path.suffix == ".log" and not is_known(AttemptKey.parse(path.stem))
    except ValueError:
        return False
