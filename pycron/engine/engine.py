"""The engine: events go in, decisions come out; nothing is read and nothing is done here.

The engine knows the time, the tables and what operators want, and decides which Runs an event
concerns. What happens to each of these Runs is decided in runs.py and attempts.py.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from pycron.crontab.entries import nothing
from pycron.crontab.jobs import Jobs
from pycron.crontab.table import Table
from pycron.engine import reports
from pycron.engine.actions import (
    Decisions,
    RecordBoot,
    RecordGap,
    RecordRunner,
)
from pycron.engine.admission import Admission
from pycron.engine.attempts import AttemptEnd
from pycron.engine.claim_ahead import LONGEST_CLAIM_AHEAD
from pycron.engine.cursor import Cursor, Gap
from pycron.engine.deliveries import NO_DELIVERIES, DeliveryState
from pycron.engine.entry_changes import EntryChanges
from pycron.engine.events import (
    Booted,
    ConfigChanged,
    Ended,
    InputEvent,
    Lost,
    MailTransport,
    NeverStarted,
    Now,
    Refused,
    Resumed,
    RunnerMet,
    Started,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
    ZonesChanged,
)
from pycron.engine.fire_times import SLICE_RUNS, FireTimes
from pycron.engine.limits import NO_PRESSURE_LIMITS, UNLIMITED, Limits, Pressure, PressureLimits
from pycron.engine.live_runs import Live, LiveRun, Wait
from pycron.engine.pauses import Pauses, with_its_end
from pycron.engine.runs import Runs
from pycron.engine.shared_events import (
    ClusterReady,
    SharedHeld,
    SharedLater,
    SharedOffered,
    SharedReported,
    SharedSettled,
    SharedStopped,
    SharedUntaken,
    WorkWanted,
)
from pycron.engine.shared_runs import NO_CLUSTER, SharedRuns, SharedState
from pycron.engine.states import WITH_ATTEMPT, State
from pycron.engine.timetable import Timetable
from pycron.engine.wishes import Wishes
from pycron.engine.workspace import Workspace
from pycron.model.job import Job
from pycron.model.pause import Pause
from pycron.model.run import Outcome, RunKey
from pycron.schedule.fire_times import may_run_on_day_of
from pycron.schedule.zone import Zone


class Engine:
    """All Jobs, and the Runs that have not ended."""

    def __init__(
        self,
        zone_of: Callable[[str | None], Zone],
        cursor: Cursor,
        gaps: Iterable[Gap] = (),
        host: str = "",
        limits: Limits = UNLIMITED,
        gates: PressureLimits = NO_PRESSURE_LIMITS,
        pauses: Iterable[Pause] = (),
        done: Mapping[RunKey, Outcome] = MappingProxyType({}),
        deliveries: DeliveryState = NO_DELIVERIES,
        slice_runs: int = SLICE_RUNS,
        *,
        only_asked: bool = False,
        shared: SharedState = NO_CLUSTER,
    ) -> None:
        """`cursor`: where the timetable begins. `gaps`: what was passed over before the cursor.

        `host`: the value that the delays of CRON_JITTER depend on, besides the Job. `pauses`: the
        pauses that hold. `done`: how Runs ended whose fire time is after the cursor.
        `slice_runs`: how many Runs come to be in one Tick. `only_asked`: no fire time comes by
        itself. `shared`: what is known of the Runs of shared Jobs.
        """
        self.zone_of = zone_of
        self._gaps = list(gaps)
        self._timetable = Timetable(
            zone_of, cursor, self._gaps, closed=only_asked, shared=shared.cursor
        )
        self._pauses = Pauses(pauses)
        self._space = Workspace(Admission(limits, gates))
        self._live = self._space.live
        self._runs = Runs(
            self._space,
            self._pauses,
            self._timetable.has_passed,
            self._was_missed,
            host,
            LONGEST_CLAIM_AHEAD,
            deliveries,
            done,
        )
        self._changes = EntryChanges(self._space, self._runs)
        self._fire_times = FireTimes(self._space, self._timetable, self._runs, done, slice_runs)
        self._wishes = Wishes(self._space, self._runs, self._fire_times, self._pauses)
        self.shared = SharedRuns(
            shared, self._space, self._runs, self._pauses, self._timetable, zone_of
        )
        self._was_set_back = False  # since the last look
        self._seen: Now | None = None  # when the engine looked at the clock last

    def handle(self, event: InputEvent, now: Now) -> Decisions:
        """Decide what is to be done about an event."""
        space = self._space
        space.now, space.out = now, Decisions()
        self._fire_times.begin_event()
        self._take(event)
        is_shared = self.shared.is_on
        if is_shared:
            self.shared.note_ends()
            if self._seen or isinstance(event, Tick):  # else the tables are still loading
                self.shared.work()
        if not space.stopping or space.delivers:
            self._runs.admit()
            if is_shared:
                self.shared.note_ends()
        if self._seen or isinstance(event, Tick):
            self._seen = now
        return space.out

    def _take(self, event: InputEvent) -> None:
        match event:
            case Tick():
                self._tick()
            case Started():
                self._runs.started(event)
            case Ended() | Refused() | Lost():
                self._runs.end_attempt(event.attempt, AttemptEnd.of(event))
            case NeverStarted():
                self._runs.start_again(event.attempt)
            case RunnerMet():
                self._space.out.records.append(RecordRunner(event.instance))
            case Booted():
                self._booted(event)
            case Resumed():
                self._fire_times.note_begun(event.attempt.run)  # it may still be handed out
                self._runs.resume(event)
                self.shared.resumed(event.attempt.run)
            case TableLoaded() | TableRemoved() | ZonesChanged():
                self._change_tables(event)
            case Pressure():
                self.admission.look_at_pressure(event)
            case ConfigChanged():
                self.admission.configure(event.limits, event.gates, event.pressure)
                self._runs.deliveries.configure(event.deliveries)
            case MailTransport():
                self._runs.deliveries.no_mail = event.no_mail
            case StopStarting():
                self._runs.stop_starting(delivers=event.delivers)
            case (
                ClusterReady() | SharedHeld() | SharedSettled() | SharedLater() | SharedUntaken()
                | SharedOffered() | SharedStopped() | SharedReported() | WorkWanted()
            ):  # fmt: skip
                self.shared.handle(event)
            case _:
                self._wishes.take(event)

    # ---- what there is

    def next_wakeup(self) -> float | None:
        """The UTC second at which the engine has something to do; None if there is none."""
        if self.stopping:
            return self._next_message() if self._space.delivers else None
        if self.busy:
            return self._space.now.wall
        times = [
            self._runs.next_wakeup(),
            self._pauses.next_end(),
            self.shared.next_wakeup(),
            self._space.now.wall + self.admission.recheck_after(),
        ]
        fire = self._fire_times.wakeup()
        if fire is not None:
            times.append(fire)
        first = min(times)
        return None if math.isinf(first) else first

    @property
    def busy(self) -> bool:
        """Whether fire times have come that were not taken up yet: another Tick goes on."""
        return self._fire_times.pending and not self.stopping

    def _next_message(self) -> float | None:
        """While the daemon stops: when the next message is to be sent."""
        again = self._space.now.wall + self.admission.recheck_after()
        first = min(self._runs.next_wakeup(), again)
        return None if math.isinf(first) else first

    @property
    def stopping(self) -> bool:
        """Whether no Run starts any more."""
        return self._space.stopping

    @property
    def next_fire_time(self) -> int | None:
        first = (self._timetable.next_fire_time(), self._timetable.shared.next_fire_time())
        return min((fire for fire in first if fire is not None), default=None)

    @property
    def admission(self) -> Admission:
        """The limits and their use, for reading."""
        return self._space.admission

    @property
    def pauses(self) -> list[Pause]:
        return list(self._pauses)

    @property
    def attempts(self) -> list[LiveRun]:
        """The Runs whose Attempt is recorded and has not ended; held Attempts are among them."""
        return self._where(lambda state: state in WITH_ATTEMPT)

    @property
    def running(self) -> list[LiveRun]:
        """The Runs whose Attempt was started, or is to be started now."""
        return self._where(lambda state: state in (State.RECORDED, State.RUNNING))

    @property
    def waiting(self) -> list[LiveRun]:
        """The Runs that wait: in the queue, for a delay, or for a retry."""
        return [self._shown(run, live) for run, live in self._live.that_wait()]

    def first_waiting(self, most: int, wanted: Callable[[str], bool]) -> list[LiveRun]:
        """Of `waiting` those of users who are wanted and that are planned first."""
        return [self._shown(run, live) for run, live in self._live.first_waiting(most, wanted)]

    def count(self, wanted: Callable[[str], bool]) -> tuple[int, int]:
        """How many of `running` and of `waiting` are of a user who is wanted."""
        return self._live.count(wanted)

    def count_waits(self, wanted: Callable[[str], bool]) -> Mapping[Wait, int]:
        """How many of `waiting` wait for what, of users who are wanted."""
        return self._live.count_waits(wanted)

    @property
    def alive(self) -> list[LiveRun]:
        """All Runs that have not ended."""
        return self._where(lambda _: True)

    def late(self, before: float) -> list[LiveRun]:
        """The Runs whose start was planned before a UTC second, and has not come."""
        return [self._shown(run, self._live[run]) for run in self._live.late(before)]

    def find(self, run: RunKey) -> LiveRun | None:
        """A Run that has not ended; None if there is no such Run."""
        live = self._live.get(run)
        return None if live is None else self._shown(run, live)

    def coming(self, most: int, wanted: Callable[[str], bool]) -> list[tuple[int, Job]]:
        """The next fire times of Jobs whose user is wanted, the first ones first."""
        return self._timetable.coming(most, wanted)

    def due_in(self, start: int, end: int) -> list[tuple[int, Job]]:
        """The first fire time of each Job in [start, end), at most five minutes of UTC seconds."""
        due = self._timetable.due_in(start, end)
        return [(fire, entries[index]) for fire, _, entries, index in due]

    def _where(self, wanted: Callable[[State], bool]) -> list[LiveRun]:
        return [self._shown(run, live) for run, live in self._live.items() if wanted(live.state)]

    def _shown(self, run: RunKey, live: Live) -> LiveRun:
        return LiveRun(run, live.job, live.state, live.number, live.planned, live.pid, live.started,
                       self._why(run, live))  # fmt: skip

    def _why(self, run: RunKey, live: Live) -> str | None:
        if live.state is State.QUEUED:
            return self.admission.waits_for(run)
        pause = self._pauses.of(live.job)
        if live.state is State.WAITING and pause is not None and run not in self._runs.followers:
            return with_its_end(pause)
        return self._runs.followers.why(run)

    @property
    def idle(self) -> bool:
        """Whether every Run has ended."""
        return not self._live

    def is_alive(self, run: RunKey) -> bool:
        return run in self._live

    def shared_job(self, job_id: str) -> Job | None:
        """The shared Job with this id, if an entry of this host has it."""
        return self._timetable.shared_job(job_id)

    def jobs(self) -> Jobs:
        """All Jobs, in the order of table and line."""
        return self._timetable.jobs()

    # ---- time

    def _tick(self) -> None:
        if self.stopping:
            if self._space.delivers:
                self._runs.take_timers()
            return
        awake = self._look_at_clock()
        # The release goes out at once; a second tick, which is due, too, handles the rest.
        if not self._runs.attempts.release_due(busy=self.busy):
            self._take_due(awake, at_once=self._was_set_back)

    def _look_at_clock(self) -> float:
        """The real seconds since the engine looked last; a step of the clock is logged."""
        now = self._space.now
        stepped = reports.clock_stepped(self._seen, now)
        self._was_set_back = self._seen is not None and now.wall < self._seen.wall
        if stepped:
            self._space.out.logs.append(stepped)
        awake = now.steady - self._seen.steady if self._seen else 0.0
        # A faked clock sets the steady clock, too: then nothing is known.
        return math.inf if awake < 0 else awake

    def _take_due(self, awake: float, *, at_once: bool = False) -> None:
        """Everything whose time has come; then claim what comes in a moment.

        Of many fire times, a part is taken up, and another Tick goes on; with `at_once`, all are.
        """
        now, records = self._space.now.wall, self._space.out.records
        why = "the clock was set forward" if self._seen else "the daemon was not running"
        left = self._fire_times.take_up(awake, at_once=at_once)
        records += [RecordGap(gap, why) for gap in self._timetable.take_gaps()]
        self._fire_times.record_cursor()
        for scope in self._pauses.over(now):
            self._wishes.end_pause(scope)
        self._runs.take_timers()
        self._fire_times.claim(left)

    def _was_missed(self, instant: float) -> bool:
        return any(gap.after < instant <= gap.until for gap in self._gaps)

    # ---- tables, zones, the boot

    def _change_tables(self, event: TableLoaded | TableRemoved | ZonesChanged) -> None:
        """Handle what was due before the change, so that the new tables begin with now."""
        self._catch_up_with_clock()
        match event:
            case TableLoaded():
                self._change_table(event.table.source.name, event.table)
            case TableRemoved():
                self._change_table(event.name, None)
            case ZonesChanged():
                self._timetable.zones_changed()
        self._fire_times.users_changed = True

    def _change_table(self, name: str, table: Table | None) -> None:
        self._fire_times.leave_table(name)
        before = self._timetable.find_entries(name) if self._seen else None
        if table is None:
            self._timetable.drop(name)
        else:
            self._timetable.put(table)
        self._changes.follow_table(name, table.jobs if table else nothing())
        if self._seen:
            self.shared.follow_table(name, before, table.jobs if table else None)

    def _catch_up_with_clock(self) -> None:
        """Before the first tick there is nothing to catch up with: the tables are still loading."""
        if self._seen and not self.stopping:
            awake = self._look_at_clock()
            self._runs.attempts.release_due(busy=self.busy)
            self._fire_times.take_all(awake)  # the next tick may not have the same Jobs
            self._take_due(awake)
        self._fire_times.reconsider()

    def _booted(self, event: Booted) -> None:
        if self.stopping:
            return
        second = int(self._space.now.wall)
        for job in () if event.jobs_have_run else self._timetable.reboot_jobs():
            if may_run_on_day_of(job.schedule, self.zone_of(job.zone), second):
                self._fire_times.boot(RunKey(job.id, second, event.pass_number), job)
        self._space.out.records.append(RecordBoot(event.boot_id, second, event.pass_number))
