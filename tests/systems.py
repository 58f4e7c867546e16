"""The system's daemon for a test, as root.

It has its own /etc/pycron.d, spool, state and run directory: empty file systems, mounted in a
private mount namespace that the daemon and all programs of the test share.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil

from pycron import places
from tests.daemons import RunningDaemon, program
from tests.waiting import until

USERS = ("pycrontest1", "pycrontest2", "pycrontest3")
PRIVATE = (places.SPOOL, places.DROP_INS, places.ALLOW.parent,
           places.SYSTEM_STATE, places.SYSTEM_RUN)  # fmt: skip
_ROOT = Path(__file__).parent.parent


def entering(holder: int) -> list[str]:
    """What runs a command in the mount namespace of a process.

    The root is that of the process, too: by the namespace alone nsenter would leave a chroot.
    """
    return ["nsenter", "--mount", "--root", "--wdns=/", "--target", str(holder), "--"]


class System:
    """A machine of its own, as far as pycron can see."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        script = "; ".join(
            f"mkdir -p {path} && mount -t tmpfs -o mode={mode} tmpfs {path}"
            for path, mode in ((path, 700 if path == places.SPOOL else 755) for path in PRIVATE)
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"{script}; echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        self._ends = contextlib.ExitStack()
        self._ends.callback(self._end_holder)
        self._logs = 0
        try:
            assert self._holder.stdout
            assert self._holder.stdout.readline() == b"ready\n"
            self._ends.callback(self._kill_all)  # not before it has a namespace of its own
            self.daemon = self.start()
        except BaseException:
            self.close()
            raise

    @property
    def inside(self) -> list[str]:
        return entering(self._holder.pid)

    @property
    def root(self) -> Path:
        """Its file system, as seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root")

    def start(self) -> RunningDaemon:
        self._logs += 1
        log = self.directory / f"log{self._logs}"
        daemon = RunningDaemon([], log, prefix=self.inside, cwd=_ROOT)
        self._ends.callback(daemon.stop)
        daemon.wait_for("daemon_started")
        until(lambda: self.run("pycron", "status").returncode == 0)
        return daemon

    def run(
        self, name: str, *arguments: str | Path, user: str = "root", stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """One of our programs, as this user."""
        command = ["env", f"PYTHONPATH={_ROOT}", *program(name, *arguments)]
        if user != "root":
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command]
        return subprocess.run(
            [*self.inside, *command], input=stdin, capture_output=True, text=True, timeout=60,
            check=False, cwd="/",
        )  # fmt: skip

    def shell(self, script: str) -> str:
        """What a script prints that runs inside as root."""
        done = subprocess.run(
            [*self.inside, "sh", "-ec", script], capture_output=True, text=True, check=True
        )
        return done.stdout

    def write(self, path: Path, text: str) -> None:
        """A file, put in place whole."""
        quoted = shlex.quote(str(path))
        hidden = shlex.quote(str(path.parent / ".new"))
        self.shell(f"printf '%s' {shlex.quote(text)} > {hidden}; mv {hidden} {quoted}")

    def runs(self, *arguments: str, user: str = "root") -> list[dict[str, Any]]:
        return self.rows("runs", *arguments, user=user)

    def rows(self, *words: str, user: str = "root") -> list[dict[str, Any]]:
        """What a verb that succeeds prints with --json."""
        verb, *arguments = words
        done = self.run("pycron", verb, "--json", *arguments, user=user)
        assert (done.returncode, done.stderr) == (0, ""), words
        return [json.loads(line) for line in done.stdout.splitlines()]

    def close(self) -> None:
        self._ends.close()

    def _kill_all(self) -> None:
        for process in self._processes():  # a runner waits for a next daemon as long as it has news
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _end_holder(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()

    def _processes(self) -> list[int]:
        """All that are inside."""
        namespace = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError):  # it has ended
                if os.readlink(f"/proc/{pid}/ns/mnt") == namespace:
                    found.append(pid)
        return found
