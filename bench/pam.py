"""What PAM costs: `python bench/pam.py [JOBS] [MINUTES]`, as root, with pamela installed.

Two daemons start the same commands of a user in turns: one without PAM, one with the service of
contrib/pam. The lateness is that of the record; the CPU time is that of the daemon, the runner and
the process that opens sessions, with their children, and so contains the commands (`true`). The
daemons run in a mount namespace of their own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
USER = "nobody"
PRIVATE = ("/etc/pycron", "/etc/pycron.d", "/var/spool/pycron", "/var/lib/pycron", "/run/pycron")


def main() -> None:
    if "--inside" not in sys.argv:
        inside = [sys.executable, *sys.argv, "--inside"]
        os.execvp("unshare", ["unshare", "--mount", *inside])
    jobs, minutes = (int(word) for word in [*sys.argv[1:-1], "200", "3"][:2])
    prepare()
    print(f"{jobs} commands due in a minute: first and last start (ms after it began), CPU (s)")
    ratios: list[tuple[float, float]] = []
    for _ in range(minutes):
        without, with_pam = (measured(jobs, pam=pam) for pam in (False, True))
        ratios.append((with_pam[0] / without[0], with_pam[1] / without[1]))
    last, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"  ratios    last start {last:.2f}   CPU {cpu:.2f}")


def prepare() -> None:
    for path in PRIVATE:
        Path(path).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)
    copy = tempfile.mkdtemp()
    script = f"cp -a /etc/pam.d/. {copy}; mount --bind {copy} /etc/pam.d"
    subprocess.run(["sh", "-ec", f"{script}; cp {ROOT}/contrib/pam/pycron /etc/pam.d"], check=True)


def measured(jobs: int, *, pam: bool) -> tuple[float, float]:
    """One minute: the last start, in ms after it began, and CPU seconds."""
    Path("/etc/pycron/pycron.toml").write_text('[pam]\nservice = "pycron"\n' if pam else "")
    Path("/etc/pycron.d/bench").write_text(f"* * * * * {USER} true\n" * jobs)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "pycron.cli.pycrond"], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        boundary = (time.time() + 12) // 60 * 60 + 60
        time.sleep(boundary - 2 - time.time())
        before = cpu_of(daemon.pid)
        while len(starts := starts_of(boundary, jobs)) < jobs and time.time() < boundary + 50:
            time.sleep(3)
        time.sleep(2)  # until the sessions are closed
        cpu = cpu_of(daemon.pid) - before
        if len(starts) < jobs:
            sys.exit(f"{len(starts)} of {jobs} commands have started")
    finally:
        Path("/etc/pycron.d/bench").unlink()
        daemon.terminate()
        daemon.wait()
        time.sleep(2)  # until the runner has ended
    name = "with PAM" if pam else "without"
    print(f"  {name:9} {min(starts):8.1f} {max(starts):8.1f}   {cpu:6.2f}", flush=True)
    return max(starts), cpu


def starts_of(boundary: float, jobs: int) -> list[float]:
    """When the commands of a minute started, in ms after it began."""
    command = [sys.executable, "-m", "pycron.cli.pycron", "runs", "--json", "--limit", str(jobs)]
    rows = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [json.loads(line) for line in rows.splitlines()]
    started = [datetime.fromisoformat(row["started"]).timestamp() for row in found if row["ended"]]
    return [1e3 * (each - boundary) for each in started if each >= boundary]


def cpu_of(pid: int) -> float:
    """CPU seconds of the daemon, its runner and the helper, with the children they have reaped."""
    daemon = psutil.Process(pid)
    family = [daemon, *daemon.children()]
    family += [child for each in daemon.children() for child in each.children()]
    total = 0.0
    for each in family:
        try:
            total += sum(each.cpu_times()[:4])
        except psutil.NoSuchProcess:
            pass  # a command
    return total


if __name__ == "__main__":
    main()
