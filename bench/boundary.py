"""How late the first start of a minute is: `python bench/boundary.py [MINUTES]`.

Runs a real foreground daemon over real minute boundaries. The runner measures the lateness, from
the boundary to just after the fork.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = 20


def main() -> None:
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as directory:
        table = Path(directory) / "table"
        table.write_text("".join(f"CRON_NAME=j{i} * * * * * true\n" for i in range(COMMANDS)))
        log = Path(directory) / "log"
        with log.open("w") as stderr:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "pycron.cli.pycrond", "--foreground", "--table", table,
                 "--state-dir", Path(directory) / "state", "--log-format", "json"], stderr=stderr,
            )  # fmt: skip
        time.sleep(60 * minutes + 60 - time.time() % 60 + 1)
        daemon.terminate()
        daemon.wait()
        starts: dict[str, list[int]] = {}
        for line in map(json.loads, log.read_text().splitlines()):
            if line["event"] == "attempt_started":
                starts.setdefault(line["fire_time"], []).append(line["lateness_ms"])
    first = sorted(min(lateness) for lateness in starts.values())
    last = sorted(max(lateness) for lateness in starts.values())
    print(f"{len(first)} minutes, {COMMANDS} commands due in each; milliseconds after the boundary")
    print(f"  first start  median {statistics.median(first):.0f}, worst {first[-1]}")
    print(f"  last start   median {statistics.median(last):.0f}, worst {last[-1]}")


if __name__ == "__main__":
    main()
