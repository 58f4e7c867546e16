"""The work of a starter: become the user, and spawn one command after the other.

Imported by the runner only: it stays small.
"""

import os
import resource
import signal

from pycron.protocol.runner_messages import StartMessage
from pycron.protocol.session_messages import ProcessValues
from pycron.runner.direct import Program, program_of
from pycron.runner.launch import Launch
from pycron.runner.progress import DIRECT, NO_PROCESS, STARTED
from pycron.system import lease_file

EXEC_FAILED = 126  # exit status of a command that could not be run
_UMASK = 0o022
# Python ignores the first two, and a child inherits ignored signals.
RESET_SIGNALS = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
    signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


class CannotStart(Exception):
    """Why a command cannot be run."""


class NoLease(CannotStart):
    """The command of a shared Run may not be started now: nothing takes its place."""


def prepare(launches: list[Launch], files: tuple[int, int]) -> CannotStart | None:
    """Become the user of these commands, with their limits; `files` is that of open files.

    After a failure, which is returned, none of the commands may be run.
    """
    start = launches[0].start
    step = "start"
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        if launches[0].session is not None:
            step = "apply what PAM has set"
            _apply(launches[0].session)
            step = "start"
        if not launches[0].tree.processes_are_limited:
            _limit_processes(start)
        step = "become the user"
        user = start["user"]
        if user is not None:
            for launch in launches:  # so that the commands can open their /dev/stderr
                for output in {launch.output, launch.errors}:
                    os.fchown(output, user["uid"], -1)
            _become(user["uid"], user["gid"], user["groups"])
        step = "set the niceness"  # as the user, because only root may raise the priority
        if start["nice"] is not None:
            _set_niceness(start["nice"])
    except Exception as error:  # noqa: BLE001  every error is reported
        return CannotStart(f"cannot {step}: {error}")
    return None


def _set_niceness(niceness: int) -> None:
    """Raises PermissionError if the niceness is below 0 and the user is not root.

    Only root may lower it, and the daemon itself may have been started with more: then it stays.
    """
    if os.geteuid() != 0 and 0 <= niceness <= os.getpriority(os.PRIO_PROCESS, 0):
        return
    os.setpriority(os.PRIO_PROCESS, 0, niceness)


def spawn(launch: Launch, failure: CannotStart | None, slow: tuple[str, ...]) -> tuple[int, int]:
    """Start a command: its pid, and STARTED or DIRECT. Raises CannotStart.

    `failure`: what prepare() returned. `slow`: see Mounts. Afterwards this process has no open copy
    of the command's output, so that the pipe ends with the command.
    """
    if failure is not None:
        raise failure
    start = launch.start
    check_lease(start)
    step = f"enter {start['cwd']}"
    try:
        os.umask(_UMASK if start["umask"] is None else start["umask"])
        _enter(start["cwd"], start["cwd_required"])
        step = f"run {start['argv'][0]}"
        # posix_spawn's own dup2 refuses a number that is above the limit of open files.
        for target, source in enumerate((launch.stdin, launch.output, launch.errors)):
            os.dup2(source, target)
        for output in {launch.output, launch.errors}:
            os.close(output)
        spawned = _execute(start, slow)
        os.closerange(1, 3)
        return spawned
    except Exception as error:  # noqa: BLE001  every error is reported
        raise CannotStart(f"cannot {step}: {error}") from None


def _execute(start: StartMessage, slow: tuple[str, ...]) -> tuple[int, int]:
    """See spawn(). Raises OSError or ValueError.

    If a program cannot be executed without its shell, the shell is started: the messages and the
    exit status are then the shell's. Redirections may have made or emptied files by then, and the
    shell does the same again.
    """
    program = program_of(start, slow)
    if program is not None:
        try:
            return _posix_spawn(program), DIRECT if program.shell_waits else STARTED
        except (OSError, ValueError):
            pass
        finally:
            program.close()
    return _posix_spawn(Program(start["argv"], start["env"])), STARTED


def _posix_spawn(program: Program) -> int:
    return os.posix_spawn(
        program.argv[0],
        program.argv,
        program.environment,
        file_actions=program.actions,
        setsid=True,
        setsigmask=(),
        setsigdef=RESET_SIGNALS,
    )


def check_lease(start: StartMessage) -> None:
    """Raises NoLease unless the command may run now, as far as its lease is concerned."""
    lease = start["lease"]
    if lease is None:
        return
    found = lease_file.read(lease["file"])
    if not lease_file.may_run(found, lease["incarnation"], lease_file.now()):
        raise NoLease("the lease of this host is over, so it was not started")


def report_failure(launch: Launch, why: CannotStart, errors: int) -> int:
    """Report why, and fork a process that ends with status 126 in place of the command.

    Returns its pid; NO_PROCESS if it cannot be forked, for example because the user has as many
    processes as they may have.
    """
    line = f"{launch.start['id']} {why}"
    try:
        os.write(errors, line.encode("utf-8", "replace")[:2000].replace(b"\n", b" ") + b"\n")
    except BlockingIOError:
        pass  # the runner has more lines to read than the pipe can hold
    if isinstance(why, NoLease):
        return NO_PROCESS
    try:
        pid = os.fork()
    except OSError:
        return NO_PROCESS
    if pid == 0:
        os._exit(EXEC_FAILED)
    return pid


def _apply(session: ProcessValues) -> None:
    """Set what PAM has changed in the process that opened the session; groups come with the user.

    The memory that this process has counts for the limits of memory, too.
    """
    for number, soft, hard in session["limits"]:
        resource.setrlimit(number, (soft, hard))
    if session["niceness"] is not None:
        os.setpriority(os.PRIO_PROCESS, 0, session["niceness"])
    if session["login_uid"] is not None:
        with open("/proc/self/loginuid", "w") as file:
            file.write(str(session["login_uid"]))


def _limit_processes(start: StartMessage) -> None:
    """Limit the processes of the user, if the kernel cannot limit those of the tree.

    This limit counts all processes of the user. It does not bind root, but it would stay with what
    root's command starts as another user, so root gets no limit.
    """
    uid = start["user"]["uid"] if start["user"] is not None else os.geteuid()
    if uid != 0:
        most = start["processes_max"]
        own = resource.getrlimit(resource.RLIMIT_NPROC)
        soft, hard = (
            most if limit == resource.RLIM_INFINITY else min(most, limit) for limit in own
        )
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


def _become(uid: int, gid: int, groups: list[int]) -> None:
    """Give up all rights of the runner's user, and check that they are gone (CVE-2006-2607)."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise PermissionError("still another user")


def _enter(directory: str, required: bool) -> None:
    try:
        os.chdir(directory)
    except OSError:
        if required:
            raise
        os.chdir("/")  # Debian's cron also runs the commands of a user without a home
