"""Cgroups (v2) for Attempts, if the runner may make cgroups.

It may if the daemon has started it in a scope of systemd (executor/launch.py). It uses a scope
instead of the cgroup of the service for two reasons. A cgroup whose controllers are enabled for its
children may contain no process itself, so systemd could not start the service again. And commands
continue when the service ends.

Imported by the runner: it stays small.
"""

import contextlib
import os
from itertools import count

SCOPE = "pycron-runner-"  # how the name of such a scope begins
RUNNER = "runner"  # the cgroup of the runner itself
_MOUNT = "/sys/fs/cgroup"
_CONTROLLERS = ("cpu", "memory", "pids")
_LOCAL = "memory_localevents"  # a mount option: a cgroup does not count what happens below it
_MOST_WEIGHT = "10000"  # of the runner, which needs little time, but at once; an Attempt has 100

_serial = count(1)


class Cgroup:
    """The cgroup of an Attempt. If it was removed, its methods return empty values.

    `siblings`: those below the same cgroup, if this runner has made it.
    """

    def __init__(self, path: str, siblings: "Delegation | None" = None) -> None:
        self.path = path
        self._siblings = siblings
        self._kills_before = siblings.kills() if siblings else None
        self.limits_memory = False
        self.limits_processes = False

    def limit(self, memory_max: int | None, processes_max: int) -> None:
        """Set the limits. `memory_max` in bytes: beyond it, the kernel kills all processes.

        No swap may be used in addition.
        """
        if memory_max is not None:
            self.limits_memory = self._write("memory.max", str(memory_max))
            self._write("memory.swap.max", "0")
            self._write("memory.oom.group", "1")
        self.limits_processes = self._write("pids.max", str(processes_max))

    def open_door(self) -> int:
        """A descriptor through which a process of any user may enter. Raises OSError."""
        return os.open(f"{self.path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def enter(self, door: int) -> None:
        """Move the calling process into the cgroup. Raises OSError."""
        os.write(door, b"0")

    def pids(self) -> set[int]:
        """All processes in this cgroup and below."""
        found = set()
        for path, _, _ in os.walk(self.path):
            found |= {int(pid) for pid in _read(f"{path}/cgroup.procs").split()}
        return found

    def has(self, pid: int) -> bool:
        path = _path_of(str(pid))
        return path == self.path or path.startswith(self.path + "/")

    def populated(self) -> bool:
        return _number(_read(f"{self.path}/cgroup.events"), "populated") > 0

    def kill(self) -> bool:
        """Send SIGKILL to all processes at once, also to those that are being forked.

        False if the kernel cannot (before Linux 5.14).
        """
        return self._write("cgroup.kill", "1")

    def freeze(self) -> bool:
        """Stop all processes, also those that are being forked; False if the kernel cannot.

        A frozen process ends at a SIGKILL, and takes other signals after thaw().
        """
        return self._write("cgroup.freeze", "1")

    def thaw(self) -> None:
        self._write("cgroup.freeze", "0")

    def frozen(self) -> bool:
        return _number(_read(f"{self.path}/cgroup.events"), "frozen") > 0

    def memory_peak(self) -> int:
        """The most bytes that all processes had at one time; 0 if the kernel does not report it."""
        return int(_read(f"{self.path}/memory.peak").strip() or 0)

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process because there was no memory left."""
        before = self._kills_before
        if self._siblings is not None and before is not None and before == self._siblings.kills():
            return False  # in none of them
        return _kills(_read(f"{self.path}/memory.events")) > 0

    def remove(self) -> bool:
        """Remove the cgroup and those below; False while there are processes in one of them."""
        if _remove(self.path):  # usually there are none below
            return True
        return all(_remove(path) for path, _, _ in os.walk(self.path, topdown=False))

    def _write(self, name: str, text: str) -> bool:
        return _write(f"{self.path}/{name}", text)


class Delegation:
    """The cgroup below which the runner may make cgroups. The runner itself is in RUNNER there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._own = _opened(f"{path}/{RUNNER}/cgroup.procs", os.O_WRONLY)
        self._events = -1 if _LOCAL in _read("/proc/mounts") else _opened(f"{path}/memory.events")

    def kills(self) -> int | None:
        """How many processes below it the kernel has killed for want of memory, if that is known.

        To read this takes one system call. To read the file of each Attempt that ends would take
        three, and the kernel has to make that file.
        """
        return None if self._events < 0 else _kills(os.pread(self._events, 4096, 0).decode())

    def expect_moves(self) -> None:
        """Keep the kernel ready to move processes; called every few ms while commands start.

        The first move after a while waits until every processor has taken notice (an RCU grace
        period), which takes ten ms and more, and so does each further one if there is so much time
        between two. A starter moves for each command. To move a process to where it is anyway is
        the cheapest move.
        """
        if self._own >= 0:
            with contextlib.suppress(OSError):
                os.write(self._own, b"0")

    def make(self, name: str, memory_max: int | None, processes_max: int) -> Cgroup | None:
        """A new cgroup with these limits; None if it cannot be made."""
        # The name is still in use if a starter that was ready to start this Attempt has not left.
        path = self._new(name) or self._new(f"{name}+{next(_serial)}")
        if path is None:
            return None
        cgroup = Cgroup(path, self)
        cgroup.limit(memory_max, processes_max)
        return cgroup

    def _new(self, name: str) -> str | None:
        """The path of a new cgroup; None if it cannot be made."""
        path = f"{self.path}/{name}"
        try:
            os.mkdir(path)
        except OSError:
            return None
        return path


def take_delegation() -> Delegation | None:
    """Prepare the scope that this process was started in; None if it is in no such scope.

    A cgroup whose controllers are enabled for its children may contain no process, so the runner
    first moves into a cgroup below.
    """
    path = _path_of("self")
    if not os.path.basename(path).startswith(SCOPE):
        return None
    try:
        os.makedirs(f"{path}/{RUNNER}", exist_ok=True)
    except OSError:
        return None
    if not _write(f"{path}/{RUNNER}/cgroup.procs", "0"):
        return None
    for controller in _CONTROLLERS:
        _write(f"{path}/cgroup.subtree_control", f"+{controller}")
    _write(f"{path}/{RUNNER}/cpu.weight", _MOST_WEIGHT)
    return Delegation(path)


def _path_of(process: str) -> str:
    """The directory of a process's cgroup; empty if there is no cgroup v2 or no such process."""
    for line in _read(f"/proc/{process}/cgroup").splitlines():
        if line.startswith("0::"):
            return _MOUNT + line.removeprefix("0::").rstrip("/")
    return ""


def _number(lines: str, key: str) -> int:
    for line in lines.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def _remove(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def _kills(events: str) -> int:
    return _number(events, "oom_kill") + _number(events, "oom_group_kill")


def _read(path: str) -> str:
    """Without a file object, which would double the time; empty if it cannot be read."""
    descriptor = _opened(path)
    if descriptor < 0:
        return ""
    text = b""
    try:
        while part := os.read(descriptor, 4096):
            text += part
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return text.decode("utf-8", "surrogateescape")


def _opened(path: str, access: int = os.O_RDONLY) -> int:
    """A descriptor of a file of the kernel; -1 if there is none."""
    try:
        return os.open(path, access | os.O_CLOEXEC)
    except OSError:
        return -1


def _write(path: str, text: str) -> bool:
    """Write to a file of the kernel; False if it does not exist or the kernel refuses the text."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
