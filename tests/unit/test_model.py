"""Random histories of one machine: daemons and runners crash, clocks jump, tables change.

The daemon's own Turn (pycron/daemon/turn.py) drives the real engine. Its ports lead to fakes:
dictionaries that stand for the store and the runner. After each step the test checks that no
Attempt has started twice, that no Run is lost, and that each Run is told as its entry says.
"""

import datetime
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from unittest import TestCase
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.daemon.turn import Turn
from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordDiscarded,
    RecordEnded,
    RecordFailing,
    RecordGap,
    RecordNotStarted,
    RecordPause,
    RecordRefused,
    RecordResume,
    RecordRevived,
    RecordRun,
    RecordRunner,
    RecordStarted,
    RecordTakenUp,
    RecordWithdrawn,
    Release,
    RunnerAction,
    Start,
    Stop,
    Withdraw,
)
from pycron.engine.attempts import LONGEST_RELEASE_AHEAD
from pycron.engine.cursor import Cursor, Gap, handed_out_after, starting_cursor, starting_gaps
from pycron.engine.deliveries import DeliveryState
from pycron.engine.delivery_jobs import (
    MAIL_POOL,
    MAIL_VARIABLES,
    failure_hook,
    failure_hook_id,
    message_settings,
    ping_start_id,
)
from pycron.engine.delivery_rules import DeliveryRules, NotificationRule
from pycron.engine.engine import Engine
from pycron.engine.events import (
    Booted,
    CancelledByHand,
    ConfigChanged,
    Ended,
    InputEvent,
    Lost,
    NeverStarted,
    Now,
    PauseBegan,
    PauseEnded,
    Redriven,
    Refused,
    Resumed,
    RunnerMet,
    SkippedFollower,
    Started,
    StartedByHand,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
    ZonesChanged,
)
from pycron.engine.limits import Limits, Pressure, PressureLimits, reserved
from pycron.engine.mail_hours import MailHour
from pycron.engine.refusals import RefusedRange
from pycron.engine.retries import is_retryable, retry_delay
from pycron.engine.start_times import start_delay
from pycron.engine.states import State
from pycron.model.delivery import Delivery, DeliveryKind, Occasion
from pycron.model.job import Job, Source
from pycron.model.pause import ALL, Pause, Scope
from pycron.model.run import AttemptKey, Cause, Ending, Outcome, Redrive, RunKey
from pycron.model.settings import MailOn, Settings, job_limit
from pycron.schedule.day_rules import Calendar
from pycron.schedule.expressions import After, Reboot
from pycron.schedule.fire_times import fire_times, follows_the_wall
from pycron.schedule.zone import UTC, Zone
from tests.support.thoroughness import number_of

LIVES = number_of(quick=10, thorough=3000)

BEGIN = 1_772_949_600.0  # 2026-03-08T06:00:00Z, an hour before the gap in New York
HOST = "host"
SLICE = 2  # Runs that come to be in one Tick: so few that the daemon is killed between two parts
MOST_IDLE_TICKS = 3  # that a wakeup may lead to besides those that take up a part
BY_HAND = 1000  # the first pass number of Runs that were started by hand
MINUTE, HOUR, DAY = 60, 3600, 86_400

TABLES = {
    "alice": (
        "* * * * * minutely",
        "@every 90s every",
        "CRON_RETRIES=2 CRON_RETRY_DELAY=20s */5 * * * * retry",
        "CRON_JITTER=3m 10,40 * * * * jitter",
        "@reboot boot",
    ),
    "bob": (
        "CRON_CONCURRENCY=forbid * * * * * forbid",
        "CRON_CONCURRENCY=replace * * * * * replace",
        "CRON_CONCURRENCY=queue CRON_POOL=db * * * * * queue",
        "CRON_MAX_RUNNING=2 CRON_POOL=db */2 * * * * pool",
    ),
    "carol": (
        "CRON_START_DEADLINE=30s CRON_POOL=db 15,20 * * * * deadline",
        "CRON_CATCHUP=all CRON_TZ=America/New_York 30 2 * * * shifted",
        "CRON_CATCHUP=latest 0,20,40 5-8 * * * latest",
        "CRON_ON_FAILURE=oops CRON_RETRIES=1 CRON_RETRY_UNTIL=never 5,10 6-9 * * * hooked",
        "CRON_NAME=named CRON_RETRIES=2 CRON_RETRY_UNTIL=5m CRON_CONCURRENCY=allow"
        " */3 * * * * named",
    ),
    "dave": (
        "* * * * * prints",
        "CRON_MAIL_ON=change CRON_NOTIFY=ops */2 * * * * change",
        "CRON_RETRIES=1 CRON_RETRY_DELAY=20s CRON_EXPECT_WITHIN=90s */3 * * * * late prints",
        "CRON_MAIL_ON=always CRON_PING_URL=https://example.org/ping */2 * * * * ping",
    ),
    # What belongs together is one text: a table without the named Job would be bad.
    "erin": (
        "CRON_NAME=lead CRON_RETRIES=1 CRON_RETRY_DELAY=20s CRON_RETRY_UNTIL=5m */3 * * * * lead\n"
        "CRON_NAME=then @after lead then\n"
        "CRON_RETRIES=1 CRON_RETRY_DELAY=20s @after then last",
        "CRON_NAME=one CRON_CATCHUP=latest */20 5-8 * * * one\n"
        "CRON_NAME=two CRON_CATCHUP=all CRON_POOL=db */20 5-8 * * * two\n"
        "CRON_JITTER=3m @after one,two both",
        "CRON_NAME=often @every 200s often\n"
        "CRON_CONCURRENCY=queue CRON_EXPECT_WITHIN=90s @after often queue",
        "CRON_NAME=up @reboot up\n@after up booted",
        "CRON_EVERY=2d@2026-03-08 CRON_CATCHUP=all 5,35 * * * * every-other-day",
        "CRON_NAME=open CRON_EXCEPT=closed 7 * * * * open\n@after open opened",
    ),
}
CALENDARS = {"closed": Calendar("closed", "", lambda year: [datetime.date(year, 3, 9)])}
VARIABLES = {"dave": "MAILTO=dave\n"}
RULES = DeliveryRules(
    mail=True,
    to_owner=False,
    mails_per_hour=5,
    notifications={"ops": NotificationRule(frozenset({Occasion.FAILED, Occasion.RECOVERED}))},
)
EDITS = ("", "CRON_PRIORITY=3\n", "CRON_POOL=db\nCRON_MAX_RUNNING=1\n", "CRON_CONCURRENCY=queue\n")
LIMITS = (
    Limits(pools={"db": 1}),
    Limits(running=2, user_running=1, pools={"db": 1}),
    Limits(running=3, waiting=4, user_waiting=2, pools={MAIL_POOL: 1}),
    Limits(running=9, starts_per_second=2, pools={"db": 2}),
    Limits(running=5, user_starts_per_second=0.1, user_waiting=3, priority=9, pools={"db": 2}),
)
GATES = (PressureLimits(load=4.0), PressureLimits(), PressureLimits(load=20.0))
NEW_YORK = Zone("America/New_York", ZoneInfo("America/New_York"))
BERLIN = Zone("Europe/Berlin", ZoneInfo("Europe/Berlin"))


@cache
def table_of(name: str, chosen: tuple[int, ...], edit: str) -> Table:
    lines = [TABLES[name][number] for number in chosen]
    text = VARIABLES.get(name, "") + edit + "".join(f"{line}\n" for line in lines)
    table = parse(text, Source(name, name), ReaderContext(calendars=CALENDARS))
    assert not table.errors
    return table


# ---- the store


def gone(job: Job) -> Job:
    """A Job as the store returns it after its entry was removed; see storage/unfinished.py."""
    said = job.settings
    kept = Settings(
        pool=said.pool, kill_after=said.kill_after, retries=said.retries, mail_on=said.mail_on
    )
    if job.is_message:
        assert job.delivery is not None
        kept = message_settings(job.delivery)
    environment = tuple(each for each in job.environment if each[0] in MAIL_VARIABLES)
    return replace(job, schedule=Reboot(), environment=environment, settings=kept, flags="")


@dataclass
class RecordedAttempt:
    """A recorded Attempt; `printed`: how many bytes it printed."""

    pid: int | None = None
    started: float | None = None
    outcome: Outcome | None = None
    exit_status: int | None = None
    printed: int = 0


@dataclass
class RecordedRun:
    """A recorded Run; `by`: the user who started it by hand; `ended`: the wall clock then."""

    job: Job
    outcome: Outcome | None = None
    retry_at: float | None = None
    dead: bool = False
    by: str | None = None
    redrive: Redrive | None = None
    ended: float | None = None
    reason: str | None = None
    attempts: dict[int, RecordedAttempt] = field(default_factory=dict)

    def since(self, key: RunKey) -> float:
        """The UTC second from which CRON_RETRY_UNTIL counts."""
        return self.redrive.at if self.redrive else key.fire_time

    @property
    def last(self) -> int:
        """The highest Attempt number that this Run may have, by its recorded settings."""
        before = self.redrive.number if self.redrive else 0
        return before + 1 + self.job.settings.retries

    @property
    def last_tried(self) -> RecordedAttempt | None:
        """Its last Attempt; None without one since it came to be, or since it was redriven."""
        number = max(self.attempts, default=0)
        before = self.redrive.number if self.redrive else 0
        return self.attempts[number] if number > before else None


class FakeStore:
    """The records of pycron/storage, in dictionaries; asserts what SQLite's constraints refuse."""

    def __init__(self) -> None:
        self.runs: dict[RunKey, RecordedRun] = {}
        # The fire times of the Runs of each Job in order, without Runs started by hand.
        self.fire_times: defaultdict[str, list[int]] = defaultdict(list)
        self.gaps: list[Gap] = []
        self.refused: dict[tuple[str, int], RefusedRange] = {}
        self.pauses: dict[Scope, Pause] = {}
        self.cursor: Cursor | None = None
        self.runner: str | None = None
        self.boot: tuple[str, int, int] | None = None
        self.failing: set[str] = set()
        self.discarded: set[RunKey] = set()
        self.now = 0.0  # the wall clock, as the writer sees it
        # The highest cursors: True: of Jobs that follow the wall clock, False: of fixed Jobs
        self.furthest = {True: 0, False: 0}

    def write(self, records: Iterable[Record]) -> None:
        for record in records:
            self._write(record)

    def _write(self, record: Record) -> None:
        match record:
            case RecordRun():
                assert record.run not in self.runs, f"UNIQUE: {record.run}"
                assert record.run not in self.discarded, f"it is back: {record.run}"
                self.runs[record.run] = RecordedRun(
                    record.job, by=record.by, retry_at=record.planned
                )
                if record.by is None:
                    insort(self.fire_times[record.run.job_id], record.run.fire_time)
            case RecordAttempt():
                attempts = self.runs[record.attempt.run].attempts
                assert record.attempt.number not in attempts, f"UNIQUE: {record.attempt}"
                last = self.runs[record.attempt.run].last
                assert record.attempt.number <= last, f"too many: {record.attempt}"
                attempts[record.attempt.number] = RecordedAttempt()
            case RecordStarted():
                tried = self.tried(record.attempt)
                tried.pid, tried.started = record.pid, record.started
            case RecordEnded():
                self._write_end(record)
            case RecordWithdrawn():
                del self.runs[record.attempt.run].attempts[record.attempt.number]
            case RecordNotStarted():
                self._end_run(record.run, record.outcome, dead=record.dead)
                self.runs[record.run].reason = record.reason
            case RecordTakenUp():
                run = self.runs[record.run]
                assert run.outcome is Outcome.SKIPPED
                assert not run.attempts
                run.outcome = run.reason = None
            case RecordDiscarded():
                run = self.runs.pop(record.run)
                assert run.outcome is None
                assert not run.attempts
                self.discarded.add(record.run)
                if run.by is None:
                    self.fire_times[record.run.job_id].remove(record.run.fire_time)
            case RecordFailing():
                assert (record.job_id in self.failing) is not record.failing
                self.failing ^= {record.job_id}
            case RecordRevived():
                run = self.runs[record.run]
                assert run.dead
                run.outcome, run.dead = None, False
                run.redrive, run.retry_at = record.redrive, record.redrive.at
            case RecordCursor():
                self.cursor = record.cursor
                self.furthest[True] = max(self.furthest[True], record.cursor.wall)
                self.furthest[False] = max(self.furthest[False], record.cursor.fixed)
            case RecordGap():
                self.gaps.append(record.gap)
            case RecordRefused(refused):
                self.refused[refused.user, refused.after] = refused
            case RecordPause():
                self.pauses[record.pause.scope] = record.pause
            case RecordResume():
                del self.pauses[record.scope]
            case RecordBoot():
                self.boot = record.boot_id, record.second, record.pass_number
            case RecordRunner():
                self.runner = record.instance

    def _write_end(self, record: RecordEnded) -> None:
        tried = self.tried(record.attempt)
        assert tried.outcome is None, f"ended twice: {record.attempt}"
        tried.outcome = record.outcome
        tried.exit_status = record.ending.exit_status if record.ending else None
        tried.printed = record.ending.output_bytes if record.ending else 0
        if record.run_outcome is not None:
            self._end_run(record.attempt.run, record.run_outcome, dead=record.dead)
        else:
            self.runs[record.attempt.run].retry_at = record.retry_at

    def _end_run(self, key: RunKey, outcome: Outcome, *, dead: bool) -> None:
        run = self.runs[key]
        assert run.outcome is None, f"ended twice: {key}"
        run.outcome, run.dead, run.retry_at = outcome, dead, None
        run.ended = self.now

    def tried(self, attempt: AttemptKey) -> RecordedAttempt:
        return self.runs[attempt.run].attempts[attempt.number]

    def has(self, attempt: AttemptKey) -> bool:
        return attempt.run in self.runs and attempt.number in self.runs[attempt.run].attempts

    def latest(self, job_id: str) -> int | None:
        """The last fire time of a Job's Runs up to the cursor, without Runs started by hand."""
        reached = self.cursor.wall if self.cursor else 0
        times = self.fire_times.get(job_id, [])
        place = bisect_right(times, reached)
        return times[place - 1] if place else None

    def unfinished(self) -> Iterator[tuple[RunKey, RecordedRun]]:
        yield from ((key, run) for key, run in self.runs.items() if run.outcome is None)

    def done_after(self, instant: int) -> dict[RunKey, Outcome]:
        later = {key: run.outcome for key, run in self.runs.items() if key.fire_time > instant}
        return {key: outcome for key, outcome in later.items() if outcome}

    def awaited(self, key: RunKey, job: Job) -> dict[str, Outcome]:
        """By id, how the Runs have ended that the Run of an @after Job waits for."""
        if not isinstance(job.schedule, After):
            return {}
        runs = {each: self.runs.get(key._replace(job_id=each)) for each in job.schedule.job_ids}
        return {job_id: run.outcome for job_id, run in runs.items() if run and run.outcome}

    def boots_in(self, second: int) -> int:
        return self.boot[2] + 1 if self.boot and self.boot[1] == second else 0

    def mail_hours(self, now: int) -> dict[str, MailHour]:
        """By Job id, the mails of the hour before a UTC second."""
        times: dict[str, list[int]] = defaultdict(list)
        for key, run in self.runs.items():
            delivery = run.job.delivery
            is_mail = delivery is not None and delivery.kind is DeliveryKind.MAIL
            if is_mail and key.fire_time > now - HOUR and run.outcome is not Outcome.SKIPPED:
                times[delivery_of(run.job).job_id].append(key.fire_time)
        return {job_id: MailHour(min(each), len(each)) for job_id, each in times.items()}


# ---- deliveries


def delivery_of(job: Job) -> Delivery:
    assert job.delivery is not None
    return job.delivery


def told_by(key: RunKey, job: Job) -> RunKey:
    """The Run that the Run of a delivery tells about."""
    return key._replace(job_id=delivery_of(job).job_id)


class DeliveryOracle:
    """What each end of a Run leads to, by what crontab(5) and the manual say about its settings.

    It sees what is written, so it knows what a killed daemon has decided and not written: nothing.
    `failing`: whether the last Run of each Job has failed.
    """

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self._failing: dict[str, bool] = defaultdict(bool)
        self._late: dict[RunKey, RunKey] = {}  # by Run: the mail that says that it is late

    def check(self, records: Sequence[Record], may_say_less: Callable[[RunKey], bool]) -> None:
        """These records were written in one transaction. Each Run is told as soon as it ends.

        `may_say_less`: whether it does not matter that the daemon does not know the whole entry of
        a Run any more, or that the clock was set back since the Run was said to be late.
        """
        told: dict[RunKey, list[str]] = defaultdict(list)
        for record in records:
            if isinstance(record, RecordRun) and record.job.delivery is not None:
                self._take_delivery(record, told)
            elif isinstance(record, RecordNotStarted):
                self._check_summed_up(record)
        for key in _ends(records):
            least, most = self._expected(key)
            found = set(told[key])
            assert len(found) == len(told.pop(key)), f"told twice: {key}"
            if not may_say_less(key):
                least = most
            assert found in (least, most) or least <= found <= most, (key, found, least, most)
        assert not any(told.values()), f"told without an end: {told}"

    def _take_delivery(self, record: RecordRun, told: dict[RunKey, list[str]]) -> None:
        delivery, about = delivery_of(record.job), told_by(record.run, record.job)
        assert about in self._store.runs, f"tells about nothing: {record.run}"
        assert self._store.runs[about].job.delivery is None, f"tells about itself: {record.run}"
        if delivery.occasion is Occasion.LATE:
            self._late[about] = record.run
        elif record.job.is_message and delivery.occasion not in (
            Occasion.STARTED, Occasion.SUMMARY
        ):  # fmt: skip
            told[about].append(f"{delivery.kind} {delivery.occasion}")

    def _check_summed_up(self, record: RecordNotStarted) -> None:
        """A Run that is to be summed up has its place in a mail that is still to be sent."""
        reason, _, run_id = record.reason.rpartition(" ")
        if reason != "summed up in":
            return
        summary = self._store.runs[RunKey.parse(run_id)]
        assert delivery_of(summary.job).occasion is Occasion.SUMMARY
        assert summary.outcome is None, f"not in a mail: {record.run}"
        assert not summary.attempts, f"in a mail that was sent before: {record.run}"

    def _expected(self, key: RunKey) -> tuple[set[str], set[str]]:
        """What has to be told about the end of a Run, and what may be told besides."""
        run = self._store.runs[key]
        last, said, again = run.last_tried, run.job.settings, run.redrive is not None
        succeeded = run.outcome is Outcome.SUCCEEDED
        failed = not succeeded and run.outcome not in (Outcome.SKIPPED, Outcome.CANCELLED)
        if run.job.delivery is not None or last is None or (again and failed):
            return set(), set()
        late = succeeded and self._late.get(key) in self._store.runs
        turned = (succeeded or failed) and failed is not self._failing[key.job_id]
        if turned and (said.mail_on is MailOn.CHANGE or said.notify):
            self._failing[key.job_id] = failed
        least = _mails(run.job, last, failed=failed, turned=turned)
        most = {"mail recovered"} if late and least is not None else least or set()
        if said.notify and failed:
            most = most | {"notification failed"}
        elif said.notify and turned:
            most = most | {"notification recovered"}
        if said.ping_url and not (again and not succeeded):
            most = most | {"ping succeeded" if succeeded else "ping failed"}
        return least or set(), most


def _ends(records: Sequence[Record]) -> Iterator[RunKey]:
    """The Runs that end by these records."""
    for record in records:
        if isinstance(record, RecordNotStarted):
            yield record.run
        elif isinstance(record, RecordEnded) and record.run_outcome is not None:
            yield record.attempt.run


def _mails(job: Job, last: RecordedAttempt, *, failed: bool, turned: bool) -> set[str] | None:
    """The mail about the end of a Run that is not late; None for a Job that sends no mail."""
    if "MAILTO" not in dict(job.environment):
        return None
    wanted = {
        MailOn.OUTPUT: last.printed > 0,
        MailOn.CHANGE: turned,
        MailOn.ALWAYS: True,
    }[job.settings.mail_on]
    if not wanted:
        return set()
    if job.settings.mail_on is MailOn.CHANGE and not failed:
        return {"mail recovered"}
    return {"mail failed" if failed else "mail output"}


# ---- the runner


@dataclass
class Command:
    """An Attempt as the runner knows it. `forced`: it was started without regard to the limits."""

    job: Job
    forced: bool
    pid: int | None = None
    started: float = 0.0
    ending: Ending | None = None
    refused: bool = False

    @property
    def over(self) -> bool:
        return self.ending is not None or self.refused


class FakeRunner:
    """The runner (pycron/runner), in dictionaries; `fork` starts its `accepted` Attempts.

    `begun`: every Attempt that any runner has started; all runners of a World share this set.
    """

    def __init__(self, instance: int, begun: set[AttemptKey]) -> None:
        self.instance = f"runner-{instance}"
        self.begun = begun
        self.held: dict[AttemptKey, None] = {}
        self.accepted: dict[AttemptKey, None] = {}
        self.commands: dict[AttemptKey, Command] = {}

    def start(self, attempt: AttemptKey, command: Command, *, hold: bool) -> None:
        if attempt not in self.commands:
            self.commands[attempt] = command
            (self.held if hold else self.accepted)[attempt] = None

    def go(self, attempt: AttemptKey) -> None:
        if attempt in self.held:
            del self.held[attempt]
            self.accepted[attempt] = None

    def drop(self, attempt: AttemptKey) -> None:
        if attempt in self.held:
            del self.held[attempt]
            del self.commands[attempt]

    def fork(self, now: float) -> list[AttemptKey]:
        """Start the accepted Attempts, which are returned."""
        started, self.accepted = list(self.accepted), {}
        for attempt in started:
            assert attempt not in self.begun, f"started twice: {attempt}"
            self.begun.add(attempt)
            self.commands[attempt].pid = len(self.begun)
            self.commands[attempt].started = now
        return started

    def daemon_gone(self) -> None:
        """The daemon has gone: drop the held Attempts; accepted Attempts will still start."""
        for attempt in self.held:
            del self.commands[attempt]
        self.held.clear()

    @property
    def running(self) -> list[AttemptKey]:
        found = self.commands.items()
        return [attempt for attempt, command in found if command.pid and not command.over]


class Crash(Exception):
    """The daemon is killed with SIGKILL."""


class FakeRecorder:
    """Recorder of ports.py; the daemon may be killed before and after each transaction."""

    behind = False
    unwritten = 0
    failure = None

    def __init__(self, world: "World") -> None:
        self._world = world

    def write(self, records: Sequence[Record]) -> None:
        self._world.step_towards_kill()
        self._world.store.now = self._world.wall
        self._world.store.write(records)
        self._world.oracle.check(records, self._world.may_say_less)
        self._world.step_towards_kill()

    def acknowledge(self, ended: Iterable[AttemptKey]) -> None:
        for attempt in ended:
            self._world.runner.commands.pop(attempt, None)


class FakeExecutor:
    """Executor of ports.py; the daemon may be killed after each message to the runner."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.ended: list[AttemptKey] = []

    def release(self, released: Sequence[Release]) -> None:
        self.perform(released)

    def perform(self, actions: Sequence[RunnerAction]) -> None:
        for action in actions:
            self._world.tell_runner(action)
            self._world.step_towards_kill()

    def take_ended(self) -> list[AttemptKey]:
        ended, self.ended = self.ended, []
        return ended


def count_of(things: Iterable[object]) -> int:
    return sum(1 for _ in things)


durations = st.sampled_from([0.001, 0.4, 1.0, 7.0, 29.5, 59.0, 60.0, 130.0, 299.0, 600.0])
steps = st.sampled_from([-DAY, -4 * HOUR, -3 * HOUR, -HOUR, -400, -90, -61, -30, -2, -0.3,
                         0.3, 5, 61, 299, 301, HOUR, 3 * HOUR, 4 * HOUR, DAY])  # fmt: skip
names = st.sampled_from(sorted(TABLES))
scopes = st.sampled_from([ALL, Scope.of_user("alice"), Scope.of_user("bob"), Scope.of_pool("db")])


class World(RuleBasedStateMachine):
    """One machine: clocks, tables, a store, a runner and, between its crashes, a daemon."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = BEGIN
        self.steady = 1000.0
        self.latest = BEGIN  # the latest wall clock time that any daemon has read
        self.zone = UTC
        self.store = FakeStore()
        self.oracle = DeliveryOracle(self.store)
        self.serial = count(1)
        self.begun: set[AttemptKey] = set()
        self.runner = FakeRunner(next(self.serial), self.begun)
        self.boot_id = "boot-1"
        self.files: dict[str, Table] = {}
        # By table and kind of Job: every fire time after this UTC second must have its Run.
        self.since: dict[str, dict[bool, int]] = {}
        self.engine: Engine | None = None
        self.turn: Turn | None = None
        self.executor = FakeExecutor(self)
        self.unread: list[AttemptKey] = []  # Attempts with a message that the daemon has not read
        self.steps_until_kill: int | None = None  # None: no kill is planned
        self.limits = LIMITS[0]
        self.gates = GATES[0]
        self.delivery_rules = RULES
        self.load = 1.0
        self.was_set_back = False
        self.checked: float | None = None  # the wall time of the last check of waiting Runs
        self.forced: set[RunKey] = set()
        self.handed_over_again: set[AttemptKey] = set()  # after NeverStarted

    def zone_of(self, name: str | None) -> Zone:
        return NEW_YORK if name == "America/New_York" else self.zone

    # ---- the daemon

    @initialize(limits=st.sampled_from(LIMITS), chosen=st.data())
    def first_start(self, limits: Limits, chosen: st.DataObject) -> None:
        self.limits = limits
        for name in chosen.draw(st.sets(names)):
            self.files[name] = table_of(name, tuple(range(len(TABLES[name]))), "")
            self.since[name] = {True: int(BEGIN), False: int(BEGIN)}
        self.start_daemon()

    def start_daemon(self) -> None:
        """Like Daemon.__init__ and Daemon._begin in daemon/daemon.py."""
        now = int(self.wall)
        cursor = starting_cursor(self.store.cursor, now)
        gaps = starting_gaps(self.store.cursor, now)
        self.engine = Engine(
            self.zone_of,
            cursor,
            gaps,
            HOST,
            self.limits,
            self.gates,
            list(self.store.pauses.values()),
            self.store.done_after(handed_out_after(cursor, gaps)),
            DeliveryState(
                self.delivery_rules, frozenset(self.store.failing), self.store.mail_hours(now)
            ),
            slice_runs=SLICE,
        )
        self.executor = FakeExecutor(self)
        self.turn = Turn(self.engine, FakeRecorder(self), self.executor, lambda _: None, self.now)
        self.unread = []
        with self.until_it_crashes():
            for table in self.files.values():
                self.feed(TableLoaded(table))
            self.resume()
            self.meet_runner()
            if self.store.boot is None or self.store.boot[0] != self.boot_id:
                self.feed(Booted(self.boot_id, self.store.boots_in(now)))
            self.perform()
            self.tick()

    def now(self) -> Now:
        self.latest = max(self.latest, self.wall)
        return Now(self.wall, self.steady)

    def feed(self, event: InputEvent) -> None:
        """Call Turn.feed, and check the retries, dead letters and hooks that the engine decides."""
        assert self.turn
        hooked = isinstance(event, Ended | Refused | Lost) and self.has_hook(event.attempt)
        decided = self.turn.feed(event)
        changes = [record for record in decided.records if not isinstance(record, RecordCursor)]
        if changes or not isinstance(event, Tick):
            self.checked = None
        if hooked:
            self.check_hook(decided.records)
        for record in decided.records:
            if isinstance(record, RecordEnded) and record.retry_at is not None:
                self.check_retry(record.attempt.run, record.retry_at)
            elif isinstance(record, RecordEnded) and record.dead:
                self.check_dead(record)

    def has_hook(self, attempt: AttemptKey) -> bool:
        """Whether the Job of an Attempt has CRON_ON_FAILURE, in the store and in the engine."""
        assert self.engine
        if attempt.run not in self.store.runs:
            return False
        if self.store.runs[attempt.run].job.settings.on_failure is None:
            return False
        alive = (live for live in self.engine.alive if live.attempt == attempt)
        return any(live.job.settings.on_failure for live in alive)

    def resume(self) -> None:
        """Like Recovery.resume in daemon/recovery.py."""
        assert self.engine
        jobs = {job.id: job for job in self.engine.jobs()}
        hooks = {failure_hook_id(job.id): job for job in jobs.values() if job.settings.on_failure}
        for key, run in list(self.store.unfinished()):
            number = max(run.attempts, default=0)
            tried = run.attempts.get(number, RecordedAttempt())
            job = jobs.get(run.job.id)
            if job is None and run.job.id in hooks:
                job = self.hook_again(hooks[run.job.id], key)
            if run.job.is_message:
                job = gone(run.job)
            attempt = AttemptKey(key, number)
            event = Resumed(
                attempt,
                job or gone(run.job),
                tried.pid,
                tried.started,
                run.retry_at,
                tried.outcome,
                gone=job is None,
                redrive=run.redrive,
                latest=self.store.latest(key.job_id),
                exit_status=tried.exit_status,
                printed=tried.printed,
                awaited=self.store.awaited(key, job) if job else {},
            )
            if attempt in self.runner.commands:
                self.runner.commands[attempt].job = event.job
            self.feed(event)

    def hook_again(self, job: Job, hook_run: RunKey) -> Job | None:
        """Like Recovery._hook_again; the failed Run may have been redriven since."""
        key = RunKey(job.id, hook_run.fire_time, hook_run.pass_number)
        run = self.store.runs.get(key)
        ended = [tried for tried in run.attempts.values() if tried.outcome] if run else []
        if not ended:
            return None
        assert ended[-1].outcome is not None
        return failure_hook(job, key, ended[-1].outcome, ended[-1].exit_status)

    def meet_runner(self) -> None:
        """Like RunnerLink.meet and RunnerExecutor.met in executor/."""
        assert self.engine
        self.runner.fork(self.wall)
        same = self.store.runner == self.runner.instance
        for running in self.engine.attempts:
            if running.attempt in self.runner.commands:
                continue
            if running.state is State.HELD or (same and running.pid is None):
                self.handed_over_again.add(running.attempt)
                self.feed(NeverStarted(running.attempt))
            else:
                self.feed(Lost(running.attempt, "the runner died"))
        self.feed(RunnerMet(self.runner.instance))
        for attempt in list(self.runner.commands):
            self.hear(attempt)

    def hear(self, attempt: AttemptKey) -> None:
        """Like RunnerExecutor.heard in executor/executor.py."""
        command = self.runner.commands.get(attempt)
        if command is None:
            return
        if command.pid:
            self.feed(Started(attempt, command.pid, command.started))
        if command.ending:
            self.feed(Ended(attempt, command.ending))
        elif command.refused:
            self.feed(Refused(attempt, "cannot fork"))
        if command.over:
            self.executor.ended.append(attempt)

    def perform(self) -> None:
        assert self.turn
        self.turn.perform()

    def tell_runner(self, action: RunnerAction) -> None:
        match action:
            case Start():
                self.accept_start(action)
            case Release():
                held = [a for a in self.runner.held if a.run.fire_time <= action.until]
                for attempt in held:
                    self.check_time(
                        attempt, self.runner.commands[attempt].job, LONGEST_RELEASE_AHEAD
                    )
                    self.runner.go(attempt)
            case Withdraw():
                self.runner.drop(action.attempt)
            case Stop():
                self.stop_command(action.attempt)

    def accept_start(self, start: Start) -> None:
        attempt, job = start.attempt, start.job
        assert self.store.has(attempt), f"not on record: {attempt}"
        if not start.hold:
            self.check_time(attempt, job)
        forced = attempt.run in self.forced
        if attempt not in self.handed_over_again:
            if not forced:
                self.check_limits(job)
            self.check_deadline(attempt, job)
        if job.is_message:
            self.check_message(attempt, job)
        self.check_awaited(attempt.run, job)
        self.runner.start(attempt, Command(job, forced), hold=start.hold)

    def stop_command(self, attempt: AttemptKey) -> None:
        """Send TERM to the command of an Attempt, if the runner has it and it has not ended."""
        command = self.runner.commands.get(attempt)
        if command and not command.over:
            self.runner.fork(self.wall)
            ending = self.ending(attempt, 0)
            command.ending = replace(ending, cause=Cause.CANCELLED, signal=15)
            self.unread.append(attempt)

    def ending(self, attempt: AttemptKey, exit_status: int) -> Ending:
        """The end of an Attempt; some Jobs print something, but not each time."""
        prints = "prints" in self.runner.commands[attempt].job.command
        printed = 9 if prints and (attempt.run.fire_time // MINUTE + attempt.number) % 3 else 0
        return Ending(self.wall, exit_status, None, 0.1, 4096, printed)

    def tick(self) -> None:
        """Like the daemon's loop at its next wakeup."""
        if self.engine is None:
            return
        self.feed(Tick())
        self.perform()
        if self.engine.stopping:
            return
        # The first turn only released held Attempts; the others handle the other due Runs, each of
        # them a part. What the last of them claimed may be due in a moment and is released, too.
        idle = 0
        while (wakeup := self.engine.next_wakeup()) is not None and wakeup <= self.wall:
            self.feed(Tick())
            self.perform()
            idle += not self.engine.busy
            assert idle <= MOST_IDLE_TICKS, f"the loop spins: {wakeup - self.wall}"
        if self.checked is None or not 0 <= self.wall - self.checked < MINUTE:
            self.check_waiting()  # nothing has changed otherwise, and the daemon looks often
            self.checked = self.wall

    def step_towards_kill(self) -> None:
        """Take one step towards the kill that the_daemon_will_be_killed has planned."""
        if self.steps_until_kill is None:
            return
        self.steps_until_kill -= 1
        if self.steps_until_kill < 0:
            raise Crash

    def until_it_crashes(self) -> "Lifetime":
        return Lifetime(self)

    def crash(self) -> None:
        self.engine = None
        self.steps_until_kill = None
        self.turn, self.unread = None, []
        self.handed_over_again.clear()
        self.runner.daemon_gone()

    def tell(self, *events: InputEvent) -> None:
        """Feed events from outside, then end the turn of the loop."""
        with self.until_it_crashes():
            for event in events:
                self.feed(event)
            self.perform()

    # ---- time

    @rule(seconds=durations)
    def time_passes(self, seconds: float) -> None:
        """Time passes, and the daemon runs at each of its wakeups."""
        self.live_through(seconds)

    @rule(hours=st.integers(1, 6), exit_status=st.sampled_from([0, 1]))
    def hours_pass(self, hours: int, exit_status: int) -> None:
        """Hours pass, and all running commands end at each wakeup of the daemon."""
        self.live_through(hours * HOUR, lambda: self.end_all(exit_status))

    def live_through(self, seconds: float, each_time: Callable[[], None] | None = None) -> None:
        left = seconds
        while left > 0:
            wakeup = self.engine.next_wakeup() if self.engine else None
            until = MINUTE if wakeup is None else wakeup - self.wall
            pause = min(max(until, 0.0005), MINUTE, left)
            self.pass_time(pause)
            left -= pause
            with self.until_it_crashes():
                self.tick()
            if each_time:
                each_time()

    @rule(seconds=durations)
    def the_machine_is_busy(self, seconds: float) -> None:
        """Time passes, and the daemon runs only afterwards, so it wakes up late."""
        self.pass_time(seconds)
        with self.until_it_crashes():
            self.tick()

    @rule(seconds=steps)
    def the_clock_is_set(self, seconds: float) -> None:
        self.wall += seconds
        self.was_set_back |= seconds < 0

    @rule()
    def tick_now(self) -> None:
        with self.until_it_crashes():
            self.tick()

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    # ---- tables and zones

    @rule(name=names, edit=st.sampled_from(EDITS), chosen=st.data())
    def a_table_is_edited(self, name: str, edit: str, chosen: st.DataObject) -> None:
        numbers = chosen.draw(st.sets(st.integers(0, len(TABLES[name]) - 1), min_size=1))
        self.change_table(name, table_of(name, tuple(sorted(numbers)), edit))

    @rule(name=names)
    def a_table_is_removed(self, name: str) -> None:
        if name in self.files:
            self.change_table(name, None)

    def change_table(self, name: str, table: Table | None) -> None:
        self.files.pop(name, None)
        self.since.pop(name, None)
        if table:
            self.files[name] = table
        if self.engine:
            self.tell(TableLoaded(table) if table else TableRemoved(name))
        if table:
            self.since[name] = self.reached()

    @rule(zone=st.sampled_from([UTC, BERLIN]))
    def the_zone_changes(self, zone: Zone) -> None:
        """The zone changes only while a daemon runs.

        Without a daemon, the fire times up to its next start could be of either zone.
        """
        if self.engine is None:
            return
        self.tell()
        self.zone = zone
        self.tell(ZonesChanged())
        self.since = {name: self.reached() for name in self.files}

    def reached(self) -> dict[bool, int]:
        """The latest UTC second that any cursor can have reached, by kind of Job.

        Every later fire time must have its Run.
        """
        highest = int(max(self.latest, self.wall)) + 1
        return {wall: max(most, highest) for wall, most in self.store.furthest.items()}

    # ---- the runner

    @rule()
    def the_runner_starts(self) -> None:
        self.unread += self.runner.fork(self.wall)

    @rule()
    def the_daemon_listens(self) -> None:
        if self.engine is None:
            return
        with self.until_it_crashes():
            unread, self.unread = self.unread, []
            for attempt in unread:
                self.hear(attempt)
            self.perform()

    @precondition(lambda self: self.runner.running)
    @rule(which=st.data(), exit_status=st.sampled_from([0, 0, 1, 75, 127]))
    def a_command_ends(self, which: st.DataObject, exit_status: int) -> None:
        attempt = which.draw(st.sampled_from(self.runner.running))
        self.runner.commands[attempt].ending = self.ending(attempt, exit_status)
        self.unread.append(attempt)

    @precondition(lambda self: self.runner.running)
    @rule()
    def all_fail(self) -> None:
        for attempt in self.runner.running:
            self.runner.commands[attempt].ending = self.ending(attempt, 1)
            self.unread.append(attempt)
        self.the_daemon_listens()

    @rule()
    def all_end(self) -> None:
        self.end_all(0)

    def end_all(self, exit_status: int) -> None:
        self.the_runner_starts()
        for attempt in self.runner.running:
            self.runner.commands[attempt].ending = self.ending(attempt, exit_status)
            self.unread.append(attempt)
        self.the_daemon_listens()

    @precondition(lambda self: self.runner.accepted)
    @rule()
    def nothing_can_be_forked(self) -> None:
        for attempt in self.runner.accepted:
            self.runner.commands[attempt].refused = True
            self.unread.append(attempt)
        self.runner.accepted.clear()

    @rule()
    def the_runner_dies(self) -> None:
        self.runner = FakeRunner(next(self.serial), self.begun)
        self.unread = []
        if self.engine:
            with self.until_it_crashes():
                self.meet_runner()
                self.perform()

    # ---- the end and the start of the daemon

    @rule()
    def the_daemon_is_killed(self) -> None:
        self.crash()

    @rule(steps=st.integers(0, 12))
    def the_daemon_will_be_killed(self, steps: int) -> None:
        """The daemon is killed while it performs decisions, after `steps` more steps."""
        if self.engine:
            self.steps_until_kill = steps

    @rule()
    def the_machine_reboots(self) -> None:
        self.crash()
        self.runner = FakeRunner(next(self.serial), self.begun)
        self.boot_id = f"boot-{next(self.serial)}"
        self.pass_time(20)
        self.start_daemon()

    @rule()
    def the_daemon_is_told_to_stop(self) -> None:
        if self.engine:
            self.tell(StopStarting())

    @precondition(lambda self: self.engine is None or self.engine.stopping)
    @rule()
    def the_daemon_starts(self) -> None:
        self.crash()
        self.start_daemon()

    # ---- operators

    @property
    def works(self) -> bool:
        return self.engine is not None and not self.engine.stopping

    @precondition(lambda self: self.works and self.engine.jobs())
    @rule(which=st.data(), force=st.booleans())
    def a_job_is_started(self, which: st.DataObject, force: bool) -> None:
        assert self.engine
        job = which.draw(st.sampled_from(self.engine.jobs()))
        run = RunKey(job.id, int(self.wall), BY_HAND)
        while run in self.store.runs or self.engine.is_alive(run):
            run = RunKey(job.id, run.fire_time, run.pass_number + 1)
        if force:
            self.forced.add(run)
        self.tell(StartedByHand(job, "alice", run.pass_number, force))

    @precondition(lambda self: self.works and self.engine.alive)
    @rule(which=st.data())
    def a_run_is_cancelled(self, which: st.DataObject) -> None:
        assert self.engine
        live = which.draw(st.sampled_from(self.engine.alive))
        self.tell(CancelledByHand(live.run, "alice"))

    @precondition(lambda self: self.works)
    @rule(scope=scopes, seconds=st.sampled_from([None, 5.0, 600.0]))
    def a_pause_begins(self, scope: Scope, seconds: float | None) -> None:
        until = None if seconds is None else self.wall + seconds
        self.tell(PauseBegan(Pause(scope, self.wall, until, "alice")))

    @precondition(lambda self: self.works and self.engine.pauses)
    @rule(which=st.data())
    def a_pause_ends(self, which: st.DataObject) -> None:
        assert self.engine
        pause = which.draw(st.sampled_from(self.engine.pauses))
        self.tell(PauseEnded(pause.scope))

    @precondition(lambda self: self.works)
    @rule(killed=st.booleans())
    def a_dead_letter_is_redriven(self, killed: bool) -> None:
        """Redrive one dead letter. `killed`: the daemon is killed at once and started again."""
        assert self.engine
        jobs = {job.id: job for job in self.engine.jobs()}
        for key, run in self.store.runs.items():
            if run.dead and key.job_id in jobs:
                number = max(run.attempts, default=0)
                followers = tuple(self.skipped_followers(key))
                self.tell(Redriven(AttemptKey(key, number), jobs[key.job_id], followers))
                if self.engine:
                    assert all(self.engine.is_alive(each.run) for each in followers[:1])
                if killed:
                    self.crash()
                    self.start_daemon()
                return

    def skipped_followers(self, key: RunKey) -> Iterator[SkippedFollower]:
        """Like _skipped_followers in control/dead_letters.py."""
        assert self.engine
        skipped = {key.job_id}
        for job in self.engine.jobs().following(key.job_id):
            assert isinstance(job.schedule, After)
            run = key._replace(job_id=job.id)
            found = self.store.runs.get(run)
            is_skipped = found and found.outcome is Outcome.SKIPPED and not found.attempts
            if is_skipped and not skipped.isdisjoint(job.schedule.job_ids):
                skipped.add(job.id)
                ended = self.store.awaited(run, job)
                known = {each: how for each, how in ended.items() if each not in skipped}
                yield SkippedFollower(run, job, known)

    @precondition(lambda self: self.works)
    @rule(load=st.sampled_from([1.0, 1.0, 9.0]))
    def the_load_changes(self, load: float) -> None:
        self.load = load
        self.tell(Pressure(load, 2**33), Tick())

    @rule(
        limits=st.sampled_from(LIMITS), gates=st.sampled_from(GATES), mails=st.sampled_from([1, 5])
    )
    def the_configuration_changes(self, limits: Limits, gates: PressureLimits, mails: int) -> None:
        """A daemon that is down sees the change when it starts."""
        self.limits, self.gates = limits, gates
        self.delivery_rules = replace(RULES, mails_per_hour=mails)
        if self.engine:
            self.tell(ConfigChanged(limits, gates, self.delivery_rules, Pressure(self.load, 2**33)))

    # ---- conditions that hold when an Attempt is handed to the runner

    def check_time(self, attempt: AttemptKey, job: Job, head: float = 0.0) -> None:
        """No Attempt starts before its fire time by the latest time that the clock has ever shown.

        `head`: seconds before the fire time at which a held Attempt may be released. The model's
        runner starts a released Attempt at once, where the real one waits for the fire time; so its
        failure hook may start as early.
        """
        head = head if job.delivery is None else LONGEST_RELEASE_AHEAD
        now = max(self.wall, self.latest) + head
        assert now >= attempt.run.fire_time, f"too early: {attempt}"
        if attempt.number == 1 and attempt.run.pass_number < BY_HAND and job.delivery is None:
            planned = attempt.run.fire_time + start_delay(job, HOST)
            assert now >= planned, f"before its delay: {attempt}"

    def check_awaited(self, key: RunKey, job: Job) -> None:
        """A Run of an @after Job starts only after the success of all that it waits for."""
        if isinstance(job.schedule, After) and not key.is_by_hand:
            awaited = self.store.awaited(key, job)
            assert set(awaited) == set(job.schedule.job_ids), f"it did not wait: {key}"
            assert set(awaited.values()) == {Outcome.SUCCEEDED}, f"it follows a failure: {key}"

    def check_limits(self, job: Job) -> None:
        """The limits admit one more Attempt of this Job; messages only count towards their pool."""
        others = [command.job for command in self.runner.commands.values() if not command.over]
        commands = [] if job.is_message else [other for other in others if not other.is_message]
        pool = self.limits.pools.get(job.settings.pool or "")
        for taken, most in (
            (len(commands), self.limits.running),
            (count_of(1 for other in commands if other.user == job.user), self.limits.user_running),
            (count_of(1 for o in others if o.settings.pool == job.settings.pool), pool),
            (count_of(1 for other in others if other.id == job.id), job_limit(job.settings)),
        ):
            assert most is None or taken < most, (job.command, taken, most)

    def check_deadline(self, attempt: AttemptKey, job: Job) -> None:
        deadline = job.settings.start_deadline
        if deadline is not None and attempt.number == 1 and attempt.run.pass_number < BY_HAND:
            late = self.wall - attempt.run.fire_time - start_delay(job, HOST)
            assert late <= deadline + 1, f"{late} s late: {attempt}"

    def check_retry(self, key: RunKey, at: float) -> None:
        """A retry is due within CRON_RETRY_UNTIL, which counts from the last redrive."""
        run = self.store.runs[key]
        since = run.since(key)
        until = run.job.settings.retry_until
        if isinstance(until, int):
            assert at <= since + until, f"too late for a retry: {key}"
        elif until == "next" and not self.was_set_back:
            assert (self.store.latest(key.job_id) or 0) <= since, f"overtaken: {key}"

    def check_dead(self, end: RecordEnded) -> None:
        """A Run becomes a dead letter only without further retries, or without its entry."""
        assert self.engine
        key, number = end.attempt.run, end.attempt.number
        run = self.store.runs[key]
        said = run.job.settings
        status = end.ending.exit_status if end.ending else None
        if number == run.last or not is_retryable(said, end.outcome, status):
            return
        retry_at = self.wall + retry_delay(said, key, number)
        too_late = (
            isinstance(said.retry_until, int) and retry_at > run.since(key) + said.retry_until
        )
        assert too_late or not self.engine.jobs().find({run.job.id}), f"too few: {end.attempt}"

    def check_hook(self, records: list[Record]) -> None:
        """CRON_ON_FAILURE runs once for each Run that has failed finally, not after a redrive."""
        assert self.engine
        hooks = [
            each
            for each in records
            if isinstance(each, RecordRun) and each.job.delivery and not each.job.is_message
        ]
        failed = [
            record
            for record in records
            if isinstance(record, RecordEnded)
            and record.run_outcome not in (None, Outcome.SUCCEEDED, Outcome.CANCELLED)
            and self.store.runs[record.attempt.run].redrive is None
        ]
        assert len(hooks) == len(failed), hooks  # while the daemon stops, a hook waits in the store

    def check_message(self, attempt: AttemptKey, job: Job) -> None:
        """What a delivery tells is true, and comes in order."""
        delivery, told = delivery_of(job), told_by(attempt.run, job)
        about = self.store.runs[told]
        if delivery.occasion is Occasion.LATE:
            within = about.job.settings.expect_within
            assert within is not None
            assert max(self.wall, self.latest) >= told.fire_time + within, f"too early: {told}"
            good = about.outcome in (Outcome.SUCCEEDED, Outcome.SKIPPED, Outcome.CANCELLED)
            if good and attempt.number == 1 and not self.was_set_back:
                assert about.ended is not None
                assert about.ended >= told.fire_time + within, f"not late: {told}"
        elif delivery.kind is DeliveryKind.PING and delivery.occasion is not Occasion.STARTED:
            start = self.store.runs.get(told._replace(job_id=ping_start_id(told.job_id)))
            assert start is None or start.outcome is not None, f"the end comes first: {told}"

    def may_say_less(self, key: RunKey) -> bool:
        """Whether the daemon may not know all that the entry of a Run says, or how late it was."""
        jobs = {job.id: job for table in self.files.values() for job in table.jobs}
        job = jobs.get(key.job_id)
        return job is None or (self.was_set_back and job.settings.expect_within is not None)

    # ---- conditions that hold after a tick

    def check_waiting(self) -> None:
        """Each waiting Run has a start time in the future, or a reason that is true."""
        assert self.engine
        holders = [live.job for live in self.engine.attempts]
        admission = self.engine.admission
        assert admission.running == count_of(1 for job in holders if not job.is_message)
        for live in self.engine.alive:
            if live.state not in (State.WAITING, State.QUEUED):
                continue
            if live.why and live.why.startswith("waits for the success"):
                self.check_waits_for_others(live.run, live.job)
            if live.state is State.WAITING:
                assert live.why or live.planned > self.wall, f"forgotten: {live.run}"
                continue
            assert live.why
            if live.why.endswith("kept for users who have nothing running"):
                most = self.limits.running or self.limits.pools["db"]
                if live.why.startswith("pools"):
                    most = self.limits.pools["db"]
                assert len(holders) >= most - reserved(most)
                assert any(holder.user == live.job.user for holder in holders)
            elif live.why.startswith("limits.running"):
                assert len(holders) >= (self.limits.running or 0)
            elif live.why.startswith("limits.user_running"):
                same = [job for job in holders if job.user == live.job.user]
                assert len(same) >= (self.limits.user_running or 0)
            elif live.why.startswith(("limits.starts", "limits.user_starts")):
                assert admission.recheck_after() < float("inf")
            else:
                known = ("as many", "pools.", "mail.running", "half of mail", "mail.per_minute")
                assert live.why == admission.closed or live.why.startswith(known)

    def check_waits_for_others(self, key: RunKey, job: Job) -> None:
        """A Run of an @after Job waits for a Run that has not ended, or whose fire time comes."""
        assert self.engine
        assert isinstance(job.schedule, After)
        awaited = [key._replace(job_id=each) for each in job.schedule.job_ids]
        assert self.store.cursor
        is_over = key.fire_time <= min(self.store.cursor.fixed, self.store.cursor.wall)
        assert not is_over or any(map(self.engine.is_alive, awaited)), f"it waits for none: {key}"

    # ---- conditions that hold at any time

    @invariant()
    def every_unfinished_run_is_alive_in_the_engine(self) -> None:
        if not self.turn or not self.engine or self.engine.stopping or self.turn.pending:
            return
        alive = {live.run: live for live in self.engine.alive}
        unfinished = dict(self.store.unfinished())
        assert alive.keys() == unfinished.keys()
        for key, live in alive.items():
            tried = unfinished[key].attempts
            assert live.number == max(tried, default=0), key
            waits = live.state in (State.WAITING, State.QUEUED)
            assert waits == (not tried or tried[live.number].outcome is not None), key
            assert not waits or not tried or live.planned == unfinished[key].retry_at, key

    @invariant()
    def the_engine_and_the_runner_know_the_same_attempts(self) -> None:
        if not self.turn or not self.engine or self.turn.pending:
            return
        for live in self.engine.attempts:
            assert live.attempt in self.runner.commands, live
        for attempt, command in self.runner.commands.items():
            assert command.over or self.engine.is_alive(attempt.run), attempt

    def teardown(self) -> None:
        self.account()

    @rule()
    def account(self) -> None:
        """Every fire time since its table was loaded has a Run, or lies in a recorded gap."""
        gaps: dict[bool, list[Gap]] = defaultdict(list)
        for gap in self.store.gaps:
            gaps[gap.wall].append(gap)
        for name, since in self.since.items():
            for job in self.files[name].jobs:
                if isinstance(job.schedule, After):
                    self.account_for_successes(job, job.schedule, max(since.values()), gaps)
                if not isinstance(job.schedule, Reboot):
                    wall = follows_the_wall(job.schedule)
                    self.account_for(job, since[wall], self.store.furthest[wall], gaps[wall])

    def account_for(self, job: Job, after: int, until: int, gaps: list[Gap]) -> None:
        for refused in self.store.refused.values():
            if refused.user == job.user:
                gaps = [*gaps, Gap(refused.after, refused.until, wall=True)]
        for fire in fire_times(job.schedule, self.zone_of(job.zone), after + 1, until + 1):
            passed_over = any(gap.after < fire <= gap.until for gap in gaps)
            assert passed_over or any(
                RunKey(job.id, fire, number) in self.store.runs for number in range(5)
            ), f"{job.command}: {fire} is lost"

    def account_for_successes(
        self, job: Job, schedule: After, since: int, gaps: Mapping[bool, list[Gap]]
    ) -> None:
        """Each success of all named Jobs has its Run, which no other outcome of theirs keeps back.

        A redriven Run that has succeeded has taken its followers up, unless they were gone then.
        The named Jobs may have been started ahead of a gap that begins at their fire time.
        """
        first = schedule.job_ids[0]
        for key in list(self.store.runs):
            if key.job_id != first or key.is_by_hand or key.fire_time <= since:
                continue
            run = key._replace(job_id=job.id)
            awaited = [self.store.runs.get(key._replace(job_id=each)) for each in schedule.job_ids]
            if not all(each and each.outcome is Outcome.SUCCEEDED for each in awaited):
                continue
            found = self.store.runs.get(run)
            refused = any(each.user == job.user and each.after < key.fire_time <= each.until
                          for each in self.store.refused.values())  # fmt: skip
            is_taken_up = self.store.cursor and key.fire_time <= min(
                self.store.cursor.fixed, self.store.cursor.wall
            )
            passed_over = any(gap.after < key.fire_time <= gap.until
                              for gap in gaps[follows_the_wall(schedule)])  # fmt: skip
            assert found or refused or passed_over or not is_taken_up, run
            again = any(each and each.redrive for each in awaited)
            if found and found.outcome is Outcome.SKIPPED and not again:
                names = tuple(f"{name} " for name in schedule.jobs)
                assert found.reason, run
                assert not found.reason.startswith(names), (run, found.reason)


class Lifetime:
    """A context in which the daemon may be killed: a Crash ends the daemon, not the test."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is not Crash:
            return False
        self.world.crash()
        return True


class MoreLives(World):
    """The same with other examples."""


def _test_case(world: type[World], lives: int) -> type[TestCase]:
    case: type[TestCase] = world.TestCase
    case.settings = settings(  # type: ignore[attr-defined]
        deadline=None,
        max_examples=lives,
        stateful_step_count=50,
        suppress_health_check=list(HealthCheck),
    )
    return case


# It takes long, so it comes first.
TestWorld = pytest.mark.xdist_group("model")(_test_case(World, LIVES))
TestMoreLives = pytest.mark.slow(_test_case(MoreLives, 40))
