"""How a starter executes a simple command itself, instead of a shell that would do nothing else.

A starter waits while it opens a file and while a program is executed, and all its other commands
wait with it; a shell would wait alone. So what may take long is left to the shell: files on slow
file systems (mounts.py), and redirections to anything but ordinary files and /dev/null.

Imported by the runner: it stays small.
"""

import fcntl
import os
import stat

from pycron.protocol.runner_messages import RedirectionRow, StartMessage
from pycron.system.mounts import Slow, quick_path
from pycron.system.shells import environment_from

_FLAGS = {
    "<": os.O_RDONLY,
    ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
_MODE = 0o666  # of a new file, without the bits of the umask
_NULL = "/dev/null"
_NULL_DEVICE = os.makedev(1, 3)


class NotDirect(Exception):
    """Only the shell can start this command, or tell why it cannot be started."""


class Program:
    """What posix_spawn gets.

    `actions` are its file actions, and `opened` what they need: close() is called when they are
    done. `shell_waits`: see DirectRequest.
    """

    __slots__ = ("actions", "argv", "environment", "opened", "shell_waits")

    def __init__(
        self, argv: list[str], environment: dict[str, str], *, shell_waits: bool = False
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.shell_waits = shell_waits
        self.actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = []
        self.opened: list[int] = []

    def close(self) -> None:
        for descriptor in self.opened:
            os.close(descriptor)

    def redirect(self, row: RedirectionRow, directory: str, slow: tuple[str, ...]) -> None:
        """Raises NotDirect, Slow or OSError."""
        descriptor, operator, target = row
        if operator == ">&":
            self.actions.append((os.POSIX_SPAWN_DUP2, target, descriptor))
        elif _is_null(quick_path(os.path.join(directory, target), slow)):
            flags = _FLAGS[operator]
            self.actions.append((os.POSIX_SPAWN_OPEN, descriptor, _NULL, flags, _MODE))
        else:
            self.opened.append(_open_file(target, _FLAGS[operator]))
            self.actions.append((os.POSIX_SPAWN_DUP2, self.opened[-1], descriptor))


def program_of(start: StartMessage, slow: tuple[str, ...]) -> Program | None:
    """What is executed in the working directory instead of the shell; None: the shell is.

    `slow`: see Mounts.
    """
    direct = start["direct"]
    if direct is None:
        return None
    argv = direct["argv"]
    program = None
    try:
        directory = os.getcwd()
        environment = environment_from(direct["shell"], start["env"], argv[0], directory)
        if environment is None:
            return None
        quick_path(argv[0], slow)
        program = Program(argv, environment, shell_waits=direct["shell_waits"])
        for row in direct["redirections"]:
            program.redirect(row, directory, slow)
    except (OSError, Slow, NotDirect):
        if program is not None:
            program.close()
        return None
    return program


def _is_null(path: str) -> bool:
    """False: it is an ordinary file, or a new one. Raises NotDirect or OSError.

    A path that only root can change, because whoever opens /dev/null by another one may find a FIFO
    there at that moment, and wait.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    if path == _NULL and stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL_DEVICE:
        return True
    if not stat.S_ISREG(status.st_mode):
        raise NotDirect
    return False


def _open_file(path: str, flags: int) -> int:
    """Open an ordinary file. Nobody can keep this process waiting.

    The owner of a file can, with a lease (fcntl(2)), or with a FIFO that takes its place at this
    moment. Raises NotDirect or OSError.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotDirect
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    except (OSError, NotDirect):
        os.close(descriptor)
        raise
    return descriptor
