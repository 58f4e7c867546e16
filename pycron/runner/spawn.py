"""Fork, become the user, spawn: everything that happens between the runner and the command.

Imported by the runner only: it stays small.
"""

import contextlib
import mmap
import os
import resource
import signal
import struct
import time
from functools import cache
from typing import Any

from pycron.runner.process_tree import Tree

_EXEC_FAILED = 126
_UMASK = 0o022
_LONGEST_WAIT = 0.1  # seconds for which a time may be told ahead
_SLOT = struct.Struct("qdq")
_WORD = struct.Struct("d")
UNTOUCHED, BEGUN, STARTED = range(3)
NO_PROCESS = -1
# Python ignores the first two, and a child inherits what is ignored.
_TO_DEFAULT = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
    signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip

# Of a command: its pid (NO_PROCESS: there was none to be had), when it was started (UTC), and
# UNTOUCHED, BEGUN or STARTED.
Told = tuple[int, float, int]
Order = dict[str, Any]
_Form = dict[str, tuple[type, ...]]

# The keys of wire.py's messages and what they hold; a runner trusts nothing that could end it.
_ORDER: _Form = {
    "id": (str,),
    "argv": (list,),
    "env": (dict,),
    "user": (dict, type(None)),
    "cwd": (str,),
    "cwd_required": (bool,),
    "umask": (int, type(None)),
    "nice": (int, type(None)),
    "stdin": (str, type(None)),
    "output": (str,),
    "output_limit": (int,),
    "short_output": (int,),
    "report_output": (bool,),
    "hold": (int, type(None)),
    "timeout": (int, type(None)),
    "kill_after": (int,),
    "memory_max": (int, type(None)),
    "processes_max": (int,),
}
_USER: _Form = {"uid": (int,), "gid": (int,), "groups": (list,)}
_END: _Form = {"id": (str,), "cause": (str,), "reason": (str,), "kill_after": (int,)}
_LARGEST = 2**62


def check_order(order: Order) -> None:
    """Raises ValueError for what is no order."""
    order.setdefault("short_output", 0)  # an older daemon's
    _check("start", order, _ORDER)
    if order["user"] is not None:
        _check("start", order["user"], _USER)
    if not order["argv"]:
        raise ValueError("start: bad argv: nothing to run")


def check_end(message: dict[str, Any]) -> None:
    """Raises ValueError for what is no order to end an Attempt."""
    _check("end", message, _END)
    if message["cause"] not in ("timeout", "memory", "cancelled"):
        raise ValueError(f"end: bad cause: {message['cause']!r}")


def _check(kind: str, part: dict[str, Any], form: _Form) -> None:
    for key, types in form.items():
        value = part.get(key)
        fits = isinstance(value, types) and (not isinstance(value, int) or abs(value) <= _LARGEST)
        if not fits:
            raise ValueError(f"{kind}: bad {key}: {value!r}")


class Launch:
    """An order with what its command gets: descriptors, and the tree that it belongs to.

    `output` becomes its stdout and stderr.
    """

    __slots__ = ("door", "order", "output", "stdin", "tree")

    def __init__(self, order: Order, tree: Tree, output: int) -> None:
        """Raises OSError when there is no descriptor to be had."""
        self.order = order
        self.tree = tree
        self.output = output
        self.stdin = _stdin(order["stdin"])
        self.door = tree.cgroup.open_door() if tree.cgroup is not None else -1

    def join(self) -> None:
        """The calling process belongs to its tree."""
        self.tree.join(self.door)

    def close(self) -> None:
        """Our copies of its descriptors; the command has its own."""
        for descriptor in (self.stdin, self.output, self.door):
            if descriptor >= 0 and descriptor != _nothing():
                os.close(descriptor)


def kind_of(order: Order) -> tuple[Any, ...]:
    """What all commands of one batch have in common."""
    return order["user"], order["nice"], order["processes_max"]


class Telling:
    """Memory that a starter and the runner share: what has become of each command of a batch."""

    def __init__(self, count: int) -> None:
        """Raises OSError when there is none to be had."""
        self._slots = mmap.mmap(-1, count * _SLOT.size)

    def write(self, index: int, pid: int, state: int) -> None:
        _SLOT.pack_into(self._slots, index * _SLOT.size, pid, time.time(), state)

    def read(self, index: int) -> Told:
        slot: Told = _SLOT.unpack_from(self._slots, index * _SLOT.size)
        if slot[2] == STARTED and not slot[0]:
            # Read while it was being written, from its first byte to its last: once more.
            slot = _SLOT.unpack_from(self._slots, index * _SLOT.size)
        return slot


class Batch:
    """Commands of one user that are started one after the other by a process of their own.

    That process, the starter, has to be forked from the runner, which is slow, and become the user;
    the commands are then spawned from it without a copy of its memory. When it exits they are the
    runner's, which is the subreaper. What it has done stands in memory that both share.

    A batch that `waits` is forked ahead of its time, and spawns nothing before let_go().
    """

    def __init__(self, launches: list[Launch], *, waits: bool = False) -> None:
        self.launches = launches
        self._waits = waits
        self._gate: tuple[int, int] | None = None

    def start(self, errors: int, files: tuple[int, int]) -> int:
        """Fork the starter; its pid. Raises OSError when it can't be had.

        What goes wrong with a command is written to `errors` as one line. `files` is the limit of
        open files that the commands get.
        """
        try:
            self._told = Telling(len(self.launches))
            if self._waits:
                self._gate = os.pipe2(os.O_CLOEXEC)
            return self._fork(errors, files)
        except OSError:
            if self._gate is not None:
                os.close(self._gate[1])
            raise
        finally:
            for launch in self.launches:
                launch.close()
            if self._gate is not None:
                os.close(self._gate[0])

    def _fork(self, errors: int, files: tuple[int, int]) -> int:
        others = _all_but(self._descriptors(errors))  # here: what the starter writes to is copied
        # A handler of the runner's must not run in the starter.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_DEFAULT)
        try:
            pid = os.fork()
            if pid == 0:
                self._run(others, errors, files)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def let_go(self, at: float) -> None:
        """Say to a starter that waits that it may begin, at this instant (UTC)."""
        assert self._gate is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead, as its end will tell
            os.write(self._gate[1], _WORD.pack(at))
        os.close(self._gate[1])

    def stand_down(self) -> None:
        """Say to a starter that waits that it is to exit."""
        assert self._gate is not None
        os.close(self._gate[1])

    def told(self, index: int) -> Told:
        """What its starter tells of a command."""
        return self._told.read(index)

    def _run(self, others: list[range], errors: int, files: tuple[int, int]) -> None:
        """In the starter: never returns, whatever happens.

        `others` are the runner's descriptors, and nobody may have them when it has died. Each
        command that is spawned would get a copy of them all, and close it: with a thousand it would
        cost a tenth more.
        """
        try:
            for gap in others:
                os.closerange(gap.start, gap.stop)
            failure = _get_ready(self.launches, files)
            self.launches[0].join()  # before the wait: to enter a cgroup may take some ms
            if self._gate is not None:
                word = os.read(self._gate[0], _WORD.size)
                if not word:
                    return
                _wait_until(*_WORD.unpack(word))
            for index, launch in enumerate(self.launches):
                if index:  # before its word: an end of the tree before could still end this process
                    launch.join()
                self._told.write(index, 0, BEGUN)
                try:
                    pid = _spawn(launch, failure)
                except _Failure as why:
                    pid = _failed(launch, why, errors)
                self._told.write(index, pid, STARTED)
        finally:
            os._exit(_EXEC_FAILED)  # seen only where it has not come to its end

    def _descriptors(self, errors: int) -> set[int]:
        """What the starter needs."""
        needed = {0, 1, 2, errors}
        if self._gate is not None:
            needed.add(self._gate[0])
        for launch in self.launches:
            needed |= {launch.stdin, launch.output}
            if launch.door >= 0:
                needed.add(launch.door)
        return needed


def _all_but(needed: set[int]) -> list[range]:
    """Where all other descriptors of this process are."""
    gaps = []
    low = 0
    for descriptor in sorted(needed):
        gaps.append(range(low, descriptor))
        low = descriptor + 1
    gaps.append(range(low, _end_of_descriptors()))
    return [gap for gap in gaps if gap]  # of none closerange() might take it for all


def _end_of_descriptors() -> int:
    """No descriptor of this process is as high."""
    lines = os.pread(_status(), 4096, 0).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(b"FDSize:"))


@cache
def _status() -> int:
    """Open for good: there may be no descriptor to be had for it later."""
    return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)


def left_until(instant: float) -> float:
    """Seconds until a time that is told a moment ahead; the clock may have been set since then."""
    return min(max(0.0, instant - time.time()), _LONGEST_WAIT)


def _wait_until(instant: float) -> None:
    time.sleep(left_until(instant))


class _Failure(Exception):
    """Why a command can't be run."""


def _get_ready(launches: list[Launch], files: tuple[int, int]) -> _Failure | None:
    """Become who runs the commands of this kind. After a failure none of them may be run."""
    order = launches[0].order
    step = "start"
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        if not launches[0].tree.processes_are_limited:
            _limit_processes(order)
        step = "become the user"
        if order["user"] is not None:
            for launch in launches:  # so that they can open their /dev/stderr
                os.fchown(launch.output, order["user"]["uid"], -1)
            _become(**order["user"])
        step = "set the niceness"  # as the user: nobody gets a priority that isn't theirs to take
        if order["nice"] is not None:
            os.setpriority(os.PRIO_PROCESS, 0, order["nice"])
    except Exception as error:  # noqa: BLE001  whatever it is, it is said
        return _Failure(f"cannot {step}: {error}")
    return None


def _spawn(launch: Launch, failure: _Failure | None) -> int:
    """Start a command; its pid. Raises _Failure."""
    if failure is not None:
        raise failure
    order = launch.order
    step = f"enter {order['cwd']}"
    try:
        os.umask(_UMASK if order["umask"] is None else order["umask"])
        _enter(order["cwd"], order["cwd_required"])
        step = f"run {order['argv'][0]}"
        # posix_spawn itself would take none whose number is above the limit of open files.
        for target, source in enumerate((launch.stdin, launch.output, launch.output)):
            os.dup2(source, target)
        os.close(launch.output)  # and below: its pipe comes to its end with the command
        pid = os.posix_spawn(
            order["argv"][0],
            order["argv"],
            order["env"],
            setsid=True,
            setsigmask=(),
            setsigdef=_TO_DEFAULT,
        )
        os.closerange(1, 3)
        return pid
    except Exception as error:  # noqa: BLE001
        raise _Failure(f"cannot {step}: {error}") from None


def _failed(launch: Launch, why: _Failure, errors: int) -> int:
    """Say why, and be the command that could not be run: a process that ends with status 126.

    Its pid; NO_PROCESS when there is none to be had, as while its user has as many as may be.
    """
    line = f"{launch.order['id']} {why}"
    try:
        os.write(errors, line.encode("utf-8", "replace")[:2000].replace(b"\n", b" ") + b"\n")
    except BlockingIOError:
        pass  # the runner has more of them to read than it can
    try:
        pid = os.fork()
    except OSError:
        return NO_PROCESS
    if pid == 0:
        os._exit(_EXEC_FAILED)
    return pid


@cache
def _nothing() -> int:
    """What a command reads that has no input: one descriptor for all of them."""
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def _stdin(text: str | None) -> int:
    """A descriptor from which the command reads its input; never the runner's own."""
    if text is None:
        return _nothing()
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(descriptor, data) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _limit_processes(order: Order) -> None:
    """The next best to a limit of the tree: one of its user, whatever runs elsewhere included.

    It would not bind root, but it would stay with what root's command starts as another user.
    """
    uid = order["user"]["uid"] if order["user"] is not None else os.geteuid()
    if uid != 0:
        most = order["processes_max"]
        own = resource.getrlimit(resource.RLIMIT_NPROC)
        soft, hard = (
            most if limit == resource.RLIM_INFINITY else min(most, limit) for limit in own
        )
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


def _become(uid: int, gid: int, groups: list[int]) -> None:
    """Give up everything of the runner's user, and make sure of it (CVE-2006-2607)."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise PermissionError("still somebody else")


def _enter(directory: str, required: bool) -> None:
    try:
        os.chdir(directory)
    except OSError:
        if required:
            raise
        os.chdir("/")  # as with Debian's cron, a user without a home still gets commands
