"""Never twice, never lost: daemons and runners are killed before every kind of system call.

Three machines run at the same time, each in a thread of its own: in one the daemon is killed again
and again, in one the runner, in one both. Each command writes marks into a file. The tests compare
the marks with the record of each machine.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pycron.model.run import AttemptKey, RunKey
from pycron.system import unix_sockets
from tests.support.failpoints import Failpoint, KilledProgram, failpoints
from tests.support.remaining_processes import works_in
from tests.support.running_daemon import PYTHON, RunningDaemon, alive
from tests.support.running_runner import starters_of
from tests.support.thoroughness import number_of
from tests.support.waiting import until

# How many times each victim dies
KILLS = number_of(quick=4, thorough=200)  # of each of the three victims

pytestmark = pytest.mark.xdist_group("machine")

# The system calls before which the daemon is killed, and the highest count of each call.
DAEMON = {
    "pwrite64": 300,  # the store's writes
    "fdatasync": 30,
    "fcntl": 200,  # its locks
    "sendto": 20,  # messages
    "recvfrom": 25,
    "write": 100,  # the log
    "epoll_wait": 40,
}
# The same for the start of a runner, which the daemon does.
NO_RUNNER = {"unlink": 4, "bind": 2, "connect": 3, "clone,clone3,vfork": 1}
RUNNER = {
    "clone,clone3,vfork": 80,  # spawns
    "rt_sigprocmask": 160,  # the last call before a spawn and the first call after it
    "pipe2": 80,
    "wait4": 120,
    "sendto": 100,  # messages
    "recvfrom": 60,
    "write": 60,  # what commands print
    "epoll_wait": 100,
    "close": 400,
}
# A victim that does not reach its failpoint is killed after PATIENCE seconds. Before it has had
# WORK seconds of a processor, it lives on, so that it gets as far on a slow machine.
PATIENCE, MOST_PATIENCE = 1.5, 20
WORK = 0.5

KILL_A_STARTER = 0.05  # chance, each time that a runner is looked at, to kill a starter of it

RUNNING = 50
POOL = 3
CONFIG = f"[limits]\nrunning = {RUNNING}\n[pools]\nnarrow = {POOL}\n"
RETRIES = 2
LEAST_DELAY = 1.0  # seconds: CRON_RETRY_DELAY is 1, and CRON_RETRY_JITTER makes it longer
ENOUGH = 70  # kills, with which every kind of call is reached

CUT_SHORT = "killed while it was being started"
REPLACED = "replaced by the next fire time"
SUPERSEDED = {
    "the next fire time came before the retry",
    "the next fire time has come: no retry",
}
TERMINATED = 143  # exit status of a command that ends because of SIGTERM

Row = dict[str, Any]
End = tuple[str, int | None, int | None]  # outcome, exit status, signal


def mark(word: str, *more: object) -> str:
    """A shell command that appends a mark to the file of all marks, in one write."""
    return f"echo {word} $CRON_RUN_ID.$CRON_ATTEMPT {' '.join(map(str, more))} >>$MARKS"


@dataclass(frozen=True)
class Kind:
    """Jobs with the same settings. They take the intervals and durations (seconds) in turn.

    status: the exit status of the command, or the negative number of the signal that ends it.
    most: how many Attempts of one Job may run at once.
    ended: the outcome of an Attempt that gets SIGTERM.
    unbegun: the outcome of a Run without an Attempt, and a part of its reason.
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
    ended: str | None = None
    unbegun: tuple[str, str] | None = None

    def interval(self, number: int) -> int:
        return self.every[number % len(self.every)]

    def lines(self) -> Iterator[str]:
        for number in range(self.jobs):
            interval = self.interval(number)
            # A Job without a star in its first two fields is fixed: the daemon plans it apart.
            schedule = "0-59 0-23 * * *" if interval == _MINUTE else f"@every {interval}s"
            command = self._command(self.seconds[number % len(self.seconds)])
            yield f"CRON_NAME={self.name}-{number} {self.settings} {schedule} {command}\n"

    def _command(self, seconds: float) -> str:
        begin = f"{mark('start')}; echo $CRON_RUN_ID;"
        if self.ended is None:
            ending = f"exit {self.status}" if self.status >= 0 else f"kill {self.status} $$"
            return f"{begin} sleep {seconds}; {mark('end', self.status)}; {ending}"
        # After its sleep, the command ignores SIGTERM: so it leaves one mark of its end.
        trap = f"trap '{mark('end', TERMINATED)}; exit {TERMINATED}' TERM;"
        return f"{trap} {begin} sleep {seconds} & wait; trap '' TERM; {mark('end', 0)}"

    def ends(self, marks: list[str]) -> list[End]:
        """The possible ends of an Attempt whose command has left these marks."""
        if marks == ["start", f"end {self.status}"] and self.ended != "timed_out":
            if self.status < 0:
                return [("killed", None, -self.status)]
            own = "failed" if self.status else "succeeded"
            # It may have got SIGTERM when it ignored the signal already.
            return [(outcome, self.status, None) for outcome in (own, self.ended) if outcome]
        if self.ended is None:
            return []
        if marks in (["start", f"end {TERMINATED}"], [f"end {TERMINATED}"]):
            return [(self.ended, TERMINATED, None)]
        if not marks:  # it got SIGTERM before it could set its trap, or was never started
            never = [("cancelled", None, None)] if self.ended == "cancelled" else []
            return [(self.ended, None, signal.SIGTERM), *never]
        return []


_MINUTE = 60
_RETRIES = f"CRON_RETRIES={RETRIES} CRON_RETRY_DELAY=1s CRON_RETRY_BACKOFF=1"
_HOOK = f"CRON_ON_FAILURE='{mark('hook', '$CRON_FAILED_RUN_ID')}'"
_FORBIDDEN = ("skipped", "(CRON_CONCURRENCY=forbid)")
KINDS = (
    Kind("short", 40, (2, 3, 4, 5), (0,)),
    Kind("long", 30, (3, 4, 5), (0.1, 0.4, 1, 1.7, 3)),
    Kind("fixed", 20, (_MINUTE,), (0, 0.4, 3)),
    Kind("signal", 5, (5,), (0,), status=-9),
    Kind("jitter", 15, (3, 5), (0.1,), "CRON_JITTER=2s"),
    Kind("failing", 20, (5, 6, 7), (0, 0.3), f"{_RETRIES} CRON_RETRY_UNTIL=never {_HOOK}",
         status=3, most=1, retries=RETRIES, unbegun=_FORBIDDEN),
    Kind("next", 12, (3, 4, 5), (0, 0.3), f"{_RETRIES} {_HOOK}",
         status=3, most=1, retries=RETRIES, unbegun=_FORBIDDEN),
    Kind("forbid", 12, (1, 2), (0.3, 1.4), "CRON_CONCURRENCY=forbid", most=1, unbegun=_FORBIDDEN),
    Kind("queue", 12, (2, 3), (0.2, 2.5), "CRON_CONCURRENCY=queue", most=1,
         unbegun=("skipped", "(CRON_CONCURRENCY=queue)")),
    Kind("replace", 10, (2, 3), (0.2, 2.5, 10), "CRON_CONCURRENCY=replace", most=1,
         ended="cancelled", unbegun=("skipped", REPLACED)),
    # On a slow machine and without a deadline, its Runs would start minutes late at the end. They
    # go first: else most of them would be too late there, and the limit would never be reached.
    Kind("two", 6, (1, 2), (0.6, 2.2),
         "CRON_MAX_RUNNING=2 CRON_START_DEADLINE=20s CRON_PRIORITY=1", most=2,
         unbegun=("missed", "seconds late; CRON_START_DEADLINE is 20")),
    Kind("timeout", 6, (5,), (20,), "CRON_TIMEOUT=1s", ended="timed_out"),
    Kind("pool", 12, (4, 5), (0.2, 0.4), "CRON_POOL=narrow", pool=True),
    Kind("late", 6, (5,), (0.2,), "CRON_POOL=narrow CRON_PRIORITY=-1 CRON_START_DEADLINE=1s",
         pool=True, unbegun=("missed", "seconds late; CRON_START_DEADLINE is 1")),
)  # fmt: skip
KIND = {kind.name: kind for kind in KINDS}


def is_hook(job: str) -> bool:
    return ":" in job


def kind_of(job: str) -> Kind:
    return KIND[job.partition("-")[0]]


class Machine:
    """A daemon and its runner on one state directory. One or both are killed again and again."""

    def __init__(self, directory: Path, victim: str) -> None:
        self.state = directory / "state"
        self.directory = directory
        self.marks = directory / "marks"
        self.marks.touch()
        self.hit_starters: list[int] = []
        self._abandoned = False
        lines = [f"MARKS={self.marks}\n", *(line for kind in KINDS for line in kind.lines())]
        (directory / "table").write_text("".join(lines))
        (directory / "config").write_text(CONFIG)
        self._chance = chance = random.Random(victim)
        of_daemon = DAEMON | NO_RUNNER if victim == "both" else DAEMON
        self.killed_daemons = KilledProgram(
            directory / "daemons", failpoints(chance, of_daemon, KILLS * (victim != "runner"))
        )
        self.killed_runners = KilledProgram(
            directory / "runners", failpoints(chance, RUNNER, KILLS * (victim != "daemon")),
            program=PYTHON,
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
        """PYTHONPATH of the daemon. With it, the daemon starts the runner through the script of
        killed_runners.
        """
        custom = self.directory / "custom"
        custom.mkdir()
        (custom / "sitecustomize.py").write_text(
            f"import sys\nsys.executable = {str(self.killed_runners.script)!r}\n"
        )
        return os.pathsep.join(filter(None, [str(custom), os.environ.get("PYTHONPATH")]))

    def start(self) -> RunningDaemon:
        """Start a daemon with a new log: the log of a killed daemon may end within a line."""
        self._starts += 1
        return RunningDaemon(
            ["--foreground", "--table", self.directory / "table",
             "--config", self.directory / "config", "--state-dir", self.state],
            self.directory / f"log{self._starts}",
            prefix=[str(self.killed_daemons.script)],
            env=self._environment,
        )  # fmt: skip

    def _keep_up(self) -> None:
        """Start the daemon again if it has ended, as a service manager would."""
        assert not self._abandoned
        if self.daemon.process.poll() is not None:
            self.daemon = self.start()

    def run_with_kills(self) -> int:
        """Run and kill KILLS times, then run once more to the end.

        Returns the instant up to which everything is on record.
        """
        for number in range(1, KILLS + 1):
            self.kill(number)
        last = self.run_without_kills()
        until(lambda: self.has_come_to(last), patience=300)
        self.stop()
        return last

    def kill(self, number: int) -> None:
        """Kill the victims for the `number`-th time: one at its failpoint, then the other."""
        first = self._victims[0]
        until(lambda: self._starts_of(first) >= number, patience=30)
        if not self._one_is_killed(number):
            first.kill()
        if len(self._victims) > 1:
            until(self._all_are_dead)

    def _one_is_killed(self, number: int) -> bool:
        """Wait for the death of a victim, until the first one has lived for long enough.

        A new start counts as well: the daemon may have started the next runner already.
        """
        first = self._victims[0]
        seen = {first}
        began = time.monotonic()
        while not self._has_lived_enough(first, time.monotonic() - began):
            alive = {victim for victim in self._victims if victim.alive}
            if seen - alive or first.starts() > number:
                return True
            seen |= alive
            if self.killed_runners in alive and self._chance.random() < KILL_A_STARTER:
                self._kill_a_starter()
            time.sleep(0.005)
        return False

    def _has_lived_enough(self, victim: KilledProgram, seconds: float) -> bool:
        if seconds < PATIENCE:
            return False
        return seconds >= MOST_PATIENCE or victim.cpu_seconds >= WORK

    def _kill_a_starter(self) -> None:
        """Kill one of the starters that the runner has at the moment."""
        runner = self.killed_runners.pid
        starters = starters_of(runner)
        if not starters:
            return
        starter = self._chance.choice(starters)
        with suppress(OSError):  # it has ended
            handle = os.pidfd_open(starter)
            try:
                if starter in starters_of(runner):  # the pid is not reused
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    self.hit_starters.append(starter)
            finally:
                os.close(handle)

    def _all_are_dead(self) -> bool:
        """Kill the victims that are alive: a runner may just have been started."""
        for victim in self._victims:
            victim.kill()
        return not any(victim.alive for victim in self._victims)

    def _starts_of(self, victim: KilledProgram) -> int:
        self._keep_up()
        return victim.starts()

    def run_without_kills(self) -> int:
        """Stop killing. Returns an instant before which all short intervals are over."""
        for victim in self._victims:
            victim.stop_killing()
        # A slow machine takes seconds until a daemon is at work again.
        now = time.time()
        until(lambda: self._cursor() > now, patience=60)
        intervals = {every for kind in KINDS for every in kind.every} - {_MINUTE}
        return int(time.time()) + max(intervals) + 1

    def _cursor(self) -> float:
        """The instant up to which the daemon has recorded what was due; 0 without a record."""
        self._keep_up()
        try:
            rows = self.rows("SELECT value FROM meta WHERE key = 'cursor'")
        except sqlite3.OperationalError:  # no daemon has lived until it created the table
            return 0
        return min(json.loads(rows[0]["value"])[:2]) if rows else 0

    def stop(self) -> None:
        """End the daemon. Commands that run may end, and no other Run begins."""
        self.daemon.signal(signal.SIGTERM)
        assert self.daemon.wait() == 0

    def has_come_to(self, instant: int) -> bool:
        """Whether all Runs that were due by then are on record and have ended."""
        alive = "SELECT 1 FROM runs WHERE fire_time <= ? AND outcome IS NULL LIMIT 1"
        return self._cursor() >= instant and not self.rows(alive, instant)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add the state of the machine to the message of a failure."""
        try:
            yield
        except AssertionError as error:
            error.add_note("\n".join(self._state_now()))
            raise

    def _state_now(self) -> Iterator[str]:
        yield f"in {self.directory}, after {self._starts} daemons, the last of which said"
        log = (self.directory / f"log{self._starts}").read_text().splitlines()
        yield from [line for line in log if "attempt" not in line][-20:]
        yield "processes"
        for process in self.processes():
            with suppress(OSError):
                yield (Path(f"/proc/{process}/stat")).read_text().strip()
                yield f"    {Path(f'/proc/{process}/cmdline').read_text().split(chr(0))}"
        yield "Runs without an end, the first ones"
        alive = (
            "SELECT jobs.name, runs.*, attempts.* FROM runs JOIN jobs ON jobs.number = runs.job"
            " LEFT JOIN attempts ON attempts.run = runs.number"
            " WHERE runs.outcome IS NULL ORDER BY fire_time LIMIT 20"
        )
        yield from map(str, self.rows(alive))

    def abandon(self) -> None:
        """Make run_with_kills() fail instead of starting another daemon."""
        self._abandoned = True

    def end(self) -> None:
        """Kill all processes of this machine."""
        until(lambda: not self._kill_all(), patience=30)
        self.daemon.wait()

    def _kill_all(self) -> list[int]:
        """Kill the processes and return their pids: they may just have started others."""
        found = self.processes()
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return found

    # ---- the evidence

    def rows(self, query: str, *values: object) -> list[Row]:
        with closing(sqlite3.connect(self.state / "pycron.db", timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, values)]

    def processes(self) -> list[int]:
        """All processes with an open file in this directory, or its name in their environment."""
        return [
            int(process.name)
            for process in Path("/proc").glob("[0-9]*")
            if works_in(self.directory, process)
        ]


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
VICTIMS = ("daemon", "runner", "both")


@pytest.fixture(scope="module")
def trials(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, tuple[Machine, Future[int]]]]:
    """For each victim its machine, and the future result of run_with_kills()."""
    machines: dict[str, Machine] = {}
    with ExitStack() as ends, ThreadPoolExecutor(len(VICTIMS)) as threads:
        try:
            for victim in VICTIMS:
                machines[victim] = Machine(tmp_path_factory.mktemp(victim), victim)
                ends.callback(machines[victim].end)
            yield {
                victim: (machine, threads.submit(machine.run_with_kills))
                for victim, machine in machines.items()
            }
        finally:
            for machine in machines.values():
                machine.abandon()


class Evidence:
    """The record of the Runs that were due by an instant, and the marks of their commands."""

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
        self.short_outputs: dict[str, str] = {
            f"{ids[row['run']]}.{row['number']}": row["data"].decode()
            for row in machine.rows("SELECT * FROM outputs")
            if row["run"] in ids
        }
        self.gaps = machine.rows("SELECT * FROM gaps")
        self.output = machine.state / "output"
        # Marks of Runs that were due later are left out.
        marks = [line.split() for line in machine.marks.read_text().splitlines()]
        self.marks = [mark for mark in marks if _fire_time(mark[1]) <= until]
        self._marks_of: dict[str, list[str]] = {}
        for word, attempt, *more in self.marks:
            self._marks_of.setdefault(attempt, []).append(" ".join([word, *more]))

    def of_kind(self, kind: Kind) -> dict[str, Row]:
        """The Runs of the Jobs of a kind, without those of their failure hooks."""
        return {
            run_id: run
            for run_id, run in self.runs.items()
            if kind_of(run["name"]) is kind and not is_hook(run["name"])
        }

    def job_of(self, attempt: str) -> str:
        name: str = self.runs[_run_of(attempt)]["name"]
        return name

    def attempts_of(self, run_id: str) -> list[Row]:
        names = [f"{run_id}.{number}" for number in range(1, 3 + RETRIES)]
        return [self.attempts[name] for name in names if name in self.attempts]

    @property
    def lost(self) -> set[str]:
        return {name for name, attempt in self.attempts.items() if attempt["outcome"] == "lost"}

    @property
    def cut_short(self) -> set[str]:
        """Attempts whose starter was killed during the start: their commands may have begun."""
        return {
            name
            for name, attempt in self.attempts.items()
            if attempt["signal"] == signal.SIGKILL and attempt["reason"] in (CUT_SHORT, REPLACED)
        }

    def marked(self, word: str) -> Counter[str]:
        return Counter(mark[1] for mark in self.marks if mark[0] == word)

    def marks_of(self, attempt: str) -> list[str]:
        """The marks of an Attempt, in their order."""
        return self._marks_of.get(attempt, [])

    def about(self, *names: str) -> str:
        """The evidence about these Runs, or about the Runs of these Attempts, as text."""
        return "\n".join(line for name in names for line in self._all_about(_run_of(name)))

    def _all_about(self, run_id: str) -> Iterator[str]:
        yield f"\n{run_id}: {self.runs.get(run_id)}"
        for attempt in self.attempts_of(run_id):
            yield f"    {attempt}"
        for mark in self.marks:
            if _run_of(mark[1]) == run_id:
                yield f"    {' '.join(mark)}"


def _run_of(name: str) -> str:
    """The run_id in the name of an Attempt. A run_id is returned unchanged."""
    return name.partition(".")[0]


def _fire_time(attempt: str) -> int:
    return AttemptKey.parse(attempt).run.fire_time


def check_nothing_twice(evidence: Evidence) -> None:
    """No Attempt was started twice, and none without a record."""
    for word in ("start", "hook"):
        started = evidence.marked(word)
        twice = [attempt for attempt, times in started.items() if times > 1]
        assert not twice, evidence.about(*twice)
        unknown = set(started) - set(evidence.attempts)
        assert not unknown, evidence.about(*unknown)


def check_nothing_lost(evidence: Evidence) -> None:
    """Every fire time from the first one on has its Run, or lies in a recorded gap.

    If the machine stands still for minutes, it may have both: a daemon is killed while it makes up
    for the time, and the next one records the whole stretch as a gap.
    """
    first = min(run["fire_time"] for run in evidence.runs.values())  # some are due each second
    passed_over = {
        (second, bool(gap["wall"]))
        for gap in evidence.gaps
        for second in range(gap["after"] + 1, gap["until"] + 1)
    }
    found = Counter(
        (run["name"], run["fire_time"])
        for run in evidence.runs.values()
        if not is_hook(run["name"])
    )
    due = Counter(
        (f"{kind.name}-{number}", second)
        for second in range(first, evidence.until + 1)
        for kind in KINDS
        for number in range(kind.jobs)
        if second % kind.interval(number) == 0
    )
    lost = sorted(
        (job, second)
        for job, second in due - found
        if (second, kind_of(job).interval(int(job.partition("-")[2])) != _MINUTE) not in passed_over
    )
    where = f"between {first} and {evidence.until}, but for {evidence.gaps}"
    assert not lost, f"lost {where}: {lost}"
    assert not found - due, f"not due {where}, or not so often: {sorted(found - due)}"


def check_ends(evidence: Evidence) -> None:
    """Every Run has the Outcome of its last Attempt, or a reason why it had no Attempt."""
    for run_id, run in evidence.runs.items():
        attempts = evidence.attempts_of(run_id)
        if attempts:
            assert run["outcome"] == attempts[-1]["outcome"], evidence.about(run_id)
            continue
        unbegun = kind_of(run["name"]).unbegun
        assert unbegun is not None, evidence.about(run_id)
        outcome, reason = unbegun
        assert run["outcome"] == outcome, evidence.about(run_id)
        assert reason in run["reason"], evidence.about(run_id)


def check_exit_statuses(evidence: Evidence) -> None:
    """The recorded exit status and output of each Attempt are those of its command."""
    apart = evidence.lost | evidence.cut_short
    for name, attempt in evidence.attempts.items():
        if name in apart:
            continue
        job, said = evidence.job_of(name), evidence.marks_of(name)
        end = attempt["outcome"], attempt["exit_status"], attempt["signal"]
        if is_hook(job):
            assert end == ("succeeded", 0, None), evidence.about(name)
            assert len(said) == 1, evidence.about(name)
            continue
        kind = kind_of(job)
        assert end in kind.ends(said), evidence.about(name)
        if attempt["pid"] is not None:
            assert attempt["started"] <= attempt["ended"], evidence.about(name)
        whole = f"{_run_of(name)}\n"
        by_itself = said == ["start", f"end {kind.status}"]
        assert _output(evidence, name) in ([whole] if by_itself else [whole, ""]), evidence.about(
            name
        )


def _output(evidence: Evidence, attempt: str) -> str:
    if attempt in evidence.short_outputs:
        return evidence.short_outputs[attempt]
    day = time.strftime("%Y-%m-%d", time.gmtime(_fire_time(attempt)))
    try:
        return (evidence.output / day / f"{attempt}.log").read_text()
    except FileNotFoundError:
        return ""


def check_lost_and_cut_short(evidence: Evidence, hit_starters: Iterable[int]) -> None:
    """A lost Attempt has no exit status. A killed starter cuts at most one Attempt short."""
    for name in evidence.lost:
        attempt = evidence.attempts[name]
        assert (attempt["exit_status"], attempt["signal"]) == (None, None), evidence.about(name)
        assert attempt["reason"], evidence.about(name)
    for name in evidence.cut_short:
        expected = "cancelled" if evidence.attempts[name]["reason"] == REPLACED else "killed"
        assert evidence.attempts[name]["outcome"] == expected, evidence.about(name)
    by_starter = Counter(evidence.attempts[name]["pid"] for name in evidence.cut_short)
    assert by_starter <= Counter(hit_starters), evidence.about(*evidence.cut_short)


def check_retries_and_hooks(evidence: Evidence) -> None:
    """A failed Run was tried as often as the table says, and its failure hook has run once."""
    hooks = Counter(
        (run["name"], run["fire_time"]) for run in evidence.runs.values() if is_hook(run["name"])
    )
    failed = {
        run_id: run
        for kind in KINDS
        for run_id, run in evidence.of_kind(kind).items()
        if kind.retries and evidence.attempts_of(run_id)
    }
    assert hooks == Counter(
        (f"{run['name']}:on-failure", run["fire_time"]) for run in failed.values()
    )
    for run_id, run in failed.items():
        attempts = evidence.attempts_of(run_id)
        numbers = [attempt["number"] for attempt in attempts]
        assert numbers == list(range(1, 1 + len(numbers))), evidence.about(run_id)
        all_tried = len(numbers) == 1 + RETRIES
        assert run["dead"] == all_tried, evidence.about(run_id)
        if not all_tried:
            assert kind_of(run["name"]) is KIND["next"], evidence.about(run_id)
            # Without such a reason, the record gives the reason of the last Attempt.
            reasons = SUPERSEDED | {attempts[-1]["reason"]}
            assert run["reason"] in reasons - {None}, evidence.about(run_id)
    told = Counter(mark[2] for mark in evidence.marks if mark[0] == "hook")
    assert not [run_id for run_id, times in told.items() if times > 1]
    assert set(told) <= set(failed)


def check_retry_times(evidence: Evidence) -> None:
    """No retry begins before its delay is over. The end of a lost Attempt is not known."""
    for run_id in evidence.runs:
        attempts = evidence.attempts_of(run_id)
        for before, after in pairwise(attempts):
            if before["outcome"] != "lost" and after["started"] is not None:
                delay = after["started"] - before["ended"]
                assert delay >= LEAST_DELAY, evidence.about(run_id)


def check_limits(evidence: Evidence) -> None:
    """No limit was ever exceeded by the Attempts of which the daemon could know.

    The marks are in the order in which the commands wrote them, and a command runs longer than
    from its first mark to its last: so this check depends on no clock.
    """
    known = set(evidence.marked("start")) - evidence.lost - evidence.cut_short
    running: dict[str, list[str]] = defaultdict(list)
    most: dict[str, list[str]] = defaultdict(list)
    for word, attempt, *_ in evidence.marks:
        if attempt not in known:
            continue
        job = evidence.job_of(attempt)
        for group in ("all", "pool" if kind_of(job).pool else "", job):
            if word == "start":
                running[group].append(attempt)
            else:
                running[group].remove(attempt)
            most[group] = max(most[group], running[group][:], key=len)
    print("running", len(most["all"]), "attempts", len(evidence.attempts))
    print("lost", len(evidence.lost), "cut short", len(evidence.cut_short))
    assert len(most["all"]) <= RUNNING, evidence.about(*most["all"])
    assert len(most["pool"]) <= POOL, evidence.about(*most["pool"])
    for kind in KINDS:
        for number in range(kind.jobs):
            attempts = most[f"{kind.name}-{number}"]
            assert kind.most is None or len(attempts) <= kind.most, evidence.about(*attempts)
    if KILLS >= ENOUGH:
        check_limits_were_reached(evidence, most)


def check_limits_were_reached(evidence: Evidence, most: dict[str, list[str]]) -> None:
    """Else the check that no limit was exceeded would prove nothing. Takes a long run."""
    assert len(most["pool"]) == POOL, evidence.about(*most["pool"])
    idle = []
    for kind in KINDS:
        reached = max((most[f"{kind.name}-{number}"] for number in range(kind.jobs)), key=len)
        # The order of the queue is not recorded. If daemons are killed as fast as their commands
        # end, on a slow machine, all Runs of a kind may wait until they are too late or replaced.
        if kind.most is not None and not reached:
            idle.append(kind.name)
            continue
        assert kind.most is None or len(reached) == kind.most, evidence.about(*reached)
    assert len(idle) <= 2, idle


def check_nothing_left(machine: Machine) -> None:
    """No process, no lock, and no listener at the runner's socket is left."""
    until(lambda: not machine.processes(), patience=30)
    with (machine.state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # In /proc, a process that ends has no files any more before it has closed them.
    until(lambda: not _has_a_listener(machine.state / "runner.sock"))


def _has_a_listener(socket: Path) -> bool:
    """Not to be asked while a runner is about to exit: it would stay for the connection."""
    try:
        unix_sockets.connect(str(socket), 1).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def check_every_call_was_hit(killed_program: KilledProgram, kinds: dict[str, int]) -> None:
    deaths = Counter(killed_program.killed_before())
    print("killed before", dict(deaths))
    if KILLS >= ENOUGH:
        assert not [calls for calls in kinds if not any(deaths[call] for call in calls.split(","))]


@needs_strace
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_before_every_kind_of_call(
    trials: dict[str, tuple[Machine, Future[int]]], victim: str
) -> None:
    machine, trial = trials[victim]
    with machine.explained():
        last = trial.result()
        check_nothing_left(machine)
    evidence = Evidence(machine, last)
    check_nothing_twice(evidence)
    check_nothing_lost(evidence)
    check_ends(evidence)
    check_exit_statuses(evidence)
    check_lost_and_cut_short(evidence, machine.hit_starters)
    check_retries_and_hooks(evidence)
    check_retry_times(evidence)
    check_limits(evidence)
    if victim == "daemon":  # the runner has lived and knows everything
        assert not evidence.lost, evidence.about(*evidence.lost)
        assert not machine.hit_starters
    else:
        print("starters hit", len(machine.hit_starters))
        if KILLS >= ENOUGH:
            assert machine.hit_starters
    if victim == "runner":
        check_every_call_was_hit(machine.killed_runners, RUNNER)
    else:
        check_every_call_was_hit(
            machine.killed_daemons, DAEMON if victim == "daemon" else NO_RUNNER
        )


@needs_strace
def test_a_recorded_attempt_that_no_runner_got_is_started(tmp_path: Path) -> None:
    """The next daemon starts it, although no runner is left: the old runner had no commands."""
    marks = tmp_path / "marks"
    table = tmp_path / "table"
    table.write_text(f"@every 3s echo $CRON_RUN_ID >>{marks}\n")
    before_the_first_start = Failpoint("sendto", 2)  # the first message is the hello
    killed_program = KilledProgram(tmp_path / "doomed", [before_the_first_start])
    arguments: list[str | Path] = ["--foreground", "--table", table]
    arguments += ["--state-dir", tmp_path / "state"]
    killed = RunningDaemon(arguments, tmp_path / "log1", prefix=[str(killed_program.script)])
    runner = killed.wait_for("runner_started")["pid"]
    killed.wait()
    assert killed_program.killed_before() == ["sendto"]
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
