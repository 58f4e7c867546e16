"""Notices at once that a directory of tables has changed, if the kernel can report that."""

import selectors
from collections.abc import Callable
from pathlib import Path

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.system.inotify import DirectoryWatch, NotWatched


class TableWatch:
    """Calls `changed` when a directory has changed.

    The kernel limits the watches of each user, and other programs may have taken them all. The
    daemon works without them: it looks at its tables once a minute anyway, and the log says so.
    """

    def __init__(
        self,
        directories: set[Path],
        selector: selectors.BaseSelector,
        changed: Callable[[], None],
        log: Callable[[Log], None],
    ) -> None:
        self._directories = directories
        self._selector = selector
        self._changed = changed
        self._log = log
        self._watch: DirectoryWatch | None = None
        self._problem: str | None = None

    def renew(self) -> None:
        """Watch all directories that exist now. Call it at the start and once a minute."""
        try:
            self._renewed().renew()
        except NotWatched as error:
            self._report(str(error))
        else:
            self._problem = None

    def _renewed(self) -> DirectoryWatch:
        """The watch; it is made if there is none. Raises NotWatched."""
        if self._watch is None:
            self._watch = DirectoryWatch(self._directories)
            self._selector.register(self._watch, selectors.EVENT_READ, self._read)
        return self._watch

    def _read(self, _events: int) -> None:
        if self._watch:
            self._watch.drain()
        self._changed()

    def _report(self, problem: str) -> None:
        """Once for each problem."""
        if problem != self._problem:
            self._problem = problem
            reason = f"a changed table is noticed within a minute, not at once: {problem}"
            self._log(Log(Event.TABLES_NOT_WATCHED, {"reason": reason}, bad=True))
