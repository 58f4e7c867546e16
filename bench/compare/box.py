"""A box: one daemon alone, with folders, a mount namespace and a cgroup of its own.

In it the spools and tables of every daemon, /run and what sendmail is are the box's, so nothing of
the machine's own tables runs. The harness is the subreaper: whatever a daemon leaves behind is
found below it, and is ended with the box.
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

# A folder of the box, and what it stands in for.
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
# A folder of the box whose files are laid over those that are there.
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
    """A daemon can't take part: why."""


class Process(NamedTuple):
    pid: int
    parent: int
    ticks: int  # of CPU, its own and of the children that it has waited for


class Memory(NamedTuple):
    """Of the daemon and its helpers, in KiB; shared pages count by their share in `pss`."""

    rss: int
    pss: int
    processes: int


@contextlib.contextmanager
def mount_points() -> Iterator[None]:
    """Whatever a box is mounted over and the machine does not have, for as long as it is needed."""
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
    """Made for one daemon; `root` holds its files, `pid` is the daemon once it is started."""

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
        # cpuacct adds up the CPU time; cpu keeps the rest of a busy machine out of the way.
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
        """A file in its place at once: written beside it, then renamed. One as before is left."""
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
            ).pid  # fmt: skip

    def run(self, argv: Sequence[str | Path]) -> None:
        """A program beside the daemon, until it ends. Raises Unable when it fails."""
        done = subprocess.run(
            ["nsenter", "--mount", "--target", str(self.pid), "--", *argv],
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        if done.returncode:
            raise Unable(f"{Path(argv[0]).name}: {done.stderr.strip()}")

    def settle(self, patience: float, quiet: float = 1.5) -> float:
        """Wait until nothing has been computed for `quiet` seconds; how long it took to get there.

        Raises Unable when that has not come within `patience` seconds, or the daemon has ended.
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

    # ---- what it costs

    def _processes(self) -> list[Process]:
        """Every living process below the harness: the daemon and all that it started."""
        children: defaultdict[int, list[Process]] = defaultdict(list)
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            try:
                with open(f"/proc/{entry.name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
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
        """CPU seconds so far of the daemon, its helpers and their commands."""
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
        """What the box's processes hold, but for those that run one of these programs."""
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
        """How often the threads of its processes have gone to sleep so far."""
        count = 0
        for process in self._processes():
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                status = (task / "status").read_text()
                count += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        return count

    # ---- what its commands noted

    def starts(self) -> int:
        return self.stamps.read_bytes().count(b"\n")

    def started(self) -> list[tuple[str, float]]:
        """The commands that ran and when, in seconds since the epoch."""
        pairs = (line.split() for line in self.stamps.read_text().splitlines())
        return [(name, int(nanoseconds) / 1e9) for name, nanoseconds in pairs]
