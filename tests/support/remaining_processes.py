"""Find processes that the tests have started and not ended.

Each process that runs tests sets a variable in its environment, which its children inherit. The
value names the run of the suite and the worker, so that two runs on one machine do not see each
other's processes. A command with cron's clean environment lacks the variable. It is recognised by
the temporary directory of the tests in its environment or arguments, or by its CRON_RUN_ID, which
a log of a daemon in that directory contains.
"""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

VARIABLE = "PYCRON_TEST_PROCESS_OF"
PATIENCE = 10  # seconds: a runner ends after its daemon has ended


def remaining_processes(value: str, directory: Path | None = None) -> dict[int, str]:
    """The command lines, by pid, of all processes that belong to the run or the directory.

    `value`: what the value of the variable begins with.
    """
    variable = f"\0{VARIABLE}={value}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        with contextlib.suppress(OSError):  # the process has ended, or another user's is running
            environment = b"\0" + (process / "environ").read_bytes()
            arguments = (process / "cmdline").read_bytes()
            if pid != os.getpid() and (
                variable in environment
                or (directory and _belongs_to(directory, environment, arguments))
            ):
                found[pid] = arguments.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def works_in(directory: Path, process: Path) -> bool:
    """Whether a process of /proc has the directory in its environment, or has a file in it open.

    A process that works closes files at any moment: the others are looked at all the same.
    """
    name = os.fsencode(directory)
    with contextlib.suppress(OSError):  # the process has ended, or it is another user's
        if name in (process / "environ").read_bytes():
            return True
        for file in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if name in os.fsencode(file.readlink()):
                    return True
    return False


def _belongs_to(directory: Path, environment: bytes, arguments: bytes) -> bool:
    if f"{directory}/".encode() in environment + arguments:
        return True
    run_id = re.search(rb"\0CRON_RUN_ID=([^\0]+)", environment)
    if run_id is None:
        return False
    logs = (path for path in directory.rglob("log*") if path.is_file())
    return any(run_id[1] in log.read_bytes() for log in logs)


def end_remaining_processes(value: str, directory: Path | None = None) -> dict[int, str]:
    """Wait for these processes to end; kill and return those that have not ended."""
    deadline = time.monotonic() + PATIENCE
    while (found := remaining_processes(value, directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def describe(processes: dict[int, str]) -> str:
    lines = [f"    {pid}: {command}" for pid, command in sorted(processes.items())]
    return "\n".join(["The tests have left these processes behind (now killed):", *lines])
