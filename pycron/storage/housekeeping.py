"""Housekeeping: deletes history beyond the limits, and output files without a record."""

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


class Housekeeping:
    """Prunes a store and its output files, a step at a time.

    `is_alive`: whether a Run has not ended; such a Run may not be recorded yet.
    """

    def __init__(
        self,
        store: Store,
        outputs: Path,
        recorder: Recorder,
        config: Callable[[], Config],
        is_alive: Callable[[RunKey], bool],
        log: Callable[[Log], None],
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._recorder = recorder
        self._config = config
        self._is_alive = is_alive
        self._log = log
        self._strays = Strays(outputs)

    def prune(self) -> None:
        """Do one step; the next one tries again what could not be deleted."""
        self._prune_store()
        self._remove_strays()

    def _prune_store(self) -> None:
        """Done also if nothing can be written: deleting output files may make room."""
        config = self._config()
        before = int(time.time()) - config.retention_days * _DAY
        try:
            self._store.prune(config.keep, before, self._remove)
        except StoreError as error:
            if not self._recorder.behind:  # otherwise the failure was logged
                self._log(Log(Event.STORE_FAILED, {"reason": str(error)}, bad=True))
        if self._recorder.behind:
            self._recorder.write([])  # before new output fills the room again

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
