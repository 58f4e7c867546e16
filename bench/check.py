"""What `pycron check` costs beside reading: `python bench/check.py [ENTRIES]`.

Both are measured as CPU time of this process, on one table of different entries.
"""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from pycron.crontab.reader import ReaderContext, parse
from pycron.lint.check import problems_of
from pycron.lint.found import CheckContext
from pycron.model.job import Source
from pycron.system.zone_data import ZoneData

T = TypeVar("T")
COMMANDS = (
    "/usr/local/bin/sync --all >/dev/null 2>&1",
    "cd /srv/shop && php artisan schedule:run >> /var/log/shop.log 2>&1",
    "tar czf /srv/backup/$(date +\\%F).tar.gz '/srv/data'",
    "[ -x /usr/sbin/anacron ] || run-parts --report /etc/cron.daily",
)
SCHEDULES = ("{0} {1} * * *", "*/5 * * * *", "{0} {1} * * 1-5", "@daily", "{0} 2 1 * *")


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    text = "".join(map(_entry, range(entries)))
    facts = CheckContext(ZoneData("Europe/Berlin").zone, int(time.time()))
    source = Source("bench", "bench")
    reading, table = _cpu(lambda: parse(text, source, ReaderContext()))
    linting, problems = _cpu(lambda: problems_of(table, text, facts))
    print(f"{entries:,} entries, CPU seconds: read {reading:.2f}, linted {linting:.2f}")
    print(f"  checked in {(reading + linting) / reading:.1f} times the time of reading, "
          f"{len(problems)} problems")  # fmt: skip


def _entry(number: int) -> str:
    schedule = SCHEDULES[number % len(SCHEDULES)].format(number % 60, number // 60 % 24)
    return f"{schedule} {COMMANDS[number % len(COMMANDS)]} # {number}\n"


def _cpu(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
