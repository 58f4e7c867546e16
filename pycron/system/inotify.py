"""inotify(7) reports changes of directories. The standard library has no binding."""

import ctypes
import errno
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


# The limits of the kernel for each user, by the error that says that one of them is reached.
_LIMITS = {
    ("inotify_init1", errno.EMFILE): "fs.inotify.max_user_instances",
    ("inotify_add_watch", errno.ENOSPC): "fs.inotify.max_user_watches",
}


class NotWatched(Exception):
    """Changes are not reported; the message says why, and which limit of the kernel is too low."""

    def __init__(self, function: str, number: int) -> None:
        limit = _LIMITS.get((function, number))
        remedy = f" (raise {limit} with sysctl)" if limit else ""
        super().__init__(f"{function}: {os.strerror(number)}{remedy}")


class DirectoryWatch:
    """Its descriptor (`fileno`) can be read when one of the directories has changed.

    It does not say what has changed; a scan finds that.
    """

    def __init__(self, directories: set[Path]) -> None:
        """Raises NotWatched. `renew` must be called before the first wait."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise NotWatched("inotify_init1", ctypes.get_errno())
        self._directories = [os.fsencode(directory) for directory in directories]

    def fileno(self) -> int:
        return int(self._descriptor)

    def renew(self) -> None:
        """Watch directories that did not exist before; to watch one twice has no effect.

        A directory that does not exist or may not be read is passed over. Raises NotWatched if the
        kernel has no room for more watches.
        """
        for directory in self._directories:
            added = self._libc.inotify_add_watch(self._descriptor, directory, _EVENTS)
            number = ctypes.get_errno()
            if added < 0 and number in (errno.ENOSPC, errno.ENOMEM):
                raise NotWatched("inotify_add_watch", number)

    def drain(self) -> None:
        """Read and forget all events so far."""
        try:
            while os.read(self._descriptor, 65_536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self._descriptor)
