"""Thousands of Jobs are due at one instant: all run, and Jobs with precedence do not wait."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import pytest

from tests.support.running_daemon import RunningDaemon
from tests.support.waiting import until

pytestmark = pytest.mark.xdist_group("machine")

JOBS = 2000
RUNNING = 50
IS_ROOT = os.geteuid() == 0


def due_once(earliest: int) -> tuple[int, str]:
    """An instant soon after `earliest`, and a schedule that is due then and rarely else."""
    return next(
        (instant, f"@every {seconds}s")
        for instant in count(earliest)
        for seconds in range(600, 3600)
        if instant % seconds == 0
    )


class Crowd:
    """JOBS Jobs that are due at one instant, and a daemon that lets RUNNING of them run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._table = directory / "table"
        self._table.touch()
        (directory / "marks").touch()
        (directory / "config").write_text(f"[limits]\nrunning = {RUNNING}\n")
        self.daemon = RunningDaemon(
            ["--foreground", "--allow-empty",
             "--system-table" if IS_ROOT else "--table", self._table,
             "--config", directory / "config", "--state-dir", directory / "state"],
            directory / "log",
        )  # fmt: skip
        self.daemon.wait_for("runner_started")

    def write_table(self, others: dict[str, str]) -> int:
        """Write the table and return the instant at which the Jobs are due.

        `others`: entries that are due each second, by name.
        """
        instant, schedule = due_once(int(time.time()) + 3)
        user = "root " if IS_ROOT else ""
        directory = self._directory
        command = (
            f"echo start >>{directory}/marks; until [ -e {directory}/gate ]; do sleep 0.1; done;"
            f" echo end >>{directory}/marks"
        )
        self._table.write_text(
            "".join(f"CRON_NAME={name} {entry}\n" for name, entry in others.items())
            + "".join(f"CRON_NAME=c{n} {schedule} {user}{command}\n" for n in range(JOBS))
        )
        return instant

    def open_gate(self) -> None:
        """Let the commands end. Commands that start later end at once."""
        (self._directory / "gate").touch()

    def marks(self) -> list[str]:
        return (self._directory / "marks").read_text().split()

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._directory / "state" / "pycron.db")) as db:
            return db.execute(text).fetchall()

    def recorded(self) -> int:
        """How many Runs of the crowd there are."""
        query = "SELECT count(*) FROM runs JOIN jobs ON jobs.number = job WHERE name GLOB 'c*'"
        ((count,),) = self.query(query)
        return int(count)

    def starts(self, jobs: str) -> list[tuple[int, float]]:
        """(fire time, start) of the Attempts of all Jobs whose name matches the pattern."""
        return self.query(
            "SELECT fire_time, started FROM attempts JOIN runs ON runs.number = run"
            f" JOIN jobs ON jobs.number = runs.job WHERE name GLOB '{jobs}'"
        )


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    crowd = Crowd(tmp_path)
    try:
        yield crowd
    finally:
        crowd.daemon.stop()


def test_jobs_with_precedence_start_before_a_crowd(crowd: Crowd) -> None:
    """A Job with a higher priority and, as root, a Job of another user do not wait."""
    user = "root " if IS_ROOT else ""
    others = {"urgent": f"CRON_PRIORITY=1 @every 1s {user}true"}
    if IS_ROOT:
        others["foreign"] = "@every 1s nobody true"
    instant = crowd.write_table(others)
    room = RUNNING - RUNNING // 8 - len(others)  # an eighth is for users who have nothing running
    until(lambda: len(crowd.marks()) >= room, patience=60)
    # A table's fire times are taken up in their order, some in each turn. Then the queue decides.
    until(lambda: crowd.recorded() == JOBS, patience=60)
    crowd.open_gate()
    until(lambda: crowd.marks().count("end") == JOBS, patience=120)
    crowd.daemon.signal(signal.SIGTERM)
    crowd.daemon.wait()

    marks = crowd.marks()
    assert marks.count("start") == JOBS  # each Job once
    runs = crowd.query(
        "SELECT fire_time, outcome, count(*) FROM runs JOIN jobs ON jobs.number = runs.job"
        " WHERE name GLOB 'c*' GROUP BY fire_time, outcome"
    )
    assert runs == [(instant, "succeeded", JOBS)]
    assert max(accumulate(1 if mark == "start" else -1 for mark in marks)) <= RUNNING

    starts = [start for _, start in crowd.starts("c*")]
    for name in others:
        meanwhile = [each for each in crowd.starts(name) if min(starts) < each[0] < max(starts)]
        assert meanwhile, name
        for fire_time, started in meanwhile:
            went_before = [start for start in starts if fire_time < start < started]
            assert len(went_before) <= RUNNING, name
