"""How long the page takes: `python bench/page.py [JOBS] [RUNS]`, default: 100,000 and 1,000,000.

A daemon has so many Jobs in one table, and so many Runs on record, of the last ten days. Each view
is asked for over HTTP as a browser asks; the first answer and the median of ten are printed, in
milliseconds.
"""

import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import RecordAttempt, RecordRun
from pycron.model.job import Job, Source
from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey, RunKey
from pycron.storage.store import Store
from tests.support.running_daemon import RunningDaemon
from tests.support.web_page import Browser, web_page

ROOT = Path(__file__).parents[1]
LIMITS = RetentionLimits(10**9, 10**9, 10**9, 2**40, 2**40, 2**40)
DAYS = 10
DAY = 86_400
BATCH = 10_000
ROUNDS = 10
CONFIG = """
[history]
runs = 100000000
"""


def fill(path: Path, jobs: list[Job], runs: int) -> list[str]:
    """Write Runs with SQL, which is faster than the store; the ids of three of them, newest first.

    Each Job has as many Runs as the others, spread over the days; one Run in fifty has failed.
    """
    end = int(time.time()) // 60 * 60
    with closing(Store(path)) as store:  # makes the tables, and the rows of the Jobs
        for first in range(0, len(jobs), BATCH):
            records = []
            for job in jobs[first : first + BATCH]:
                attempt = AttemptKey(RunKey(job.id, end - DAYS * DAY - 60), 1)
                records += [RecordRun(attempt.run, job), RecordAttempt(attempt)]
            store.write(records)
    each = max(1, runs // len(jobs))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
        database.execute("DELETE FROM attempts")
        database.execute("DELETE FROM runs")
        owners = dict(database.execute("SELECT number, user FROM jobs").fetchall())
        number = 0
        for pass_of in range(each, 0, -1):
            rows, attempts = [], []
            for place, (job, user) in enumerate(owners.items()):
                number += 1
                back = (pass_of - 1) * DAYS * DAY // each
                fire = (
                    end - back - 60 * (1440 // max(1, each // DAYS) - place * 1440 // len(owners))
                )
                outcome = "failed" if number % 50 == 0 else "succeeded"
                rows.append((number, job, user, fire, 0, outcome))
                attempts.append((number, 1, 4711, fire + 0.1, fire + 1.5 + place % 7, outcome,
                                 int(outcome == "failed"), 0.01, 10**7, 0, 0))  # fmt: skip
            database.executemany(
                "INSERT OR IGNORE INTO runs (number, job, user, fire_time, pass, outcome)"
                " VALUES (?, ?, ?, ?, ?, ?)", rows,
            )  # fmt: skip
            database.executemany(
                "INSERT INTO attempts (run, number, pid, started, ended, outcome, exit_status,"
                " cpu_seconds, memory_peak, output_bytes, output_kept)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", attempts,
            )  # fmt: skip
        database.execute(
            "UPDATE jobs SET runs = (SELECT count(*) FROM runs WHERE job = jobs.number)"
        )
        database.execute("COMMIT")
        (written,) = database.execute("SELECT count(*) FROM runs").fetchone()
        print(f"{written:,} Runs written")
    return []


def views(browser: Browser) -> dict[str, str]:
    """The paths of the views, by what they are; lists also from far behind their beginning."""
    jobs = browser.get("/api/v1/jobs?limit=3&position=50000").json["rows"]
    (run,) = browser.get("/api/v1/runs?limit=1&outcome=failed").json["rows"]
    old = browser.get("/api/v1/runs?limit=1&until=" + str(int(time.time()) - 8 * DAY)).json
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * DAY))
    return {
        "now": "/",
        "jobs": "/jobs",
        "jobs, from the 90,000th on": "/jobs?position=90000",
        "jobs, a name that is there": "/jobs?q=job+7777",
        "jobs, a name that is not": "/jobs?q=nothing-is-called-so",
        "jobs, of an owner": f"/jobs?owner={jobs[0]['user']}",
        "jobs, last Run failed": "/jobs?failed=1",
        "a job": f"/jobs/{jobs[0]['id']}",
        "why": f"/jobs/{jobs[0]['id']}/why?time={yesterday}T03:00",
        "runs": "/runs",
        "runs, far back": f"/runs?before={old['before']}",
        "runs, failed": "/runs?outcome=failures",
        "runs, lost (none)": "/runs?outcome=lost",
        "runs of a job": f"/runs?job={jobs[0]['id']}",
        "a run": f"/runs/{run['run_id']}",
        "today": "/day",
        "another day": f"/day?date={yesterday}",
        "failures": "/failures",
        "late": "/late",
        "dead letters": "/dead",
        "hosts": "/hosts",
        "search": "/search?q=nothing-is-printed-so",
    }


def main() -> None:
    os.environ["PYTHONPATH"] = str(ROOT)  # for the programs
    count, runs = (int(each) for each in [*sys.argv[1:], "100000", "1000000"][:2])
    if len(sys.argv) == 2:
        runs = 10 * count
    print(f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}; {count:,} Jobs")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        table, state = directory / "table", directory / "state"
        text = "".join(f"{n % 60} {n // 60 % 24} * * * job {n}\n" for n in range(count))
        table.write_text(text)
        state.mkdir()
        (directory / "pycron.toml").write_text(CONFIG)
        source = Source(str(table), os.environ.get("USER", "root"))
        fill(state / "pycron.db", list(parse(text, source, ReaderContext()).jobs), runs)
        daemon = RunningDaemon(
            ["--foreground", "--state-dir", state, "--table", table], directory / "log"
        )
        try:
            daemon.wait_for("table_loaded")
            time.sleep(3)
            with web_page(state) as page:
                measure(page.logged_in())
        finally:
            daemon.stop()


def measure(browser: Browser) -> None:
    for name, path in views(browser).items():
        times = []
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            answer = browser.get(path)
            times.append(1000 * (time.perf_counter() - began))
            assert answer.status == 200, (path, answer.text)
        first, median = times[0], statistics.median(times[1:])
        size = len(answer.body) / 1024
        print(f"{name:28} first {first:6.0f} ms   median {median:6.0f} ms   {size:6.0f} KiB")


if __name__ == "__main__":
    main()
