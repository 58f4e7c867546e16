"""Never twice, never lost: SIGKILL before every kind of system call, judged by the commands' marks.

PYCRON_CRASH_KILLS says how many times each victim dies (default: 70).
"""

import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pycron import sockets
from pycron.model import AttemptKey, RunKey
from tests.daemons import RunningDaemon, alive
from tests.failpoints import Doomed, Failpoint, failpoints
from tests.waiting import until

KILLS = int(os.environ.get("PYCRON_CRASH_KILLS", "70"))

# Before which calls the daemon dies, and at the latest before which one of them.
DAEMON = {
    "pwrite64": 300,  # the store's writes
    "fdatasync": 30,
    "fcntl": 200,  # its locks
    "sendto": 20,  # messages
    "recvfrom": 25,
    "write": 100,  # the log
    "epoll_wait": 40,
}
# Where a runner has to be started.
NO_RUNNER = {"unlink": 4, "bind": 2, "connect": 3, "clone,clone3,vfork": 1}
RUNNER = {
    "clone,clone3,vfork": 80,  # spawns
    "rt_sigprocmask": 160,  # the last call before a spawn and the first one after it
    "pipe2": 80,
    "wait4": 120,
    "sendto": 100,  # messages
    "recvfrom": 60,
    "write": 60,  # what commands print
    "epoll_wait": 100,
    "close": 400,
}
PATIENCE = 1.5  # seconds until a victim that has not come to its failpoint dies where it is

RUNNING = 50
POOL = 3
CONFIG = f"[limits]\nrunning = {RUNNING}\n[pools]\nnarrow = {POOL}\n"
RETRIES = 2
ENOUGH = 70  # kills, to come by every kind of call

Row = dict[str, Any]


def mark(word: str, *more: object) -> str:
    """A shell command that leaves a mark, in one write to the end of the file of all marks."""
    return f"echo {word} $CRON_RUN_ID.$CRON_ATTEMPT {' '.join(map(str, more))} >>$MARKS"


@dataclass(frozen=True)
class Kind:
    """Jobs that are alike; each of them takes the next one of the intervals and durations.

    `status` is the exit status, or the signal that ends it, below 0. `most`: how many Attempts of
    one Job may run at once.
    """

    name: str
    jobs: int
    every: tuple[int, ...]
    seconds: tuple[float, ...]
    settings: str = ""
    status: int = 0
    most: int | None = None
    pool: bool = False
    retries: int = 0

    def interval(self, number: int) -> int:
        return self.every[number % len(self.every)]

    def lines(self) -> Iterator[str]:
        ending = f"exit {self.status}" if self.status >= 0 else f"kill {self.status} $$"
        for number in range(self.jobs):
            seconds = self.seconds[number % len(self.seconds)]
            yield (
                f"CRON_NAME={self.name}-{number} {self.settings} @every {self.interval(number)}s"
                f" {mark('start')}; echo $CRON_RUN_ID; sleep {seconds};"
                f" {mark('end', self.status)}; {ending}\n"
            )


KINDS = (
    Kind("short", 40, (1, 2, 3, 4, 5), (0,)),
    Kind("long", 30, (3, 4, 5), (0.1, 0.4, 1, 1.7, 3)),
    Kind("signal", 5, (5,), (0,), status=-9),
    Kind("jitter", 15, (3, 5), (0.1,), "CRON_JITTER=2s"),
    Kind("failing", 20, (4, 5), (0, 0.3),
         f"CRON_RETRIES={RETRIES} CRON_RETRY_DELAY=1s CRON_RETRY_BACKOFF=1 CRON_RETRY_UNTIL=never"
         f" CRON_ON_FAILURE='{mark('hook', '$CRON_FAILED_RUN_ID')}'",
         status=3, most=1, retries=RETRIES),
    Kind("forbid", 12, (1, 2), (0.3, 1.4), "CRON_CONCURRENCY=forbid", most=1),
    Kind("queue", 12, (2, 3), (0.2, 2.5), "CRON_CONCURRENCY=queue", most=1),
    Kind("two", 6, (1, 2), (1.5, 0.4), "CRON_MAX_RUNNING=2", most=2),
    Kind("pool", 12, (4, 5), (0.2, 0.4), "CRON_POOL=narrow", pool=True),
    Kind("late", 6, (5,), (0.2,), "CRON_POOL=narrow CRON_PRIORITY=-1 CRON_START_DEADLINE=1s",
         pool=True),
)  # fmt: skip
KIND = {kind.name: kind for kind in KINDS}


def is_hook(job: str) -> bool:
    return ":" in job


def kind_of(job: str) -> Kind:
    return KIND[job.partition("-")[0]]


class Machine:
    """A daemon and its runner, of which one or both die again and again, on one state directory."""

    def __init__(self, directory: Path, victim: str) -> None:
        self.state = directory / "state"
        self.directory = directory
        self.marks = directory / "marks"
        self.marks.touch()
        lines = [f"MARKS={self.marks}\n", *(line for kind in KINDS for line in kind.lines())]
        (directory / "table").write_text("".join(lines))
        (directory / "config").write_text(CONFIG)
        chance = random.Random(victim)
        of_daemon = DAEMON | NO_RUNNER if victim == "both" else DAEMON
        self.killed_daemons = Doomed(
            directory / "daemons", failpoints(chance, of_daemon, KILLS * (victim != "runner"))
        )
        self.killed_runners = Doomed(
            directory / "runners", failpoints(chance, RUNNER, KILLS * (victim != "daemon")),
            program=sys.executable,
        )  # fmt: skip
        self._victims = {
            "daemon": [self.killed_daemons],
            "runner": [self.killed_runners],
            "both": [self.killed_daemons, self.killed_runners],
        }[victim]
        self._environment = {**os.environ, "PYTHONPATH": self._python_path()}
        self._starts = 0
        self.daemon = self.start()

    def _python_path(self) -> str:
        """The daemon's, with what makes it take the doomed one's script for its interpreter."""
        custom = self.directory / "custom"
        custom.mkdir()
        (custom / "sitecustomize.py").write_text(
            f"import sys\nsys.executable = {str(self.killed_runners.script)!r}\n"
        )
        return os.pathsep.join(filter(None, [str(custom), os.environ.get("PYTHONPATH")]))

    def start(self) -> RunningDaemon:
        """A daemon with a log of its own: that of a killed one may end within a line."""
        self._starts += 1
        return RunningDaemon(
            ["--foreground", "--table", self.directory / "table",
             "--config", self.directory / "config", "--state-dir", self.state],
            self.directory / f"log{self._starts}",
            prefix=[str(self.killed_daemons.script)],
            env=self._environment,
        )  # fmt: skip

    def _keep_up(self) -> None:
        """Start the daemon again where it has ended, as a service manager would."""
        if self.daemon.process.poll() is not None:
            self.daemon = self.start()

    def kill(self, number: int) -> None:
        """The victims' death of this number, from 1: one at its failpoint, the other with it."""
        first = self._victims[0]
        until(lambda: self._births(first) >= number, patience=30)
        if not self._one_dies(number):
            first.kill()
        if len(self._victims) > 1:
            until(self._are_dead)

    def _one_dies(self, number: int) -> bool:
        """Wait for it, but not for ever. A daemon starts another runner, which is not to be hit."""
        first = self._victims[0]
        seen = {first}
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            alive = {victim for victim in self._victims if victim.alive}
            if seen - alive or first.births() > number:
                return True
            seen |= alive
            time.sleep(0.005)
        return False

    def _are_dead(self) -> bool:
        """Kill those that aren't: a runner may just be coming up."""
        for victim in self._victims:
            victim.kill()
        return not any(victim.alive for victim in self._victims)

    def _births(self, victim: Doomed) -> int:
        self._keep_up()
        return victim.births()

    def survive(self) -> int:
        """From now on they live; an instant after all Jobs have been due once more."""
        for victim in self._victims:
            victim.spare()
        return int(time.time()) + max(max(kind.every) for kind in KINDS) + 1

    def stop(self) -> None:
        """What runs may end; no other Run begins."""
        self.daemon.signal(signal.SIGTERM)
        assert self.daemon.wait() == 0

    def has_come_to(self, instant: int) -> bool:
        """Whether all that was due by then is on record, and has ended."""
        self._keep_up()
        (cursor,) = self.rows("SELECT value FROM meta WHERE key = 'cursor'")
        alive = "SELECT 1 FROM runs WHERE fire_time <= ? AND outcome IS NULL LIMIT 1"
        return min(json.loads(cursor["value"])[:2]) >= instant and not self.rows(alive, instant)

    # ---- what is left of them

    def rows(self, query: str, *values: object) -> list[Row]:
        with closing(sqlite3.connect(self.state / "pycron.db", timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, values)]

    def processes(self) -> list[int]:
        """All that have a file in this directory open, or its name in their environment."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                texts = [os.readlink(file) for file in (process / "fd").iterdir()]
                texts.append((process / "environ").read_text(errors="replace"))
            except OSError:
                continue  # it has ended, or is another user's
            if any(str(self.directory) in text for text in texts):
                found.append(int(process.name))
        return found


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@pytest.fixture
def machine(tmp_path: Path, victim: str) -> Iterator[Machine]:
    machine = Machine(tmp_path, victim)
    try:
        yield machine
    finally:
        for process in machine.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        machine.daemon.wait()


class Evidence:
    """The record of what was due by an instant, beside the marks that the commands left."""

    def __init__(self, machine: Machine, until: int) -> None:
        self.until = until
        runs = machine.rows(
            "SELECT runs.*, jobs.id, jobs.name FROM runs JOIN jobs ON jobs.number = runs.job"
            " WHERE fire_time <= ? ORDER BY fire_time", until,
        )  # fmt: skip
        self.runs = {str(RunKey(run["id"], run["fire_time"], run["pass"])): run for run in runs}
        ids = {run["number"]: run_id for run_id, run in self.runs.items()}
        self.attempts = {
            f"{ids[attempt['run']]}.{attempt['number']}": attempt
            for attempt in machine.rows("SELECT * FROM attempts ORDER BY run, number")
            if attempt["run"] in ids
        }
        self.gaps = machine.rows("SELECT * FROM gaps")
        self.output = machine.state / "output"
        # Later marks than that instant are of Runs that were due later.
        marks = [line.split() for line in machine.marks.read_text().splitlines()]
        self.marks = [mark for mark in marks if _fire_time(mark[1]) <= until]

    def of_kind(self, kind: Kind) -> dict[str, Row]:
        """The Runs of the entries of a kind, not those of their hooks."""
        return {
            run_id: run
            for run_id, run in self.runs.items()
            if kind_of(run["name"]) is kind and not is_hook(run["name"])
        }

    def attempts_of(self, run_id: str) -> list[Row]:
        names = [f"{run_id}.{number}" for number in range(1, 3 + RETRIES)]
        return [self.attempts[name] for name in names if name in self.attempts]

    @property
    def lost(self) -> set[str]:
        return {name for name, attempt in self.attempts.items() if attempt["outcome"] == "lost"}

    def marked(self, word: str) -> Counter[str]:
        return Counter(mark[1] for mark in self.marks if mark[0] == word)


def _fire_time(attempt: str) -> int:
    return AttemptKey.parse(attempt).run.fire_time


def check_nothing_twice(evidence: Evidence) -> None:
    """No Attempt was started twice, and none that isn't on record."""
    for word in ("start", "hook"):
        started = evidence.marked(word)
        assert not [attempt for attempt, times in started.items() if times > 1]
        assert not set(started) - set(evidence.attempts)


def check_nothing_lost(evidence: Evidence) -> None:
    """Every fire time from the first one on has its Run, or lies where the record says why not."""
    first = min(run["fire_time"] for run in evidence.runs.values())  # some are due each second
    passed_over = {
        second for gap in evidence.gaps for second in range(gap["after"] + 1, gap["until"] + 1)
    }
    found = {(run["name"], run["fire_time"]) for run in evidence.runs.values()}
    expected = {
        (f"{kind.name}-{number}", second)
        for second in range(first, evidence.until + 1)
        if second not in passed_over
        for kind in KINDS
        for number in range(kind.jobs)
        if second % kind.interval(number) == 0
    }
    assert expected == {(name, second) for name, second in found if not is_hook(name)}
    assert len(found) == len(evidence.runs)  # and no more than one


def check_ends(evidence: Evidence) -> None:
    """Every Run has an end: that of its last Attempt, or a reason why there was none."""
    for run_id, run in evidence.runs.items():
        attempts = evidence.attempts_of(run_id)
        if attempts:
            assert run["outcome"] == attempts[-1]["outcome"], run_id
        else:
            kind = kind_of(run["name"])
            allowed = (
                {"missed"} if kind.name == "late" else {"skipped"} if kind.most == 1 else set()
            )
            assert run["outcome"] in allowed, run_id
            assert run["reason"], run_id


def check_exit_statuses(evidence: Evidence) -> None:
    """What is on record of an Attempt is what its command said: status and output."""
    ended = evidence.marked("end")
    for name, attempt in evidence.attempts.items():
        run_id = name.rpartition(".")[0]
        job = evidence.runs[run_id]["name"]
        if attempt["outcome"] == "lost":
            assert (attempt["exit_status"], attempt["signal"]) == (None, None), name
            assert attempt["reason"], name
            continue
        status = 0 if is_hook(job) else kind_of(job).status
        known = (None, -status) if status < 0 else (status, None)
        assert (attempt["exit_status"], attempt["signal"]) == known, name
        assert attempt["started"] <= attempt["ended"], name
        if not is_hook(job):
            assert ended[name] == 1, name
            day = time.strftime("%Y-%m-%d", time.gmtime(evidence.runs[run_id]["fire_time"]))
            assert (evidence.output / day / f"{name}.log").read_text() == f"{run_id}\n"


def check_retries_and_hooks(evidence: Evidence) -> None:
    """What has failed was tried as often as the table says, and its hook has run once."""
    hooks = {(run["name"], run["fire_time"]) for run in evidence.runs.values()}
    hooks = {(name, second) for name, second in hooks if is_hook(name)}
    failed = {
        (f"{run['name']}:on-failure", run["fire_time"]): (run_id, run)
        for run_id, run in evidence.of_kind(KIND["failing"]).items()
        if evidence.attempts_of(run_id)
    }
    assert hooks == set(failed)
    for run_id, run in failed.values():
        numbers = [attempt["number"] for attempt in evidence.attempts_of(run_id)]
        assert numbers == list(range(1, 2 + RETRIES)), run_id
        assert run["dead"], run_id
    told = Counter(mark[2] for mark in evidence.marks if mark[0] == "hook")
    assert set(told.values()) <= {1}
    assert set(told) <= {run_id for run_id, _ in failed.values()}


def check_limits(evidence: Evidence) -> None:
    """No limit was exceeded at any time, by those that the daemon could know of.

    The marks are in the order in which they were made, and a command runs longer than from its
    first to its last one: so nothing depends on a clock.
    """
    lost = evidence.lost
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for word, attempt, *_ in evidence.marks:
        if word == "hook" or attempt in lost:
            continue
        job = evidence.runs[attempt.rpartition(".")[0]]["name"]
        kind = kind_of(job)
        for limit in ("all", "pool" if kind.pool else "", job):
            running[limit] += 1 if word == "start" else -1
            most[limit] = max(most[limit], running[limit])
    assert most["all"] <= RUNNING
    assert most["pool"] == POOL
    print("running", most["all"], "lost", len(lost), "attempts", len(evidence.attempts))
    for kind in KINDS:
        reached = max(most[f"{kind.name}-{number}"] for number in range(kind.jobs))
        assert kind.most is None or reached == kind.most, kind.name


def check_nothing_left(machine: Machine) -> None:
    """No process, no lock, nobody at the runner's socket."""
    until(lambda: not machine.processes(), patience=30)
    with (machine.state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        sockets.connect(str(machine.state / "runner.sock"), 1)


def check_all_were_hit(doomed: Doomed, kinds: dict[str, int]) -> None:
    deaths = Counter(doomed.deaths())
    print("died before", dict(deaths))
    if KILLS >= ENOUGH:
        assert not [calls for calls in kinds if not any(deaths[call] for call in calls.split(","))]


@needs_strace
@pytest.mark.parametrize("victim", ["daemon", "runner", "both"])
def test_killed_before_every_kind_of_call(machine: Machine, victim: str) -> None:
    for number in range(1, KILLS + 1):
        machine.kill(number)
    last = machine.survive()
    until(lambda: machine.has_come_to(last), patience=60)
    machine.stop()
    check_nothing_left(machine)
    evidence = Evidence(machine, last)
    check_nothing_twice(evidence)
    check_nothing_lost(evidence)
    check_ends(evidence)
    check_exit_statuses(evidence)
    check_retries_and_hooks(evidence)
    check_limits(evidence)
    if victim == "daemon":  # then whatever is on record was started, and everything is known
        assert set(evidence.marked("start") | evidence.marked("hook")) == set(evidence.attempts)
        assert not evidence.lost
    if victim == "runner":
        check_all_were_hit(machine.killed_runners, RUNNER)
    else:
        check_all_were_hit(machine.killed_daemons, DAEMON if victim == "daemon" else NO_RUNNER)


@needs_strace
def test_what_was_recorded_and_not_handed_over_is_started(tmp_path: Path) -> None:
    """By the next daemon, although no runner is left: the last one had nothing to wait for."""
    marks = tmp_path / "marks"
    table = tmp_path / "table"
    table.write_text(f"@every 3s echo $CRON_RUN_ID >>{marks}\n")
    before_the_first_start = Failpoint("sendto", 2)  # the first message is the hello
    doomed = Doomed(tmp_path / "doomed", [before_the_first_start])
    arguments: list[str | Path] = ["--foreground", "--table", table]
    arguments += ["--state-dir", tmp_path / "state"]
    killed = RunningDaemon(arguments, tmp_path / "log1", prefix=[str(doomed.script)])
    runner = killed.wait_for("runner_started")["pid"]
    killed.wait()
    assert doomed.deaths() == ["sendto"]
    with closing(sqlite3.connect(tmp_path / "state" / "pycron.db")) as db:
        ((due,),) = db.execute("SELECT fire_time FROM runs JOIN attempts ON run = runs.number")
    until(lambda: time.time() > due)

    daemon = RunningDaemon(arguments, tmp_path / "log2")
    try:
        first = daemon.wait_for("attempt_ended")
        assert first["outcome"] == "succeeded"
        daemon.wait_for("attempt_ended", count=2)
    finally:
        daemon.stop()
    until(lambda: not alive(runner))
    started = Counter(marks.read_text().split())
    assert started[first["run_id"]] == 1
    assert set(started.values()) == {1}
    assert not daemon.log("attempt_lost")
