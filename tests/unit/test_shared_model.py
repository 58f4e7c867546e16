"""Two hosts with a model of the database, which lose their memory at any step.

Each host has an engine, a disk (what was recorded), a runner that outlives the engine, and an agent
that asks the database. A crash may come between any two phases of a turn. Whatever happens, no
Attempt starts twice and no two Attempts of a Run are alive at once; after healing, every fire time
has ended.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pycron.crontab.identity import shared_run
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import (
    Decisions,
    RecordAttempt,
    RecordEnded,
    RecordNotStarted,
    RecordRun,
    RecordStarted,
    Start,
)
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import (
    Ended,
    InputEvent,
    Lost,
    NeverStarted,
    Now,
    Resumed,
    Started,
    TableLoaded,
    Tick,
)
from pycron.engine.shared_actions import (
    Accept,
    Ask,
    Finish,
    RecordHold,
    RecordReported,
    RecordSharedCursor,
    RecordSharedEnd,
    SharedAction,
    Take,
)
from pycron.engine.shared_events import (
    ClusterReady,
    SharedHeld,
    SharedLater,
    SharedOffered,
    SharedReported,
    SharedSettled,
)
from pycron.engine.shared_runs import SharedState
from pycron.model.hosts import Cluster
from pycron.model.job import Job, Source
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey
from pycron.model.shared import Hold, SharedEnd, SharedKey
from pycron.schedule.zone import UTC

START = 1_750_000_020
TABLE = (
    "CRON_NAME=a CRON_ON=any CRON_RETRIES=2 CRON_RETRY_DELAY=5s CRON_RETRY_UNTIL=never"
    " CRON_CONCURRENCY=allow * * * * * a\n"
    "CRON_NAME=b CRON_ON=any */2 * * * * b\n"
)


@dataclass
class Row:
    """A row of the database."""

    state: str
    attempt: int = 1
    holder: str | None = None
    not_before: float = 0.0


class Database:
    """The row of each Run; its answers are believed, because each call is a transaction."""

    def __init__(self) -> None:
        self.rows: dict[SharedKey, Row] = {}

    def claim(self, shared: SharedKey, holder: str) -> Row:
        return self.rows.setdefault(shared, Row("held", 1, holder))

    def start(self, shared: SharedKey, number: int, holder: str, now: float) -> Row | None:
        row = self.rows[shared]
        if row.state == "held" and row.holder == holder and row.attempt == number + 1:
            return row  # the answer before was lost
        if row.state != "waiting" or row.attempt != number or row.not_before > now:
            return None
        row.state, row.attempt, row.holder = "held", number + 1, holder
        return row

    def finish(self, end: SharedEnd) -> bool:
        row = self.rows[end.hold.shared]
        mine = row.attempt == end.hold.attempt.number and row.holder == end.hold.incarnation
        if row.state != "held" or not mine:
            return False
        row.holder = None
        row.state = "ended" if end.retry_at is None else "waiting"
        row.not_before = end.retry_at or 0.0
        return True


@dataclass
class Disk:
    """What a host has recorded."""

    cursor: int | None = START
    holds: dict[AttemptKey, Hold] = field(default_factory=dict)
    ends: dict[AttemptKey, SharedEnd] = field(default_factory=dict)
    runs: dict[RunKey, Job] = field(default_factory=dict)
    open: set[RunKey] = field(default_factory=set)
    attempts: dict[AttemptKey, Outcome | None] = field(default_factory=dict)

    def write(self, decided: Decisions) -> None:
        for record in decided.records:
            match record:
                case RecordHold():
                    self.holds[record.hold.attempt] = record.hold
                    self.runs[record.hold.run] = record.job
                    self.open.add(record.hold.run)
                case RecordRun():
                    self.runs[record.run] = record.job
                    self.open.add(record.run)
                case RecordAttempt():
                    self.attempts[record.attempt] = None
                case RecordEnded():
                    self.attempts[record.attempt] = record.outcome
                    if record.run_outcome is not None:
                        self.open.discard(record.attempt.run)
                case RecordNotStarted():
                    self.open.discard(record.run)
                case RecordSharedEnd():
                    self.holds.pop(record.end.hold.attempt, None)
                    self.ends[record.end.hold.attempt] = record.end
                case RecordReported():
                    self.ends.pop(record.attempt, None)
                case RecordSharedCursor():
                    self.cursor = record.second
                case RecordStarted():
                    pass


class Machine:
    """One host. `world`: what all hosts have started, and what is alive."""

    def __init__(self, name: str, database: Database, world: "World") -> None:
        self.name = name
        self.incarnation = f"{name}-1"
        self.database = database
        self.world = world
        self.disk = Disk()
        self.known: dict[AttemptKey, Outcome | None] = {}  # the runner's; None: it runs
        self.same_runner = True
        self.seen: list[tuple[SharedKey, Row]] = []
        self.boot()

    def boot(self) -> None:
        """A new daemon, from what is on the disk; the runner may be there still."""
        self.engine = Engine(
            lambda _: UTC,
            Cursor(self.world.now, self.world.now),
            shared=SharedState(
                "prod", self.disk.cursor, tuple(self.disk.holds.values()),
                tuple(self.disk.ends.values()),
            ),
        )  # fmt: skip
        self.questions: list[SharedAction] = []
        context = ReaderContext(cluster=Cluster(self.name, "prod"))
        self.tell(TableLoaded(parse(TABLE, Source(self.name, "anna"), context)))
        for run in sorted(self.disk.open):
            numbers = [key.number for key in self.disk.attempts if key.run == run]
            last = AttemptKey(run, max(numbers, default=0))
            outcome = self.disk.attempts.get(last)
            self.tell(Resumed(last, self.disk.runs[run], None, None, outcome=outcome))
        for live in self.engine.attempts:
            if live.attempt not in self.known:
                if self.same_runner:
                    self.tell(NeverStarted(live.attempt))
                else:
                    self.tell(Lost(live.attempt, "the runner died"))
        self.same_runner = True
        for attempt, outcome in list(self.known.items()):
            self.tell(Started(attempt, 1, self.world.now))
            if outcome is not None:
                self.report(attempt)
        self.tell(Tick())
        self.tell(ClusterReady(ready=True, again=True))

    def tell(self, event: InputEvent, crash: int = 3) -> None:
        """One turn; with `crash` below 3, the daemon dies after so many of its phases."""
        decided = self.engine.handle(event, Now(self.world.now, self.world.now))
        if crash == 0:
            return
        self.disk.write(decided)
        if crash == 1:
            return
        for action in decided.actions:
            if isinstance(action, Start) and action.attempt not in self.known:
                self.known[action.attempt] = None
                self.world.begin(action.attempt)
        if crash == 2:
            return
        self.questions += decided.questions

    def report(self, attempt: AttemptKey, crash: int = 3) -> None:
        outcome = self.known[attempt]
        status = 0 if outcome is Outcome.SUCCEEDED else 1
        self.tell(Ended(attempt, Ending(self.world.now, status, None, 0, 0, 0)), crash)
        if crash == 3:
            del self.known[attempt]  # it is acknowledged

    def end_command(self, *, good: bool, crash: int) -> None:
        for attempt, outcome in self.known.items():
            if outcome is None:
                self.known[attempt] = Outcome.SUCCEEDED if good else Outcome.FAILED
                self.world.end(attempt)
                self.report(attempt, crash)
                return

    def kill_runner(self) -> None:
        """The next runner ends what has run, before the daemon hears that it is lost."""
        for attempt, outcome in self.known.items():
            if outcome is None:
                self.world.end(attempt)
        self.known, self.same_runner = {}, False
        self.boot()

    # ---- the agent

    def answer(self, *, lost: bool, crash: int) -> None:
        """The database decides about the first question; the answer may be lost."""
        if not self.questions:
            return
        event = self._decided(self.questions.pop(0))
        if event is not None and not lost:
            self.tell(event, crash)
        elif lost:
            self.reconnect()

    def reconnect(self) -> None:
        self.questions.clear()
        self.tell(ClusterReady(ready=False))
        self.tell(ClusterReady(ready=True, again=True))
        for shared, row in list(self.database.rows.items()):
            if row.state == "held" and row.holder == self.incarnation:
                self.tell(self._held(shared, row))

    def look(self) -> None:
        """A renewal has read the rows of this host; its answer comes later."""
        self.seen = [
            (shared, replace(row))
            for shared, row in self.database.rows.items()
            if row.state == "held" and row.holder == self.incarnation
        ]

    def tell_seen(self) -> None:
        """The rows as they were then: an end may have been told meanwhile."""
        for shared, row in self.seen:
            self.tell(self._held(shared, row))

    def _held(self, shared: SharedKey, row: Row) -> SharedHeld:
        attempt = AttemptKey(shared_run("prod", shared), row.attempt)
        known = None
        if not self.engine.is_alive(attempt.run) and attempt in self.disk.attempts:
            known = self.disk.attempts[attempt] or Outcome.LOST
        return SharedHeld(Hold(shared, attempt, self.incarnation), known)

    def _decided(self, question: SharedAction) -> InputEvent | None:
        match question:
            case Ask(shared=shared):
                row = self.database.claim(shared, self.incarnation)
                if row.holder == self.incarnation:
                    return self._held(shared, row)
                return SharedSettled(shared, 0, "elsewhere")
            case Accept(shared=shared, number=number):
                started = self.database.start(shared, number, self.incarnation, self.world.now)
                if started is None:
                    return SharedLater(shared, number, "not now")
                return self._held(shared, started)
            case Take():
                raise AssertionError("no worker has asked for anything")
            case Finish(end=end):
                taken = self.database.finish(end)
                hold = end.hold
                late = None if taken else "something else"
                number = hold.attempt.number
                return SharedReported(hold.shared, number, hold.incarnation, late)

    def offer(self) -> None:
        for shared, row in list(self.database.rows.items()):
            if row.state == "waiting" and row.not_before <= self.world.now:
                self.tell(SharedOffered(shared, row.attempt))


class World:
    """Time, and the commands of all hosts."""

    def __init__(self) -> None:
        self.now = START
        self.begun: Counter[AttemptKey] = Counter()
        self.alive: Counter[RunKey] = Counter()
        self.database = Database()
        self.machines = [Machine(name, self.database, self) for name in ("web1", "web2")]

    def begin(self, attempt: AttemptKey) -> None:
        self.begun[attempt] += 1
        self.alive[attempt.run] += 1
        assert self.begun[attempt] == 1, f"{attempt} has started twice"
        assert self.alive[attempt.run] == 1, f"two attempts of {attempt.run} at once"

    def end(self, attempt: AttemptKey) -> None:
        self.alive[attempt.run] -= 1

    def heal(self) -> None:
        for _ in range(40):
            self.now += 5
            for machine in self.machines:
                machine.tell(Tick())
                machine.offer()
                while machine.questions:
                    machine.answer(lost=False, crash=3)
                machine.end_command(good=True, crash=3)

    def check(self, until: int) -> None:
        ended = {shared for shared, row in self.database.rows.items() if row.state == "ended"}
        for name, every in (("a", 60), ("b", 120)):
            for fire in range(START // every * every + every, until + 1, every):
                assert SharedKey("anna", name, fire) in ended, f"{name} at {fire}"
        for machine in self.machines:
            assert not [key for key in machine.disk.ends if key.run.fire_time <= until]
            assert not [run for run in machine.disk.open if run.fire_time <= until]


_CRASH = st.integers(0, 3)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 90), st.just(3)),
        st.tuples(st.just("tick"), st.integers(0, 1), _CRASH),
        st.tuples(st.just("answer"), st.integers(0, 3), _CRASH),
        st.tuples(st.just("end"), st.integers(0, 3), _CRASH),
        st.tuples(st.just("offer"), st.integers(0, 1), st.just(3)),
        st.tuples(st.just("reconnect"), st.integers(0, 1), st.just(3)),
        st.tuples(st.just("look"), st.integers(0, 1), st.just(3)),
        st.tuples(st.just("tell_seen"), st.integers(0, 1), st.just(3)),
        st.tuples(st.just("crash"), st.integers(0, 1), st.just(3)),
        st.tuples(st.just("kill_runner"), st.integers(0, 1), st.just(3)),
    ),
    min_size=10,
    max_size=80,
)


def step(world: World, what: str, value: int, crash: int) -> None:
    machine = world.machines[value % 2]
    match what:
        case "wait":
            world.now += value
        case "tick":
            machine.tell(Tick(), crash)
        case "answer":
            machine.answer(lost=value > 1, crash=crash)
        case "end":
            machine.end_command(good=value > 1, crash=crash)
        case "offer":
            machine.offer()
        case "reconnect":
            machine.reconnect()
        case "look":
            machine.look()
        case "tell_seen":
            machine.tell_seen()
        case "crash":
            machine.boot()
        case "kill_runner":
            machine.kill_runner()
    if crash < 3:
        machine.boot()


@settings(deadline=None)
@given(_STEPS)
def test_no_attempt_starts_twice_whenever_a_daemon_dies(
    steps: list[tuple[str, int, int]],
) -> None:
    world = World()
    for what, value, crash in steps:
        step(world, what, value, crash)
    until = world.now
    world.heal()
    world.check(until)
