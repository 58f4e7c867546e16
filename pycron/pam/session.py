"""The process of one session: PAM modules change it, and what they change is told to the runner.

PAM sets limits, niceness and so on in the process that opens the session. That must be a new
process for each session, because the next session would inherit them.
"""

import os
import resource
import signal
import socket
from typing import NamedTuple

from pycron.pam.transaction import PamFailure, Transaction
from pycron.protocol.framing import encode
from pycron.protocol.session_messages import (
    NoSessionMessage,
    OpenedMessage,
    OpenMessage,
    ProcessValues,
)

_UMASK = 0o022  # of a command, unless CRON_UMASK or PAM says something else
_LIMITS = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_PASSED_ON = sorted(_LIMITS - {resource.RLIMIT_RTTIME})  # that one is the mark of a process tree
_LOGIN_UID = "/proc/self/loginuid"
_MOST_ENVIRONMENT = 65_536  # characters: a user may write the file that pam_env(8) reads
_SIGNALS = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
)  # fmt: skip


class _State(NamedTuple):
    """What modules may change in this process."""

    limits: dict[int, tuple[int, int]]
    niceness: int
    umask: int
    groups: list[int]
    login_uid: int | None


def hold_session(request: OpenMessage, channel: socket.socket, files: tuple[int, int]) -> None:
    """Open a session, send the answer, wait until the channel ends, and close the session.

    `files`: the limit of open files that commands get.
    """
    _become_like_a_command(request, files)
    before = _state()
    transaction = None
    try:
        transaction = Transaction(request["service"], request["user"])
        if request["check_account"]:
            transaction.check_account()
        transaction.open()
        answer = _opened(request["mark"], transaction.environment(), before, _state())
    except PamFailure as failure:
        _send(channel, _no_session(request["mark"], str(failure), final=failure.final))
    else:
        _send(channel, answer)
        channel.recv(1)
    finally:
        if transaction is not None:
            transaction.close()


def _become_like_a_command(request: OpenMessage, files: tuple[int, int]) -> None:
    """Undo what this process has inherited and commands do not get.

    The signals are caught without effect, not ignored, because programs that modules start would
    inherit that: at the shutdown of the machine the session is still closed.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    os.umask(_UMASK)
    os.setgroups(request["groups"])  # before pam_setcred(3), which may add some


def _state() -> _State:
    umask = os.umask(_UMASK)
    os.umask(umask)
    return _State(
        limits={number: resource.getrlimit(number) for number in _PASSED_ON},
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        umask=umask,
        groups=sorted(os.getgroups()),
        login_uid=_login_uid(),
    )


def _login_uid() -> int | None:
    """None if the kernel has no audit."""
    try:
        with open(_LOGIN_UID) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _opened(mark: int, environment: dict[str, str], before: _State, now: _State) -> OpenedMessage:
    """The answer, with the values that have changed. Raises PamFailure."""
    if sum(len(name) + len(value) for name, value in environment.items()) > _MOST_ENVIRONMENT:
        raise PamFailure(f"PAM has set more than {_MOST_ENVIRONMENT} characters of environment")
    values: ProcessValues = {
        "limits": [[n, *limit] for n, limit in now.limits.items() if limit != before.limits[n]],
        "niceness": now.niceness if now.niceness != before.niceness else None,
        "umask": now.umask if now.umask != before.umask else None,
        "groups": now.groups if now.groups != before.groups else None,
        "login_uid": now.login_uid if now.login_uid != before.login_uid else None,
    }
    return {"type": "opened", "mark": mark, "environment": environment, "process": values}


def _no_session(mark: int, reason: str, *, final: bool) -> NoSessionMessage:
    return {"type": "no_session", "mark": mark, "reason": reason, "final": final}


def _send(channel: socket.socket, answer: OpenedMessage | NoSessionMessage) -> None:
    try:
        channel.sendall(encode([answer]))
    except OSError:
        pass  # nobody waits for the session any more, so it is closed at once
