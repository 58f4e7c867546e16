"""The engine: events go in, actions come out; nothing is read and nothing is done here.

It knows the time, the tables and what operators want, and says which Runs that concerns; what
becomes of each of them is in runs.py. The caller performs the actions in their order, so what is
recorded is recorded before it is started.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pycron import reports
from pycron.actions import (
    Action,
    Booted,
    CancelledByHand,
    Ended,
    InputEvent,
    Lost,
    Now,
    PauseBegan,
    PauseEnded,
    Pressure,
    RecordBoot,
    RecordCursor,
    RecordGap,
    RecordPause,
    RecordResume,
    RecordRevived,
    Redriven,
    Refused,
    Resumed,
    Started,
    StartedByHand,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
    ZonesChanged,
)
from pycron.admission import UNLIMITED, Admission, Limits
from pycron.entries import Entries, Jobs, nothing
from pycron.lifecycle import WITH_ATTEMPT, Live, State, Step
from pycron.model import AttemptKey, Job, Outcome, Pause, Redrive, RunKey
from pycron.pauses import Pauses, in_words, with_its_end
from pycron.policy import (
    ALWAYS_OPEN,
    OUTCOME_OF_CAUSE,
    Gates,
    closed_gate,
    is_hook,
    outcome_of,
    scopes_of,
)
from pycron.runs import End, Runs
from pycron.settings import CatchUp
from pycron.timetable import Cursor, Gap, Timetable
from pycron.zone import Zone

# Seconds before a fire time at which what will be due is recorded and handed to the runner, and the
# part that each Job has in it where many are due. When both the runner and the daemon die in
# between, nobody can tell whether a Run began: it is lost. They are binary fractions, so that they
# can be taken from an instant and added to it again.
LEAD = 5 / 16
LEAD_EACH = 1 / 2048
LONGEST_LEAD = 5.0


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What an operator may see of a Run that has not ended; `why`: what it waits for."""

    run: RunKey
    job: Job
    state: State
    number: int
    planned: float
    pid: int | None
    started: float | None
    why: str | None

    @property
    def attempt(self) -> AttemptKey:
        return AttemptKey(self.run, self.number)


class Engine:
    """All Jobs, and the Runs that are alive."""

    def __init__(
        self,
        zone_of: Callable[[str | None], Zone],
        cursor: Cursor,
        gaps: Iterable[Gap] = (),
        host: str = "",
        limits: Limits = UNLIMITED,
        gates: Gates = ALWAYS_OPEN,
        pauses: Iterable[Pause] = (),
        done: Iterable[RunKey] = (),
    ) -> None:
        """`cursor` and `gaps`: where the timetable begins and what was passed over before it.

        `host`: what the delays of CRON_JITTER depend on, beside the Job. `pauses`: those that hold.
        `done`: Runs that have ended although their fire time comes after the cursor or in a gap.
        """
        self.zone_of = zone_of
        self._gates = gates
        self._gaps = list(gaps)
        self._timetable = Timetable(zone_of, cursor, self._gaps)
        self._admission = Admission(limits)
        self._pauses = Pauses(pauses)
        self._runs = Runs(
            self._admission, self._pauses, self._timetable.has_passed, host, LONGEST_LEAD
        )
        self._alive = self._runs.alive
        self._ahead = set(done)  # Runs taken up before their fire time was handed out
        self._looked_ahead: int | None = None
        self._lead_of: tuple[int, float] | None = None  # of the next fire time
        self._seen: Now | None = None

    def handle(self, event: InputEvent, now: Now) -> list[Action]:
        """What is to be done about an event, in order."""
        self._runs.look(now)
        self._take(event)
        if not self.stopping:
            self._runs.admit()
        if self._seen or isinstance(event, Tick):
            self._seen = now
        return self._runs.out.in_order()

    def start_again(self, attempt: AttemptKey) -> list[Action]:
        """An Attempt that is on record, and of which is known that it was never started."""
        self._runs.look(self._runs.now)
        self._runs.start_again(attempt)
        return self._runs.out.in_order()

    def _take(self, event: InputEvent) -> None:
        match event:
            case Tick():
                self._tick()
            case Booted():
                self._booted(event)
            case TableLoaded():
                self._up_to_now()
                self._timetable.put(event.table)
                self._follow_table(event.table.source.name, event.table.jobs)
            case TableRemoved():
                self._up_to_now()
                self._timetable.drop(event.name)
                self._follow_table(event.name, nothing())
            case ZonesChanged():
                self._up_to_now()
                self._timetable.zones_changed()
            case Resumed():
                self._resume(event)
            case Redriven():
                self._redrive(event)
            case StartedByHand():
                self._start_by_hand(event)
            case CancelledByHand():
                if event.run in self._alive:
                    self._runs.cancel(event.run, event.by, event.kill_after)
            case PauseBegan():
                self._pause(event.pause)
            case PauseEnded():
                self._end_pause(event.scope)
            case Pressure():
                self._admission.closed = closed_gate(self._gates, event.load, event.free_memory)
            case Started():
                self._runs.started(event)
            case Refused():
                outcome = OUTCOME_OF_CAUSE[event.cause] if event.cause else Outcome.FAILED
                self._runs.close(event.attempt, End(Step.REFUSED, outcome, None, event.reason))
            case Ended():
                ending = event.ending
                end = End(Step.ENDED, outcome_of(ending), ending, ending.reason)
                self._runs.close(event.attempt, end)
            case Lost():
                self._runs.close(event.attempt, End(Step.LOST, Outcome.LOST, None, event.reason))
            case StopStarting():
                self._runs.stop_starting()

    # ---- what there is

    def next_wakeup(self) -> float | None:
        """The UTC second at which there is something to do; None when there is nothing, ever."""
        if self.stopping:
            return None
        now = self._runs.now.wall
        times = [
            self._runs.next_wakeup(),
            self._pauses.next_end(),
            now + self._admission.patience(),
        ]
        fire = self._timetable.next_fire_time()
        if fire is not None:
            times.append(fire if fire == self._looked_ahead else fire - self._lead(fire))
        first = min(times)
        return None if math.isinf(first) else first

    @property
    def stopping(self) -> bool:
        """Whether no Run is begun any more."""
        return self._runs.stopping

    @property
    def next_fire_time(self) -> int | None:
        return self._timetable.next_fire_time()

    @property
    def admission(self) -> Admission:
        """The limits and their use, to look at."""
        return self._admission

    @property
    def pauses(self) -> list[Pause]:
        return list(self._pauses)

    @property
    def attempts(self) -> list[LiveRun]:
        """The Runs whose Attempt is on record and has not ended, those that are held too."""
        return self._where(lambda state: state in WITH_ATTEMPT)

    @property
    def running(self) -> list[LiveRun]:
        """The Runs that have begun and not ended."""
        return self._where(lambda state: state in (State.RECORDED, State.RUNNING))

    @property
    def waiting(self) -> list[LiveRun]:
        """The Runs that are due, or tried again later, and have not begun."""
        return self._where(lambda state: state not in WITH_ATTEMPT)

    @property
    def alive(self) -> list[LiveRun]:
        """All Runs that have not ended."""
        return self._where(lambda _: True)

    def find(self, run: RunKey) -> LiveRun | None:
        """A Run that has not ended; None when there is no such Run."""
        live = self._alive.get(run)
        return None if live is None else self._shown(run, live)

    def coming(self, most: int, wanted: Callable[[str], bool]) -> list[tuple[int, Job]]:
        """The next fire times of Jobs whose user is wanted, the first ones first."""
        return self._timetable.coming(most, wanted)

    def _where(self, wanted: Callable[[State], bool]) -> list[LiveRun]:
        return [self._shown(run, live) for run, live in self._alive.items() if wanted(live.state)]

    def _shown(self, run: RunKey, live: Live) -> LiveRun:
        return LiveRun(run, live.job, live.state, live.number, live.planned, live.pid, live.started,
                       self._why(run, live))  # fmt: skip

    def _why(self, run: RunKey, live: Live) -> str | None:
        if live.state is State.QUEUED:
            return self._admission.why(run)
        pause = self._pauses.of(live.job)
        if live.state is State.WAITING and pause is not None:
            return with_its_end(pause)
        return None

    @property
    def idle(self) -> bool:
        return not self._alive

    def is_alive(self, run: RunKey) -> bool:
        return run in self._alive

    def jobs(self) -> Jobs:
        """All Jobs, in the order of table and line."""
        return self._timetable.jobs()

    # ---- time

    def _tick(self) -> None:
        if self.stopping:
            return
        awake = self._look_at_clock()
        if self._runs.let_go():
            return  # at once; what else is due has its turn with the next tick, which is due, too
        self._take_due(awake)

    def _look_at_clock(self) -> float:
        """The real seconds since somebody last looked at it; said when it was set meanwhile."""
        now = self._runs.now
        stepped = reports.clock_stepped(self._seen, now)
        if stepped:
            self._runs.out.logs.append(stepped)
        awake = now.steady - self._seen.steady if self._seen else 0.0
        # A faked clock takes the steady one along: then nothing is known.
        return math.inf if awake < 0 else awake

    def _take_due(self, awake: float) -> None:
        now, out = self._runs.now, self._runs.out
        why = "the clock was set forward" if self._seen else "the daemon was not running"
        for fire, turn, job in self._timetable.take_due(now.wall, awake):
            self._take_up(RunKey(job.id, fire, turn), job)
        self._ahead = {run for run in self._ahead if run.fire_time > now.wall}
        for gap in self._timetable.take_passed_over():
            out.records.append(RecordGap(gap, why))
        out.records.append(RecordCursor(self._timetable.cursor))
        for scope in self._pauses.over(now.wall):
            self._end_pause(scope)
        self._runs.take_timers()
        self._look_ahead()

    def _take_up(self, run: RunKey, job: Job) -> None:
        """A fire time, whose Run may have been taken up ahead of it."""
        self._alive.came(job.id, run.fire_time)
        if run not in self._ahead and run not in self._alive:
            self._runs.come(run, job)

    def _up_to_now(self) -> None:
        """What was due before a change of tables or zones, so that the new begins with now.

        Before the first tick there is nothing yet: the tables are what it is to look at.
        """
        if self._seen and not self.stopping:
            awake = self._look_at_clock()
            self._runs.let_go()
            self._take_due(awake)  # now: with the next tick, who is due may have gone
        self._looked_ahead = self._lead_of = None

    def _booted(self, event: Booted) -> None:
        if self.stopping:
            return
        second = int(self._runs.now.wall)
        for job in self._timetable.reboot_jobs():
            self._take_up(RunKey(job.id, second, event.turn), job)
        self._runs.out.records.append(RecordBoot(event.boot_id, second, event.turn))

    def _look_ahead(self) -> None:
        """Claim what will be due in a moment, so that its time has only to be said.

        Only what nothing can keep from starting as far as is known; the others are taken up when
        they are due.
        """
        now = self._runs.now.wall
        fire = self._timetable.next_fire_time()
        if fire is None or fire == self._looked_ahead or not now < fire <= now + self._lead(fire):
            return
        self._looked_ahead = fire
        for fire_time, turn, job in self._timetable.peek(fire):
            run = RunKey(job.id, fire_time, turn)
            taken = run in self._ahead or run in self._alive
            if not taken and self._runs.is_undisputed(job):
                self._ahead.add(run)
                self._runs.claim(run, job)

    def _lead(self, fire: int) -> float:
        """How many seconds before this fire time it is looked at.

        No longer than it has to be while others wait for the places that are then kept free.
        """
        if self._admission.waiting:
            return LEAD
        if self._lead_of is None or self._lead_of[0] != fire:
            lead = max(LEAD, LEAD_EACH * self._timetable.count(fire))
            self._lead_of = fire, min(lead, LONGEST_LEAD)
        return self._lead_of[1]

    def _follow_table(self, name: str, entries: Entries) -> None:
        """Attempts that have not begun belong to entries: to what those say now, or to none."""
        theirs = [
            (run, live)
            for run, live in self._alive.items()
            if live.job.source.name == name and not is_hook(live.job)
        ]
        if not theirs:
            return
        current = entries.find({live.job.id for _, live in theirs})
        for run, live in theirs:
            job = current.get(live.job.id)
            if job is None:
                self._runs.lose_entry(run, live)
                continue
            live.gone = False
            if live.job != job:
                self._runs.change_job(run, live, job)

    # ---- what an operator wants

    def _start_by_hand(self, event: StartedByHand) -> None:
        run = RunKey(event.job.id, int(self._runs.now.wall), event.turn)
        if not self.stopping and run not in self._alive:
            self._runs.start_by_hand(run, event.job, event.by, force=event.force)

    def _redrive(self, event: Redriven) -> None:
        """A dead letter begins anew, at once, with as many retries as it had."""
        run, number = event.attempt.run, event.attempt.number
        if run in self._alive or self.stopping:
            return
        live = self._alive.enter(run, event.job, self._runs.now.wall)
        live.number, live.outcome = number, Outcome.FAILED
        live.redrive = Redrive(number, self._runs.now.wall)
        self._runs.out.records.append(RecordRevived(run, live.redrive))
        self._runs.ask(run, live)

    def _pause(self, pause: Pause) -> None:
        """Nothing in its scope begins; what asks, waits, and what is held was due in the pause."""
        self._pauses.begin(pause)
        self._runs.out.records.append(RecordPause(pause))
        self._runs.out.logs.append(reports.paused(pause))
        for run, live in self._alive.items():
            if pause.scope not in scopes_of(live.job):
                continue
            if live.state is State.HELD:
                self._runs.give_up(run, Outcome.SKIPPED, in_words(pause))
            elif live.state is State.QUEUED:
                self._runs.put_off(run, live)

    def _end_pause(self, scope: str) -> None:
        if not self._pauses.end(scope):
            return
        self._runs.out.records.append(RecordResume(scope))
        self._runs.out.logs.append(reports.resumed(scope))
        for run, live in self._alive.items():
            if live.put_off:
                self._runs.ask_again(run, live)

    # ---- what an earlier daemon has left

    def _resume(self, event: Resumed) -> None:
        """Take up a Run where an earlier daemon has left it."""
        run, number, job = event.attempt.run, event.attempt.number, event.job
        self._ahead.add(run)  # whatever becomes of it before that time is handed out
        live = self._alive.enter(run, job, self._runs.planned(run, job))
        live.number, live.redrive, live.gone = number, event.redrive, event.gone
        live.outcome, live.exit_status = event.outcome, event.exit_status
        live.pid, live.started = event.pid, event.started
        if event.latest is not None:
            self._alive.came(job.id, event.latest)
        if number and event.outcome is None:
            self._admission.take(run, job)
            ahead = event.pid is None and self._runs.is_ahead(run, job)
            begun = State.RECORDED if event.pid is None else State.RUNNING
            self._alive.place(run, State.HELD if ahead else begun)
            return
        live.planned = event.retry_at or live.planned
        if event.gone:
            self._runs.lose_entry(run, live)
        elif not number and self._slept_through(live):
            self._runs.give_up(run, Outcome.MISSED, "the daemon was not running")
        else:
            self._runs.set_timer(live.planned, run)

    def _slept_through(self, live: Live) -> bool:
        """Whether the time of a start that was put off has come and gone without a daemon."""
        if live.job.settings.catch_up is not CatchUp.NONE:
            return False
        return any(gap.after < live.planned <= gap.until for gap in self._gaps)
