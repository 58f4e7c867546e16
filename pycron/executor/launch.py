"""Finds a runner that runs already, or starts one."""

import ctypes
import os
import selectors
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from pycron.executor.connection import RunnerClient, RunnerGone, RunnerSilent, connect
from pycron.system import unix_sockets
from pycron.system.cgroup import SCOPE
from pycron.system.paths import Paths
from pycron.system.programs import environment_of_own

_PR_SET_CHILD_SUBREAPER = 36
_SHARED = "what limits the daemon's unit limits the commands, too"


def find_runner(paths: Paths, selector: selectors.BaseSelector) -> RunnerClient | None:
    """A connection to the runner that runs already; None if there is none. Raises RunnerSilent."""
    try:
        return connect(str(paths.runner_socket), selector)
    except (FileNotFoundError, ConnectionRefusedError, RunnerGone):
        return None
    except OSError as error:  # no descriptor to be had
        raise RunnerSilent(str(error)) from error


def start_runner(
    paths: Paths, selector: selectors.BaseSelector
) -> tuple[RunnerClient, "subprocess.Popen[bytes]", str | None]:
    """Start a runner and connect to it.

    The text says why the runner is in no scope of systemd, if it should be in one. Raises
    RunnerGone, RunnerSilent or OSError.
    """
    scope = _scope()
    if scope:
        try:
            return *_start(paths, selector, scope), None
        except (OSError, RunnerGone):
            pass
    reason = f"systemd-run has failed (see {paths.runner_log}); {_SHARED}" if scope else None
    return *_start(paths, selector, []), reason


def _start(
    paths: Paths, selector: selectors.BaseSelector, prefix: list[str]
) -> tuple[RunnerClient, "subprocess.Popen[bytes]"]:
    path = str(paths.runner_socket)
    with unix_sockets.listen(path, 0o600, backlog=4) as listener:
        process = _launch(listener.fileno(), paths, prefix)
    try:
        return connect(path, selector), process
    except (OSError, RunnerGone):
        process.kill()
        process.wait()
        raise


def _scope() -> list[str]:
    """The command line that starts a program in its own scope, in which it may make cgroups.

    Empty if this process is not a service of systemd: then it may not choose its cgroup. The scope
    has no limit of its own, because each command has one, and a command that runs out of memory
    does not end the whole scope (by default it would, since systemd 253).
    """
    if not _is_service():
        return []
    program = shutil.which("systemd-run")
    if program is None:
        return []
    properties = ["Delegate=yes", "TasksMax=infinity", "TimeoutStopSec=10s"]
    if _systemd_version(program) >= 253:
        properties.append("OOMPolicy=continue")
    return [
        program, *([] if os.geteuid() == 0 else ["--user"]), "--scope", "--quiet", "--collect",
        f"--unit={SCOPE}{os.getpid()}-{time.monotonic_ns()}", "--description=Commands of pycron",
        *(f"--property={text}" for text in properties), "--",
    ]  # fmt: skip


def _is_service() -> bool:
    """Whether this process is a service: of the system's manager for root, else of the user's."""
    manager = "/run/systemd/system"
    if os.geteuid() != 0:
        manager = f"{os.environ.get('XDG_RUNTIME_DIR')}/systemd/private"
    return "INVOCATION_ID" in os.environ and os.path.exists(manager)


def _systemd_version(program: str) -> int:
    """A number such as 252; 0 if the program does not print one."""
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    words = printed.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def _launch(listener: int, paths: Paths, prefix: list[str]) -> "subprocess.Popen[bytes]":
    """Start the runner in a session of its own, so that no terminal can end it.

    It inherits nothing but the socket. Without `site` it is 4 MB smaller, which makes every fork
    cheaper.
    """
    arguments = ["-S", "-s", "-P", "-m", "pycron.runner"]
    arguments += [str(listener), str(paths.running)]
    if paths.temporary:
        arguments.append(str(paths.state))
    with _appending(paths.runner_log) as messages:
        return subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            pass_fds=[listener],
            env=environment_of_own(("TZ", "XDG_RUNTIME_DIR")),
            cwd="/",
            start_new_session=True,
            preexec_fn=_become_subreaper,  # noqa: PLW1509  there are no threads
        )


def _become_subreaper() -> None:
    """Make the runner the parent of all its descendants that lose their parent: prctl(2).

    The attribute is kept across exec. The runner does not set it itself, because it would need
    ctypes: half a megabyte more to copy at each fork.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _appending(log: Path) -> BinaryIO:
    """The log, opened for writing; /dev/null if it cannot be, so that commands still start."""
    try:
        return log.open("ab")
    except OSError:
        return open(os.devnull, "ab")
