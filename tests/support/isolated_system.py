"""The system's daemon for a test that runs as root.

The daemon has its own /etc/pycron.d, spool, state and run directory: empty file systems, mounted
in a private mount namespace that the daemon and all programs of the test share.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from pycron.system import paths
from tests.support.running_daemon import RunningDaemon, program
from tests.support.user_accounts import USERS, real_user

PRIVATE = (paths.SPOOL, paths.DROP_INS, paths.ALLOW.parent, paths.CRON_DROP_INS,
           paths.CRONIE_SPOOL, paths.SYSTEM_STATE, paths.SYSTEM_RUN)  # fmt: skip
_ROOT = Path(__file__).parents[2]


def entering(holder: int) -> list[str]:
    """The command prefix that runs a command in the mount namespace of a process.

    The command also gets the root of the process: with the namespace alone, nsenter would leave a
    chroot.
    """
    return ["nsenter", "--mount", "--root", "--wdns=/", "--target", str(holder), "--"]


@contextlib.contextmanager
def isolated_system(directory: Path, *, own_etc: bool = False) -> Iterator["IsolatedSystem"]:
    """An IsolatedSystem in which the users of tests exist; it is closed at the end."""
    for name in USERS:
        real_user(name)
    with contextlib.closing(IsolatedSystem(directory, own_etc=own_etc)) as system:
        yield system


class IsolatedSystem:
    """A mount namespace with empty directories for pycron, and the system's daemon in it.

    `prepare`: a shell script that runs in the namespace before the first daemon starts. `own_etc`:
    /etc is a copy, and /run is empty, for files of another cron and of PAM, and for accounts that
    differ. (A mount on /etc/passwd or /etc/shadow alone would go as soon as a useradd of another
    test renames the file.)
    """

    def __init__(self, directory: Path, prepare: str = "", *, own_etc: bool = False) -> None:
        self.directory = directory
        etc = directory / "etc"
        copy = (
            f"cp -a /etc {etc}; mount --bind {etc} /etc; mount -t tmpfs tmpfs /run; "
            if own_etc
            else ""
        )
        script = copy + "; ".join(
            f"mkdir -p {path} && mount -t tmpfs -o mode={mode} tmpfs {path}"
            for path, mode in ((path, 700 if path == paths.SPOOL else 755) for path in PRIVATE)
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"{script}; echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        self._logs = 0
        try:
            self.shell(prepare)
            self.daemon = self.start()
        except BaseException:
            self._end_processes()
            raise

    @property
    def inside(self) -> list[str]:
        return entering(self._holder.pid)

    @property
    def root(self) -> Path:
        """The root of the namespace's file system, as seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root")

    def start(self) -> RunningDaemon:
        self._logs += 1
        log = self.directory / f"log{self._logs}"
        # As a service manager starts it. close() ends it.
        self.daemon = RunningDaemon([], log, prefix=self.inside, cwd=_ROOT, start_new_session=True)
        self.daemon.wait_until_ready()
        return self.daemon

    def run(
        self, name: str, *arguments: str | Path, user: str = "root", stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of pycron's programs as this user."""
        command = ["env", f"PYTHONPATH={_ROOT}", *program(name, *arguments)]
        if user != "root":
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command]
        return subprocess.run(
            [*self.inside, *command], input=stdin, capture_output=True, text=True, timeout=60,
            check=False, cwd="/",
        )  # fmt: skip

    def shell(self, script: str) -> str:
        """Run a shell script inside as root; its output."""
        done = subprocess.run(
            [*self.inside, "sh", "-ec", script], capture_output=True, text=True, check=True
        )
        return done.stdout

    def write(self, path: Path, text: str) -> None:
        """Write a file inside and rename it into place, so that no reader sees a part of it."""
        quoted = shlex.quote(str(path))
        hidden = shlex.quote(str(path.parent / ".new"))
        self.shell(f"printf '%s' {shlex.quote(text)} > {hidden}; mv {hidden} {quoted}")

    def runs(self, *arguments: str, user: str = "root") -> list[dict[str, Any]]:
        return self.rows("runs", *arguments, user=user)

    def rows(self, *words: str, user: str = "root") -> list[dict[str, Any]]:
        """Run a verb with --json, which must succeed; its output."""
        verb, *arguments = words
        done = self.run("pycron", verb, "--json", *arguments, user=user)
        assert (done.returncode, done.stderr) == (0, ""), words
        return [json.loads(line) for line in done.stdout.splitlines()]

    def close(self) -> None:
        self.daemon.stop()
        self._end_processes()

    def _end_processes(self) -> None:
        for process in self._processes():  # a runner with unsent messages waits for a daemon
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()

    def _processes(self) -> list[int]:
        """The pids of all processes in the mount namespace."""
        namespace = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError):  # the process has ended
                if os.readlink(f"/proc/{pid}/ns/mnt") == namespace:
                    found.append(pid)
        return found
