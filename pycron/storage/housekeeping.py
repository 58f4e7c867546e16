"""Housekeeping: what is beyond what the configuration wants to keep, and output nobody knows of."""

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
from pycron.system.output_tail import tail_of
from pycron.system.paths import output_name

_DAY = 86_400
_STRAYS_KEPT = 7  # days
_FILES_A_LOOK = 500


class Housekeeping:
    """The looks at a store and its output files, each of which forgets a little.

    `is_alive` says of a Run whether it has yet to end, and may not be on record therefore.
    """

    def __init__(
        self,
        store: Store,
        outputs: Path,
        recorder: Recorder,
        config: Config,
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

    def look(self) -> None:
        """Whatever can't be forgotten now has its turn again with the next look."""
        self._prune()
        self._remove_strays()

    def _prune(self) -> None:
        """Also where nothing can be written: files go first, and then there may be room again."""
        before = int(time.time()) - self._config.retention_days * _DAY
        try:
            self._store.prune(self._config.keep, before, self._remove)
        except StoreError as error:
            if not self._recorder.behind:  # else that has been said
                self._log(Log(Event.STORE_FAILED, {"reason": str(error)}, bad=True))
        if self._recorder.behind:
            self._recorder.write([])  # before what is printed fills that room again

    def _remove(self, attempts: list[AttemptKey]) -> None:
        remove_outputs(self._outputs / output_name(attempt) for attempt in attempts)

    def _remove_strays(self) -> None:
        """Nobody asks for them; but whoever misses them has some days to look for them."""
        if self._recorder.behind:
            return  # what is not on record may come to be
        days = min(_STRAYS_KEPT, self._config.retention_days)
        with suppress(StoreError):  # the next write will say so
            self._strays.remove(time.time() - days * _DAY, self._is_known)

    def _is_known(self, attempt: AttemptKey) -> bool:
        return self._is_alive(attempt.run) or self._store.knows(attempt)


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
