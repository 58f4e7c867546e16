"""Measures a simulation: `python bench/simulate.py [RUNS] [JOBS]`. No daemon is needed.

Jobs that run each minute, of which some wait for a limit; durations as a history would give them.
"""

import resource
import sys
import time

from pycron.analysis.durations import Durations
from pycron.analysis.forecast import Forecast
from pycron.analysis.kept_jobs import with_kept_jobs
from pycron.analysis.simulation import Simulation
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import TableLoaded, Tick
from pycron.engine.limits import Limits
from pycron.model.job import Source
from pycron.schedule.zone import UTC

START = 1_780_000_020  # a whole minute
TEXTS = (
    "* * * * * job-{}",
    "CRON_CONCURRENCY=forbid * * * * * job-{}",
    "CRON_POOL=database */5 * * * * job-{}",
    "{} * * * * job-{}",
)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    lines = [TEXTS[i % 4].format(i % 60, i) for i in range(jobs)]
    table = parse("\n".join(lines) + "\n", Source("bench", "bench"), ReaderContext())
    assert not table.errors
    a_minute = jobs / 4 * (1 + 1 + 1 / 5 + 1 / 60)
    end = START + 60 * round(runs / a_minute)
    limits = Limits(4096, 2048, 100_000, 20_000, None, {"database": 40}, {}, 200)
    engine = Engine(lambda _: UTC, Cursor(START - 1, START - 1), limits=limits)
    durations = Durations({}, {job.id: (0.2, 1.5, 12.0, 70.0) for job in table.jobs}, 1.0)
    forecast = Forecast(engine, START, end)
    simulation = Simulation(engine, START, durations.of, forecast)
    before = time.process_time()
    simulation.tell(TableLoaded(with_kept_jobs(table)))
    simulation.tell(Tick())
    for _ in simulation.play(end):
        pass
    took = time.process_time() - before
    total = sum(job.runs for job in forecast.jobs.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{total:,} runs of {jobs:,} jobs: {took:.1f} CPU seconds, {1e6 * took / total:.0f} µs")
    print(f"a run; {memory:.0f} MiB at most; {forecast.peak} at once")
    print(f"waited: {sum(job.waited for job in forecast.jobs.values()):,}")


if __name__ == "__main__":
    main()
