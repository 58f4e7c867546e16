"""A machine with another cron, for tests that run as root.

It is a mount namespace and a pid namespace with empty directories for the tables of cron and of
pycron, a process whose program is called `cron`, and a systemctl that starts and stops it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pycron.system import paths
from tests.support.running_daemon import program
from tests.support.waiting import until

CRON_D = Path("/etc/cron.d")
SPOOL = Path("/var/spool/cron/crontabs")
_EMPTY = (CRON_D, SPOOL.parent, Path("/run/systemd"), Path("/etc/systemd/system"),
          paths.SPOOL, paths.DROP_INS, paths.ALLOW.parent, paths.SYSTEM_STATE,
          paths.SYSTEM_RUN)  # fmt: skip
_PROJECT = Path(__file__).parents[2]
_WANTS = "/etc/systemd/system/multi-user.target.wants/cron.service"

# `fail` holds the first argument at which it kills the program that has called it.
_SYSTEMCTL = f"""#!/bin/sh
cd /run/systemd
echo "$*" >> calls
[ "$1" = "$(cat fail 2>/dev/null)" ] && kill -9 $PPID
case "$1" in
is-active) ./runs ;;
is-enabled) [ -L {_WANTS} ] ;;
disable) rm -f {_WANTS}; exec "$0" stop cron ;;
enable) mkdir -p $(dirname {_WANTS}); ln -sf ../cron.service {_WANTS} ;;
stop) [ -e refuse ] || kill "$(cat pid)" 2>/dev/null; true ;;
start) ./runs || {{ setsid ./cron 1000 >/dev/null 2>&1 & echo $! >pid; }} ;;
esac
"""


# Before a systemctl that the machine may have.
_PATH = f"PATH=/run/systemd:{os.environ['PATH']}"
# A process that has ended has no program.
_RUNS = "#!/bin/sh\nreadlink /proc/$(cat /run/systemd/pid)/exe >/dev/null 2>&1\n"


class CronSandbox:
    """Paths in it are those of the machine, seen from outside below `root`."""

    def __init__(self) -> None:
        mounts = "; ".join(
            f"mkdir -p {path} && mount -t tmpfs -o mode={mode} tmpfs {path}"
            for path, mode in ((path, 700 if path == paths.SPOOL else 755) for path in _EMPTY)
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec",
             f"{mounts}; mkdir -m 1730 {SPOOL}; mkdir /run/systemd/system; echo ready;"
             " exec sleep infinity"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        self._first = int(children.split()[0])
        self.root = Path(f"/proc/{self._first}/root")
        self.write("/run/systemd/systemctl", _SYSTEMCTL, 0o755)
        self.write("/run/systemd/runs", _RUNS, 0o755)
        self.shell("cp $(command -v sleep) /run/systemd/cron;"
                   " touch /etc/systemd/system/cron.service")  # fmt: skip

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()

    # ---- what is in it

    def path(self, path: Path | str) -> Path:
        """A path of the sandbox, seen from outside."""
        return self.root / str(path).lstrip("/")

    def write(self, path: Path | str, text: str, mode: int = 0o644) -> Path:
        seen = self.path(path)
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.write_text(text)
        seen.chmod(mode)
        return seen

    def read(self, path: Path | str) -> str:
        return self.path(path).read_text()

    def made(self) -> set[str]:
        """The files of pycron, with their paths in the sandbox."""
        directories = (paths.DROP_INS, paths.SPOOL, paths.ALLOW.parent, paths.SYSTEM_STATE)
        found = (path for each in directories for path in self.path(each).iterdir())
        return {"/" + str(path.relative_to(self.root)) for path in found}

    def start_cron(self) -> None:
        """Enable the other cron, and start it."""
        self.shell("systemctl enable cron; systemctl start cron")
        until(self.cron_runs)
        self.path("/run/systemd/calls").unlink()

    def cron_runs(self) -> bool:
        return self.shell("systemctl is-active cron && echo yes || true").endswith("yes\n")

    def calls(self) -> list[str]:
        """What systemctl was asked to do, without questions."""
        lines = self.read("/run/systemd/calls").splitlines()
        return [line for line in lines if not line.startswith("is-")]

    # ---- programs in it

    @property
    def inside(self) -> list[str]:
        return ["nsenter", "--mount", "--pid", "--root", "--wdns=/", "--target", str(self._first),
                "--"]  # fmt: skip

    def shell(self, script: str) -> str:
        command = [*self.inside, "env", _PATH, "sh", "-ec", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `pycron import`."""
        return self.run_python(program("pycron", "import", *arguments)[1:])

    def run_python(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        command = [*self.inside, "env", _PATH, f"PYTHONPATH={_PROJECT}", sys.executable,
                   *arguments]  # fmt: skip
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            check=False, cwd="/", env={**os.environ, "TZ": "Europe/Berlin"},
        )  # fmt: skip

    def findings(self, *arguments: str | Path) -> list[dict[str, Any]]:
        done = self.run("--json", *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return [json.loads(line) for line in done.stdout.splitlines()]
