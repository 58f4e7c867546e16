"""Fork, become the user, exec: everything that happens between the runner and the command.

Imported by the runner only: it stays small.
"""

import os
import resource
import signal
from typing import Any, NoReturn

_EXEC_FAILED = 126
# Python ignores the first two, and a child inherits what is ignored.
_TO_DEFAULT = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
    signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip

Order = dict[str, Any]

# The keys of wire.py's `start` and what they hold; a runner trusts nothing it has to live on after.
_ORDER: dict[str, tuple[type, ...]] = {
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
}


def check_order(order: Order) -> None:
    """Raises ValueError for what is no order."""
    for key, types in _ORDER.items():
        if not isinstance(order.get(key), types):
            raise ValueError(f"start: bad {key}: {order.get(key)!r}")
    if not order["argv"]:
        raise ValueError("start: bad argv: nothing to run")


def spawn(order: Order, output: int, errors: int, files: tuple[int, int]) -> int:
    """Start the command of an order; its pid.

    `output` becomes its stdout and stderr. What goes wrong after the fork is written to `errors` as
    one line. `files` is the limit of open files that the command gets. Raises OSError when there is
    no process to be had.
    """
    stdin = _stdin(order["stdin"])
    if order["user"] is not None:
        os.fchown(output, order["user"]["uid"], -1)  # so that it can open its /dev/stderr
    # What comes for the child before it has the default signals waits until it has them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_DEFAULT)
    try:
        pid = os.fork()
        if pid == 0:
            _run(order, stdin, output, errors, files)
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


def _run(order: Order, stdin: int, output: int, errors: int, files: tuple[int, int]) -> NoReturn:
    """In the child: never returns, whatever happens."""
    step = "start"
    try:
        os.setsid()
        for number in _TO_DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
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
