"""Checks of passwords: each in a process of its own (pycron/pam/password.py), because PAM may wait.

Attempts are limited by the name of the user, whether there is such a user or not.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from pycron.control.access import Refusal

_MODULE = "pycron.pam.password"
ACCEPTED = b"accepted\n"  # what the process prints
_AT_ONCE = 4  # checks that run
_FAILURES = 5  # of one user in the window
_FAILURES_OF_ALL = 100
_WINDOW = 600.0  # seconds
_LONGEST = 30  # seconds that PAM may take
_FORGOTTEN = 60.0  # seconds after which a check that nobody asks for is ended and forgotten


@dataclass(slots=True)
class _Check:
    """`peer`: the uid that has begun the check, and may ask for its result."""

    process: subprocess.Popen[bytes]
    user: str
    peer: int
    began: float


@dataclass(slots=True)
class PasswordChecks:
    """`clock`: seconds of a monotonic clock. `module`: what is started to check a password."""

    clock: Callable[[], float] = time.monotonic
    module: str = _MODULE
    _checks: dict[int, _Check] = field(default_factory=dict)
    _last: int = 0
    # Of each attempt that has not succeeded: when it began, and for which user.
    _failures: list[tuple[float, str]] = field(default_factory=list)

    def begin(self, peer: int, service: str, user: str, password: str, timeout: int) -> int:
        """Start a check; its number. `timeout`: seconds for PAM. Raises Refusal."""
        self._forget_old()
        self._limit_attempts(user)
        if len(self._checks) >= _AT_ONCE:
            raise Refusal("too many passwords are being checked; try again in a moment")
        timeout = min(timeout, _LONGEST)
        asked = {"service": service, "user": user, "password": password, "timeout": timeout}
        try:
            process = _started(self.module, json.dumps(asked).encode())
        except OSError as error:
            raise Refusal(f"the password cannot be checked: {error.strerror}") from None
        self._failures.append((self.clock(), user))
        self._last += 1
        self._checks[self._last] = _Check(process, user, peer, self.clock())
        return self._last

    def result(self, peer: int, number: int) -> bool | None:
        """Whether the password was right; None: not known yet. It is told once. Raises Refusal."""
        self._forget_old()
        check = self._checks.get(number)
        if check is None or check.peer != peer:
            raise Refusal("no such check of a password")
        if check.process.poll() is None:
            return None
        del self._checks[number]
        accepted = _said(check.process) == ACCEPTED
        if accepted:
            self._failures = [each for each in self._failures if each[1] != check.user]
        return accepted

    def _limit_attempts(self, user: str) -> None:
        begin = self.clock() - _WINDOW
        self._failures = [each for each in self._failures if each[0] > begin]
        of_user = sum(each[1] == user for each in self._failures)
        if of_user >= _FAILURES or len(self._failures) >= _FAILURES_OF_ALL:
            raise Refusal(f"too many attempts; try again in {round(_WINDOW / 60)} minutes")

    def _forget_old(self) -> None:
        before = self.clock() - _FORGOTTEN
        for number, check in list(self._checks.items()):
            if check.began < before:
                del self._checks[number]
                check.process.kill()
                check.process.wait()
                _said(check.process)


def _started(module: str, asked: bytes) -> subprocess.Popen[bytes]:
    """The process; the question fits into the buffer of its standard input. Raises OSError."""
    process = subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        os.write(process.stdin.fileno(), asked)
    process.stdin.close()
    return process


def _said(process: subprocess.Popen[bytes]) -> bytes:
    """The output of a process that has ended.

    Its exit status is not looked at: as process 1 of a container, the daemon may not learn it.
    """
    assert process.stdout is not None
    with process.stdout as pipe:
        os.set_blocking(pipe.fileno(), False)
        return pipe.read(len(ACCEPTED) + 1) or b""
