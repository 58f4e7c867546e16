"""A box: one daemon alone, with folders, a mount namespace and a cgroup of its own.

The box has its own spools and tables for every daemon, its own /run and its own sendmail, so no job
of the machine's own tables runs. The harness is the subreaper: processes that a daemon leaves
behind become its descendants, and it ends them with the box.
"""

import contextlib
import os
import pwd
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CGROUPS = Path("/sys/fs/cgroup")
_TICK = os.sysconf("SC_CLK_TCK")

# Folders of the box, by name, and the folders of the machine that they replace.
_FOLDERS = {
    "spool": "/var/spool/cron",
    "cron.d": "/etc/cron.d",
    "run": "/run",
    "pycron/spool": "/var/spool/pycron",
    "pycron/tables": "/etc/pycron.d",
    "pycron/etc": "/etc/pycron",
    "pycron/state": "/var/lib/pycron",
}
_FILES = {"crontab": "/etc/crontab"}
# Folders of the box whose files are laid over the files of a folder of the machine.
_OVERLAYS = {"sbin": "/usr/sbin", "pam.d": "/etc/pam.d"}

_ENTER = """
box=$0
for cgroup in $CGROUPS; do echo $$ > "$cgroup/cgroup.procs"; done
for pair in $MOUNTS; do mount --bind "$box/${pair%%:*}" "${pair#*:}"; done
for pair in $OVERLAYS; do
    mount -t overlay bench -o "lowerdir=$box/${pair%%:*}:${pair#*:}" "${pair#*:}"
done
unset CGROUPS MOUNTS OVERLAYS
exec "$@"
"""


class Unable(Exception):
    """A daemon cannot take part; the message says why."""


class Process(NamedTuple):
    pid: int
    parent: int
    ticks: int  # CPU ticks of the process and of the children that it has waited for


class Memory(NamedTuple):
    """The memory of the daemon and its helpers, in KiB; `pss` divides shared pages among users."""

    rss: int
    pss: int
    processes: int


@contextlib.contextmanager
def mount_points() -> Iterator[None]:
    """Create the mount points of a box that the machine lacks, and remove them afterwards."""
    made: list[Path] = []
    for path in map(Path, (*_FOLDERS.values(), *_OVERLAYS.values())):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        made += missing
    files = [path for path in map(Path, _FILES.values()) if not path.exists()]
    for path in files:
        path.touch()
    try:
        yield
    finally:
        for path in files:
            path.unlink()
        for folder in made:
            folder.rmdir()


class Box:
    """A box for one daemon. `root`: its files. `pid`: the daemon; 0 before it is started."""

    def __init__(self, cache: Path) -> None:
        self.pid = 0
        self.root = Path(tempfile.mkdtemp(prefix="box-", dir=cache))
        self.root.chmod(0o755)
        for folder in (*_FOLDERS, *_OVERLAYS, "spool/crontabs"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "pycron/spool").chmod(0o700)
        (self.root / "pycron/state").chmod(0o700)
        for file in _FILES:
            (self.root / file).touch()
        shutil.copy(cache / "sendmail", self.root / "sbin/sendmail")
        self.stamps = self.root / "stamps"
        self.stamps.touch()
        self.stamps.chmod(0o666)
        self.log = self.root / "log"
        self._mails = self.root / "run/bench-mails"
        # cpuacct sums the CPU time; cpu gives the box precedence on a busy machine.
        controllers = [_CGROUPS / name for name in ("cpuacct", "cpu")]
        parents = [path for path in controllers if (path / "cgroup.procs").exists()]
        if not parents and (_CGROUPS / "cgroup.procs").exists():
            parents = [_CGROUPS]
        self._cgroups = [parent / f"pycron-bench-{os.getpid()}" for parent in parents]

    def __enter__(self) -> "Box":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            self._stop()
        shutil.rmtree(self.root)

    def put(self, name: str, text: str, owner: str = "root", mode: int = 0o644) -> None:
        """Write a file of the box and rename it into place, so that no reader sees a part of it.

        A file with the same text is left as it is.
        """
        place = self.root / name
        if place.exists() and place.read_text() == text:
            return
        new = self.root / "new"
        new.write_text(text)
        new.chmod(mode)
        account = pwd.getpwnam(owner)
        os.chown(new, account.pw_uid, account.pw_gid)
        new.replace(place)

    # ---- the daemon

    def start(self, argv: Sequence[str | Path]) -> None:
        environment = {
            "PATH": PATH,
            "HOME": "/root",
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "MOUNTS": " ".join(f"{a}:{b}" for a, b in (_FOLDERS | _FILES).items()),
            "OVERLAYS": " ".join(f"{a}:{b}" for a, b in _OVERLAYS.items()),
            "CGROUPS": " ".join(map(str, self._cgroups)),
        }
        for cgroup in self._cgroups:
            cgroup.mkdir(exist_ok=True)
            if (cgroup / "cpu.shares").exists():
                (cgroup / "cpu.shares").write_text("100000")
        with self.log.open("wb") as log:
            self.pid = subprocess.Popen(
                ["unshare", "--mount", "sh", "-ec", _ENTER, self.root, *argv],
                cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # as a service manager does
            ).pid  # fmt: skip

    def run(self, argv: Sequence[str | Path]) -> None:
        """Run a program in the box until it ends. Raises Unable if it fails."""
        done = subprocess.run(
            ["nsenter", "--mount", "--target", str(self.pid), "--", *argv],
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        if done.returncode:
            raise Unable(f"{Path(argv[0]).name}: {done.stderr.strip()}")

    def settle(self, patience: float, quiet: float = 1.5) -> float:
        """Wait until the box has used no CPU for `quiet` seconds; return how long it was busy.

        Raises Unable if it is still busy after `patience` seconds, or if the daemon has ended.
        """
        began = busy = time.monotonic()
        used = self.cpu()
        while time.monotonic() - busy < quiet:
            time.sleep(0.05)
            now = self.cpu()
            if now - used > 0.001:
                used, busy = now, time.monotonic()
            if time.monotonic() - began > patience:
                raise Unable(f"still busy after {patience:.0f} s")
        if self.pid not in {process.pid for process in self._processes()}:
            raise Unable(f"it ended: {self.log.read_text(errors='replace')[-500:].strip()}")
        return busy - began

    def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 3
        while (left := self._processes()) and time.monotonic() < deadline:
            if self.pid not in {process.pid for process in left}:
                break
            time.sleep(0.05)
        while left := self._processes():
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        for cgroup in self._cgroups:
            for folder, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(folder)

    # ---- processes, CPU and memory

    def _processes(self) -> list[Process]:
        """All living descendants of the harness: the daemon and all processes that it started."""
        children: defaultdict[int, list[Process]] = defaultdict(list)
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            try:
                with open(f"/proc/{entry.name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue  # the process has ended
            if fields[0] != "Z":
                process = Process(int(entry.name), int(fields[1]), sum(map(int, fields[11:15])))
                children[process.parent].append(process)
        found: list[Process] = []
        parents = [os.getpid()]
        while parents:
            below = children[parents.pop()]
            found += below
            parents += [process.pid for process in below]
        return found

    def count(self) -> int:
        return len(self._processes())

    def cpu(self) -> float:
        """The CPU seconds that the daemon, its helpers and their commands have used so far."""
        for cgroup in self._cgroups:
            if (cgroup / "cpuacct.usage").exists():
                return int((cgroup / "cpuacct.usage").read_text()) / 1e9
            if (cgroup / "cpu.stat").exists():
                fields = dict(line.split() for line in (cgroup / "cpu.stat").open())
                if "usage_usec" in fields:
                    return int(fields["usage_usec"]) / 1e6
        gone = resource.getrusage(resource.RUSAGE_CHILDREN)
        alive = sum(process.ticks for process in self._processes()) / _TICK
        return gone.ru_utime + gone.ru_stime + alive

    def memory(self, commands: Sequence[str] = ()) -> Memory:
        """The memory of the box's processes, without those that run one of these programs."""
        rss = pss = processes = 0
        for process in self._processes():
            try:
                argv = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
                rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            except OSError:
                continue
            if os.path.basename(argv[0]).decode() in commands:
                continue
            sizes = dict(line.split(":", 1) for line in rollup.splitlines() if "kB" in line)
            rss += int(sizes["Rss"].split()[0])
            pss += int(sizes["Pss"].split()[0])
            processes += 1
        return Memory(rss, pss, processes)

    def wakeups(self) -> int:
        """How often the threads of the box's processes have gone to sleep so far."""
        count = 0
        for process in self._processes():
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                status = (task / "status").read_text()
                count += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        return count

    # ---- mails

    def count_mails(self) -> None:
        """Let sendmail note each mail; call this before the daemon starts."""
        self._mails.touch()
        self._mails.chmod(0o666)

    def mails(self) -> int:
        return self._mails.stat().st_size

    # ---- starts of commands

    def starts(self) -> int:
        return self.stamps.read_bytes().count(b"\n")

    def started(self) -> list[tuple[str, float]]:
        """The commands that have started, and when: UTC seconds since the epoch."""
        pairs = (line.split() for line in self.stamps.read_text().splitlines())
        return [(name, int(nanoseconds) / 1e9) for name, nanoseconds in pairs]
