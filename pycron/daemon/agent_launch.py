"""Finds or starts the agent of the cluster: the process that alone speaks to its database.

The agent outlives the daemon, as the runner does. In the system mode it has an account of its own.
"""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pycron.system import unix_sockets
from pycron.system.accounts import Account, Accounts
from pycron.system.paths import Paths
from pycron.system.programs import environment_of_own

AGENT_ACCOUNT = "pycron-cluster"
_LONGEST_LOG = 2**20  # bytes
_PATIENCE = 0.2  # seconds; the daemon has other work
# What libpq and psycopg read besides the address of the database.
_PASSED = ("PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGSSLROOTCERT", "TZ")


class CannotStart(Exception):
    """There is no agent, and none can be started; the message says why."""


def agent_account(accounts: Accounts, *, system: bool) -> Account | None:
    """The account of the agent; None: that of the daemon. Raises CannotStart."""
    if not system:
        return None
    account = accounts.find(AGENT_ACCOUNT)
    if account is None:
        advice = "pycron setup --system --cluster makes it"
        raise CannotStart(f"there is no account {AGENT_ACCOUNT}: {advice}")
    return account


def find_agent(paths: Paths) -> socket.socket | None:
    """A connection to the agent that runs already; None if there is none."""
    with suppress(OSError):
        return unix_sockets.connect(str(paths.agent_socket), _PATIENCE)
    return None


def start_agent(paths: Paths, account: Account | None) -> "subprocess.Popen[bytes]":
    """Start the agent on a new socket. Raises CannotStart."""
    try:
        _make_directory(paths.cluster, account)
        with unix_sockets.listen(str(paths.agent_socket), 0o600, backlog=4) as listener:
            if account is not None:
                os.chown(paths.agent_socket, account.uid, account.gid)
            process = _launch(listener.fileno(), paths, account)
            paths.agent_pid.write_text(str(process.pid))
            return process
    except OSError as error:
        raise CannotStart(f"the agent does not start: {error}") from error


def kill_agent(paths: Paths) -> None:
    """End an agent that does not answer; its lease ends by itself, and the next one continues it.

    The pid is what the daemon wrote: what an agent says of itself is not believed.
    """
    with suppress(OSError, ValueError):
        pid = int(paths.agent_pid.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"pycron.cluster" in command:
            os.kill(pid, signal.SIGKILL)


def _make_directory(directory: Path, account: Account | None) -> None:
    """Starters that have become another user read the lease in it before they start a command."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chmod(directory, 0o755)  # noqa: S103  nothing in it is secret
    if account is not None:
        os.chown(directory, account.uid, account.gid)


def _log_file(log: Path) -> BinaryIO:
    """Opened for writing, and emptied if it has become long. Raises OSError."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LONGEST_LOG:
            os.truncate(log, 0)
    return log.open("ab")


def _launch(listener: int, paths: Paths, account: Account | None) -> "subprocess.Popen[bytes]":
    environment = environment_of_own(_PASSED)
    environment["HOME"] = account.home if account else os.environ.get("HOME", "/")
    with _log_file(paths.agent_log) as messages:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "pycron.cluster", str(listener)],
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            pass_fds=[listener],
            env=environment,
            cwd="/",
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
