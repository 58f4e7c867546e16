"""Never twice, never lost: SIGKILL at random moments, judged by the commands' own marks on disk.

PYCRON_CRASH_KILLS says how many times each victim dies (default: 12).
"""

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.daemons import RunningDaemon

KILLS = int(os.environ.get("PYCRON_CRASH_KILLS", "12"))
JOBS = 24


def table_of(marks: Path) -> str:
    """Short and longer commands, each second to each third one; a sixth of them fail and retry."""
    lines = []
    for number in range(JOBS):
        mark = f'echo "$CRON_RUN_ID.$CRON_ATTEMPT" >> {marks}/{number}'
        status = 1 if number % 6 == 0 else 0
        lines.append(
            f"CRON_NAME=j{number} CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never"
            f" @every {1 + number % 3}s {mark}; sleep 0.{number % 10}; exit {status}\n"
        )
    return "".join(lines)


class Machine:
    """A daemon that is killed and started again, on one state directory."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.marks = directory / "marks"
        self.marks.mkdir()
        self._table = directory / "table"
        self._table.write_text(table_of(self.marks))
        self._log = directory / "log"
        self.daemon = self.start()

    def start(self) -> RunningDaemon:
        arguments: list[str | Path] = ["--foreground", "--table", self._table]
        return RunningDaemon([*arguments, "--state-dir", self.state], self._log)

    def runner(self) -> int:
        """The pid of the runner, as the store has it."""
        with closing(sqlite3.connect(self.state / "pycron.db", timeout=10)) as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'runner'").fetchone()
        return int(row[0].partition("-")[0])

    def kill(self, victim: str) -> None:
        if victim in ("runner", "both"):
            try:
                os.kill(self.runner(), signal.SIGKILL)
            except ProcessLookupError:
                pass  # a new one is just being started
        if victim in ("daemon", "both"):
            self.daemon.kill()
            self.daemon = self.start()

    def started(self) -> Counter[str]:
        """How often each Attempt was started, by its own word."""
        return Counter(
            line for path in self.marks.iterdir() for line in path.read_text().splitlines()
        )

    def attempts(self) -> dict[str, str | None]:
        """The outcome on record of each Attempt."""
        with closing(sqlite3.connect(self.state / "pycron.db")) as db:
            rows = db.execute(
                "SELECT jobs.id, strftime('%Y%m%dT%H%M%SZ', fire_time, 'unixepoch'), runs.pass,"
                " attempts.number, attempts.outcome FROM attempts"
                " JOIN runs ON runs.number = attempts.run JOIN jobs ON jobs.number = runs.job"
            ).fetchall()
        return {
            f"{job}-{stamp}{f'-{turn + 1}' if turn else ''}.{number}": outcome
            for job, stamp, turn, number, outcome in rows
        }

    def fire_times(self) -> dict[str, list[int]]:
        with closing(sqlite3.connect(self.state / "pycron.db")) as db:
            rows = db.execute(
                "SELECT jobs.name, fire_time FROM runs JOIN jobs ON jobs.number = runs.job"
                " ORDER BY fire_time"
            ).fetchall()
        found: dict[str, list[int]] = {}
        for name, fire_time in rows:
            found.setdefault(name, []).append(fire_time)
        return found


@pytest.mark.parametrize("victim", ["daemon", "runner", "both"])
def test_killed_at_random(tmp_path: Path, victim: str) -> None:
    chance = random.Random(victim)
    machine = Machine(tmp_path)
    try:
        machine.daemon.wait_for("attempt_ended")
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.02, 0.7))  # a random moment is the point
            machine.kill(victim)
        ended = len(machine.daemon.log("attempt_ended"))
        machine.daemon.wait_for("attempt_ended", count=ended + JOBS)
    finally:
        machine.daemon.stop()

    started, recorded = machine.started(), machine.attempts()
    assert not [attempt for attempt, times in started.items() if times > 1]  # nothing twice
    assert not set(started) - set(recorded)  # nothing that is not on record
    for name, times in machine.fire_times().items():  # every fire time has its Run
        every = 1 + int(name[1:]) % 3
        assert times == list(range(times[0], times[-1] + 1, every))
    outcomes = Counter(recorded.values())
    assert None not in outcomes
    if victim == "daemon":  # every exit status is known, and whatever was recorded was started
        assert set(outcomes) == {"succeeded", "failed"}
        assert set(started) == set(recorded)
        assert _exit_statuses(machine) == {"succeeded": {0}, "failed": {1}}


def _exit_statuses(machine: Machine) -> dict[str, set[int]]:
    with closing(sqlite3.connect(machine.state / "pycron.db")) as db:
        rows = db.execute("SELECT DISTINCT outcome, exit_status FROM attempts").fetchall()
    return {outcome: {s for o, s in rows if o == outcome} for outcome, _ in rows}
