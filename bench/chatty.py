"""A container whose Jobs print much, in real time: `python bench/chatty.py [MINUTES]`, as root.

A foreground daemon without a state directory runs 200 Jobs in each minute and 20 in each second,
which print on both streams. /dev/shm has 64 MB, as in Docker. Each minute has a row: how late the
last start was; the memory of daemon and runner (PSS, MB), their descriptors; the files in /dev/shm
and their size (MB); the lines in the log. All must stay flat, and no line may be missing.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

MINUTELY, SECONDLY = 200, 20
LINES = 100  # of each Run that is due in each minute; half of them on the standard error
TABLE = "".join(
    f"CRON_NAME=m{number} * * * * * n=0; while [ $((n += 1)) -le {LINES // 2} ]; do"
    f" echo out $n; echo err $n >&2; sleep 0.0{number % 10}; done\n"
    for number in range(MINUTELY)
) + "".join(
    f"CRON_NAME=s{number} @every 1s head -c {100 << number % 10} /dev/zero | tr '\\0' x; echo\n"
    for number in range(SECONDLY)
)
SHM = Path("/dev/shm")


def pss(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.split("\nPss:")[1].split()[0]) / 1024


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Log:
    """The log of the daemon: what was counted in it so far."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        self.events: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()  # of each Run
        self.ended: dict[str, str] = {}  # the Job of each Run
        self.late: dict[str, int] = {}  # milliseconds, of each fire time of the minutely Jobs
        self.runner = 0

    def read(self) -> None:
        while line := self.file.readline():
            if not line.endswith(b"\n"):
                self.file.seek(-len(line), os.SEEK_CUR)
                return
            self.note(json.loads(line))

    def note(self, event: dict[str, object]) -> None:
        self.events[str(event["event"])] += 1
        match event:
            case {"event": "output", "run_id": str(run)}:
                self.lines[run] += not event.get("partial")
            case {"event": "attempt_ended", "run_id": str(run), "job": str(job)}:
                self.ended[run] = job
            case {"event": "attempt_started", "job": str(job), "fire_time": str(at),
                  "lateness_ms": int(late)} if job.startswith("m"):  # fmt: skip
                self.late[at] = max(late, self.late.get(at, 0))
            case {"event": "runner_started", "pid": int(pid)}:
                self.runner = pid
            case {"level": "warning"}:
                print(event)

    def missing(self) -> int:
        """Runs whose lines are not all in the log."""
        return sum(
            self.lines[run] != (LINES if job.startswith("m") else 1)
            for run, job in self.ended.items()
        )


def row(daemon: int, log: Log) -> str:
    files = [path for path in SHM.rglob("*") if path.is_file()]
    used = os.statvfs(SHM)
    size = (used.f_blocks - used.f_bfree) * used.f_frsize / 2**20
    late = list(log.late.values())[-1:]
    return (
        f"late {late} ms, PSS {pss(daemon):.1f} + {pss(log.runner):.1f} MB, descriptors"
        f" {descriptors(daemon)} + {descriptors(log.runner)}, files {len(files)}, {size:.1f} MB,"
        f" lines {log.events['output']}, starts {log.events['attempt_started']},"
        f" incomplete {log.missing()}"
    )


def measure(minutes: int, directory: Path) -> None:
    (directory / "table").write_text(TABLE)
    words = [sys.executable, "-m", "pycron.cli.pycrond", "--foreground", "--log-format", "json",
             "--table", directory / "table"]  # fmt: skip
    with (directory / "log").open("wb") as file:
        daemon = subprocess.Popen(words, stdout=file, stderr=file)
    log = Log(directory / "log")
    for _ in range(minutes):
        time.sleep(60 - time.time() % 60 + 50)  # seconds: all of the minute have ended
        log.read()
        print(time.strftime("%H:%M:%S"), row(daemon.pid, log), flush=True)
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()
    log.read()
    print(dict(log.events), "Runs with missing lines:", log.missing(),
          "left in /dev/shm:", len(list(SHM.iterdir())))  # fmt: skip


def main() -> None:
    minutes = sys.argv[1] if len(sys.argv) > 1 else "60"
    if os.environ.get("CHATTY") != "inside":
        mount = 'mount -t tmpfs -o size=64m,mode=1777 shm /dev/shm; exec "$@"'
        again = [sys.executable, __file__, minutes]
        os.environ["CHATTY"] = "inside"
        os.execvp("unshare", ["unshare", "--mount", "sh", "-c", mount, "sh", *again])
    with tempfile.TemporaryDirectory() as directory:
        measure(int(minutes), Path(directory))


if __name__ == "__main__":
    main()
