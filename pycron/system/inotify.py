"""inotify(7) reports changes of directories. The standard library has no binding."""

import ctypes
import os
from pathlib import Path

_CLOSE_WRITE = 0x008
_ATTRIB = 0x004
_MOVED_FROM = 0x040
_MOVED_TO = 0x080
_DELETE = 0x200
_DELETE_SELF = 0x400
_ONLYDIR = 0x1000000
# Not IN_CREATE: a file that has just been created is not written yet.
_EVENTS = _CLOSE_WRITE | _ATTRIB | _MOVED_FROM | _MOVED_TO | _DELETE | _DELETE_SELF | _ONLYDIR


class DirectoryWatch:
    """Its descriptor (`fileno`) can be read when one of the directories has changed.

    It does not say what has changed; a scan finds that. Directories that cannot be watched are
    passed over: the scan of each minute finds their changes, too.
    """

    def __init__(self, directories: set[Path]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._directories = [os.fsencode(directory) for directory in directories]
        self.renew()

    def fileno(self) -> int:
        return int(self._descriptor)

    def renew(self) -> None:
        """Watch directories that did not exist before; to watch one twice has no effect."""
        for directory in self._directories:
            self._libc.inotify_add_watch(self._descriptor, directory, _EVENTS)

    def drain(self) -> None:
        """Read and forget all events so far."""
        try:
            while os.read(self._descriptor, 65_536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self._descriptor)
