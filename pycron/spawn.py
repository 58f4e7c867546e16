"""Fork, become the user, exec: everything that happens between the runner and the command.

Imported by the runner only: it stays small.
"""

import os
import resource
import signal
from typing import Any, NoReturn

from pycron.tree import Tree

_EXEC_FAILED = 126
# Python ignores the first two, and a child inherits what is ignored.
_TO_DEFAULT = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
    signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip

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
    "report_output": (bool,),
    "hold": (bool,),
    "timeout": (int, type(None)),
    "kill_after": (int,),
    "memory_max": (int, type(None)),
    "processes_max": (int,),
}
_END: _Form = {"id": (str,), "cause": (str,), "reason": (str,), "kill_after": (int,)}
_LARGEST = 2**62


def check_order(order: Order) -> None:
    """Raises ValueError for what is no order."""
    _check(order, _ORDER)
    if not order["argv"]:
        raise ValueError("start: bad argv: nothing to run")


def check_end(message: dict[str, Any]) -> None:
    """Raises ValueError for what is no order to end an Attempt."""
    _check(message, _END)
    if message["cause"] not in ("timeout", "memory", "cancelled"):
        raise ValueError(f"end: bad cause: {message['cause']!r}")


def _check(message: dict[str, Any], form: _Form) -> None:
    for key, types in form.items():
        value = message.get(key)
        fits = isinstance(value, types) and (not isinstance(value, int) or abs(value) <= _LARGEST)
        if not fits:
            raise ValueError(f"{message['type']}: bad {key}: {value!r}")


def spawn(order: Order, tree: Tree, output: int, errors: int, files: tuple[int, int]) -> int:
    """Start the command of an order; its pid.

    `tree` is what it, and all that descends from it, belongs to. `output` becomes its stdout and
    stderr. What goes wrong after the fork is written to `errors` as one line. `files` is the limit
    of open files that the command gets. Raises OSError when there is no process to be had.
    """
    stdin = _stdin(order["stdin"])
    if order["user"] is not None:
        os.fchown(output, order["user"]["uid"], -1)  # so that it can open its /dev/stderr
    # What comes for the child before it has the default signals waits until it has them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_DEFAULT)
    try:
        pid = os.fork()
        if pid == 0:
            _run(order, tree, stdin, output, errors, files)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(stdin)


def _stdin(text: str | None) -> int:
    """A descriptor from which the command reads its input; never the runner's own."""
    if text is None:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
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


def _run(
    order: Order, tree: Tree, stdin: int, output: int, errors: int, files: tuple[int, int]
) -> NoReturn:
    """In the child: never returns, whatever happens."""
    step = "start"
    try:
        tree.join()
        os.setsid()
        for number in _TO_DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        if not tree.processes_are_limited:
            _limit_processes(order)
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        step = "become the user"
        if order["user"] is not None:
            _become(**order["user"])
        step = "set the niceness"  # as the user: nobody gets a priority that isn't theirs to take
        if order["nice"] is not None:
            os.setpriority(os.PRIO_PROCESS, 0, order["nice"])
        if order["umask"] is not None:
            os.umask(order["umask"])
        step = f"enter {order['cwd']}"
        _enter(order["cwd"], order["cwd_required"])
        step = f"run {order['argv'][0]}"
        os.execve(order["argv"][0], order["argv"], order["env"])
    except BaseException as error:  # noqa: BLE001  it ends here, and says why
        reason = f"{order['id']} cannot {step}: {error}"
        os.write(errors, reason.encode("utf-8", "replace")[:2000].replace(b"\n", b" ") + b"\n")
    finally:
        os._exit(_EXEC_FAILED)


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
