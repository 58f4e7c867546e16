"""A container without a container engine: namespaces around a daemon, for tests that run as root.

Process 1 is the daemon, or an init like tini. The root is read-only, and there is no /etc/passwd.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.remaining_processes import VARIABLE
from tests.support.running_daemon import RunningDaemon, program
from tests.support.user_accounts import let_others_enter
from tests.support.waiting import until

CONTAINERFILE = Path(__file__).parents[2] / "contrib/container/Containerfile"
_ROOT = Path(__file__).parents[2]
_INIT = Path(__file__).with_name("tiny_init.py")
_NO_PASSWD = (
    "mount -t tmpfs tmpfs {0}; mkdir {0}/upper {0}/work; chmod 755 {0}/upper;"
    " mount -t overlay -o lowerdir=/etc,upperdir={0}/upper,workdir={0}/work overlay /etc;"
    " rm -f /etc/passwd /etc/group"
)
# A /dev without shm.
_NO_SHM = (
    "mount -t tmpfs tmpfs {0}; for n in null zero random urandom; do"
    " touch {0}/$n; mount --bind /dev/$n {0}/$n; done; mount --rbind {0} /dev"
)


def commands(instruction: str) -> list[str]:
    """The command line of an instruction of the Containerfile."""
    text = CONTAINERFILE.read_text().replace("\\\n", "")
    (words,) = re.findall(rf"^{instruction}(\[.*\])$", text, re.MULTILINE)
    return [str(word) for word in json.loads(words)]


@dataclass
class Container:
    """`shm`: the size of /dev/shm; None if there is none. `init`: process 1 is an init.

    `writable`: there is a writable directory. `cgroup`: the file that takes the processes of the
    container; None without a cgroup.
    """

    directory: Path
    uid: int = 10001
    shm: str | None = "64m"
    init: bool = False
    cgroup: Path | None = None
    writable: bool = True
    daemon: RunningDaemon | None = None

    def __post_init__(self) -> None:
        let_others_enter(self.directory)
        for name in ("state", "layers", "dev", "tables"):
            (self.directory / name).mkdir()
            (self.directory / name).chmod(0o755)
        (self.directory / "tables/crontab").touch(mode=0o644)

    @property
    def _writable(self) -> Path:
        return self.directory / "state"

    @property
    def table(self) -> Path:
        return self.directory / "tables/crontab"

    def start(self, arguments: list[str | Path] | None = None) -> RunningDaemon:
        """Start the daemon; by default with the command line of the image."""
        line = self._here(commands("ENTRYPOINT ") + commands("CMD "))[1:]
        self.daemon = daemon = RunningDaemon(
            arguments or list(line), self.directory / "log", prefix=self._prefix(), cwd="/",
            env=self._environment,
        )  # fmt: skip
        return daemon

    def _here(self, words: list[str]) -> list[str]:
        """A command line of the image, with the paths of this test."""
        places = {"/state": self._writable, "/etc/pycron/tables": self.table.parent}
        return [
            next((f"{there}{word[len(name):]}" for name, there in places.items()
                  if word.startswith(f"{name}/")), word)
            for word in words
        ]  # fmt: skip

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_ROOT),
            "PYCRON_STATE_DIR": str(self._writable / "pycron"),
            "TMPDIR": str(self._writable),
            VARIABLE: os.environ[VARIABLE],
        }

    def _prefix(self) -> list[str]:
        d = self.directory
        script = [
            "mount -t proc proc /proc",
            f"mount -t tmpfs -o mode={1777 if self.writable else 755} tmpfs {self._writable}",
            f"mount -t tmpfs -o size={self.shm},mode=1777 tmpfs /dev/shm"
            if self.shm
            else _NO_SHM.format(d / "dev"),
            _NO_PASSWD.format(d / "layers"),
            "mount -o remount,bind,ro /",
            # A directory of temporary files may be a mount of its own.
            "for d in /tmp /var/tmp; do ! mountpoint -q $d || mount -o remount,bind,ro $d; done",
        ]
        if self.cgroup:
            script.insert(0, f"echo 0 >{self.cgroup}")
        init = [program("x")[0], "-I", "-S", str(_INIT)] if self.init else []
        as_user = [*self._as_user, "--no-new-privs", *init]
        run = f'{"; ".join(script)}; exec "$@"'
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", run, "sh",
                *as_user]  # fmt: skip

    @property
    def _as_user(self) -> list[str]:
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]

    @property
    def process_1(self) -> psutil.Process:
        assert self.daemon is not None
        return until(psutil.Process(self.daemon.process.pid).children)[0]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command line of one of pycron's programs inside, as `docker exec` does."""
        enter = ["nsenter", "-t", str(self.process_1.pid), "-m", "-p", "--wdns=/"]
        return subprocess.run(
            [*enter, *self._as_user, *program(*words)], capture_output=True, text=True,
            env=self._environment, timeout=60, check=False,
        )  # fmt: skip

    def close(self) -> None:
        """End the container, however the test has ended."""
        if self.daemon is not None:
            self.daemon.process.kill()  # the kernel ends the processes of the namespace
            self.daemon.process.wait()

    def stop(self) -> int:
        """Stop the container as an engine does: TERM to process 1; its exit status."""
        assert self.daemon is not None
        if self.daemon.process.poll() is None:
            self.process_1.terminate()
        return self.daemon.wait()
