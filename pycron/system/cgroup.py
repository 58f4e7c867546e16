"""Cgroups (v2) for Attempts, where the runner has a part of the tree of cgroups to itself.

It has one where the daemon has started it in a scope of systemd's (runner_client.py). A scope, and
not the service's own cgroup: with controllers handed on below it, the kernel lets no process into
the service's cgroup itself, so the service could not be started again; and commands outlive it.

Imported by the runner: it stays small.
"""

import os
from itertools import count

SCOPE = "pycron-runner-"  # how the name of such a scope begins
_MOUNT = "/sys/fs/cgroup"
_CONTROLLERS = ("memory", "pids")

_serial = count(1)


class Cgroup:
    """The cgroup of an Attempt. It may vanish at any time: what is asked then is nothing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.limits_memory = False
        self.limits_processes = False

    def limit(self, memory_max: int | None, processes_max: int) -> None:
        """Memory in bytes, without swap beside it; who uses more is ended as a whole."""
        if memory_max is not None:
            self.limits_memory = self._write("memory.max", str(memory_max))
            self._write("memory.swap.max", "0")
            self._write("memory.oom.group", "1")
        self.limits_processes = self._write("pids.max", str(processes_max))

    def open_door(self) -> int:
        """A descriptor through which any process may enter, whoever it has become; -1: none."""
        try:
            return os.open(f"{self.path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def enter(self, door: int) -> None:
        """Move the calling process into it. Where that fails it is elsewhere, and goes on."""
        try:
            os.write(door, b"0")
        except OSError:
            pass

    def pids(self) -> set[int]:
        """Every process in it and below."""
        found = set()
        for path, _, _ in os.walk(self.path):
            found |= {int(pid) for pid in _read(f"{path}/cgroup.procs").split()}
        return found

    def has(self, pid: int) -> bool:
        path = _path_of(str(pid))
        return path == self.path or path.startswith(self.path + "/")

    def populated(self) -> bool:
        return _number(_read(f"{self.path}/cgroup.events"), "populated") > 0

    def kill(self) -> None:
        """SIGKILL to all of it at once, also to what is being forked."""
        self._write("cgroup.kill", "1")

    def memory_peak(self) -> int:
        """The most bytes that all of it had at one time; 0 where the kernel doesn't say."""
        return int(_read(f"{self.path}/memory.peak").strip() or 0)

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed any of it for want of memory."""
        events = _read(f"{self.path}/memory.events")
        return _number(events, "oom_kill") > 0 or _number(events, "oom_group_kill") > 0

    def remove(self) -> bool:
        """False while there are processes in it."""
        if _remove(self.path):  # most often there is none below it
            return True
        return all(_remove(path) for path, _, _ in os.walk(self.path, topdown=False))

    def _write(self, name: str, text: str) -> bool:
        return _write(f"{self.path}/{name}", text)


class Delegation:
    """The part of the tree of cgroups that is the runner's to divide."""

    def __init__(self, path: str) -> None:
        self.path = path

    def make(self, name: str, memory_max: int | None, processes_max: int) -> Cgroup | None:
        """A new cgroup with these limits; None where there is none to be had."""
        # The name is in use while a starter that stood ready with the Attempt has yet to leave.
        path = self._new(name) or self._new(f"{name}+{next(_serial)}")
        if path is None:
            return None
        cgroup = Cgroup(path)
        cgroup.limit(memory_max, processes_max)
        return cgroup

    def _new(self, name: str) -> str | None:
        """The path of an empty one; None where it can't be had."""
        path = f"{self.path}/{name}"
        try:
            os.mkdir(path)
        except OSError:
            return None
        return path


def take_delegation() -> Delegation | None:
    """The scope that this process was started in, made ready; None where it is in no such scope.

    A cgroup that hands controllers on has no processes of its own, so the runner moves out of the
    way first.
    """
    path = _path_of("self")
    if not os.path.basename(path).startswith(SCOPE):
        return None
    try:
        os.makedirs(f"{path}/runner", exist_ok=True)
    except OSError:
        return None
    if not _write(f"{path}/runner/cgroup.procs", "0"):
        return None
    for controller in _CONTROLLERS:
        _write(f"{path}/cgroup.subtree_control", f"+{controller}")
    return Delegation(path)


def _path_of(process: str) -> str:
    """The directory of a process's cgroup; empty where there is no cgroup v2, or no process."""
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


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> bool:
    """Without O_CREAT: what isn't there is not the kernel's to know."""
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
