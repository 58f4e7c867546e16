"""Finds the runner that is there, or starts one."""

import ctypes
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from pycron.executor.connection import RunnerClient, RunnerGone, RunnerSilent, connect
from pycron.executor.messages import DEFAULT_PATH
from pycron.system import unix_sockets
from pycron.system.cgroup import SCOPE
from pycron.system.paths import Paths

_PR_SET_CHILD_SUBREAPER = 36
_CGROUP2 = "/sys/fs/cgroup/cgroup.controllers"


def find_runner(paths: Paths, selector: selectors.BaseSelector) -> RunnerClient | None:
    """The runner that is there already; None when there is none. Raises RunnerSilent."""
    try:
        return connect(str(paths.runner_socket), selector)
    except (FileNotFoundError, ConnectionRefusedError, RunnerGone):
        return None
    except OSError as error:  # no descriptor to be had
        raise RunnerSilent(str(error)) from error


def start_runner(
    paths: Paths, selector: selectors.BaseSelector
) -> tuple[RunnerClient, "subprocess.Popen[bytes]", str | None]:
    """Start a runner and meet it; why it is in no scope, where it was to be in one.

    Raises RunnerGone, RunnerSilent or OSError.
    """
    scope = _scope()
    if scope:
        try:
            return *_start(paths, selector, scope), None
        except (OSError, RunnerGone):
            pass
    reason = f"systemd-run has failed (see {paths.runner_log})" if scope else None
    return *_start(paths, selector, []), reason


def _start(
    paths: Paths, selector: selectors.BaseSelector, prefix: list[str]
) -> tuple[RunnerClient, "subprocess.Popen[bytes]"]:
    path = str(paths.runner_socket)
    with unix_sockets.listen(path, 0o600, backlog=4) as listener:
        process = _launch(listener.fileno(), paths.runner_log, prefix)
    try:
        return connect(path, selector), process
    except (OSError, RunnerGone):
        process.kill()
        process.wait()
        raise


def _scope() -> list[str]:
    """What starts a program in a scope of its own, below which it may make cgroups.

    Empty where this process is no service of systemd's: then somebody else has the say in where it
    runs. Commands are limited one by one: what they have together is nobody's concern, and one that
    runs out of memory is not the end of all (which it would be since systemd 253).
    """
    if not _is_service() or not os.path.exists(_CGROUP2):
        return []
    import shutil  # half a MB, and only a service asks for it

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
    """Of the system's manager, for root; else of the user's own, which has to be there."""
    manager = "/run/systemd/system"
    if os.geteuid() != 0:
        manager = f"{os.environ.get('XDG_RUNTIME_DIR')}/systemd/private"
    return "INVOCATION_ID" in os.environ and os.path.exists(manager)


def _systemd_version(program: str) -> int:
    """Such as 252; 0 where it doesn't say."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    words = said.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def _launch(listener: int, log: Path, prefix: list[str]) -> "subprocess.Popen[bytes]":
    """A session of its own, so that no terminal takes it down; nothing inherited but the socket.

    Without `site` it is 4 MB smaller, and every fork is that much cheaper.
    """
    root = str(Path(__file__).resolve().parents[2])
    arguments = ["-S", "-s", "-P", "-m", "pycron.runner", str(listener)]
    environment = {"PYTHONPATH": root, "PYTHONUTF8": "1", "PATH": DEFAULT_PATH}
    handed_on = [name for name in os.environ if name.startswith(("LD_", "FAKETIME"))]
    handed_on += [name for name in ("TZ", "XDG_RUNTIME_DIR") if name in os.environ]
    environment |= {name: os.environ[name] for name in handed_on}
    with _appending(log) as messages:
        return subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            pass_fds=[listener],
            env=environment,
            cwd="/",
            start_new_session=True,
            preexec_fn=_become_subreaper,  # noqa: PLW1509  there are no threads
        )


def _become_subreaper() -> None:
    """Who loses their parent, below the runner, gets the runner: prctl(2).

    It lasts across exec. To do it by itself the runner would need ctypes, and have half a megabyte
    more to copy at each fork.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _appending(log: Path) -> BinaryIO:
    """A log that can't be written to keeps no command from being started."""
    try:
        return log.open("ab")
    except OSError:
        return open(os.devnull, "ab")
