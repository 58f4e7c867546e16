"""Why a Job ran at a time, or did not: the verdict, and what it rests on.

A time is looked at as people write it: a whole minute, but for an interval, where a time with
seconds is that second. The record comes first; where it has nothing, the schedule says whether the
Job was due at all, field by field.
"""

import datetime
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

from pycron.engine.pauses import with_its_end
from pycron.model.instants import rfc3339
from pycron.model.pause import Pause
from pycron.model.run import Outcome
from pycron.schedule.expressions import CronSchedule, Interval, Reboot, Schedule
from pycron.schedule.fields import FIELDS, Field
from pycron.schedule.fire_times import fire_times, follows_the_wall, last_fire_times, next_fire
from pycron.schedule.words import daylight_saving, explain
from pycron.schedule.zone import LONGEST_SHIFT, Zone

_MINUTE = 60


class Verdict(StrEnum):
    """What became of a Job at a time."""

    RAN = "ran"
    RUNNING = "running"
    WAITING = "waiting"
    MISSED = "missed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    PASSED_OVER = "passed_over"
    WILL_BE_DUE = "will_be_due"
    NOT_DUE = "not_due"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Asked:
    """The time that somebody asks about: a UTC second or (`wall`) one read off the Job's clock."""

    second: int
    wall: bool


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an asked time lies for a Job.

    `wall`: the first of the `width` wall seconds that are looked at. `instants`: the UTC seconds at
    which the Job's clock shows it: one; two where it is shown twice; none where the clock skips it,
    and then `jump` is when. `due`: the fire times that belong to it.
    """

    wall: int
    width: int
    instants: tuple[int, ...]
    jump: int | None = None
    due: tuple[int, ...] = ()

    @property
    def windows(self) -> list[tuple[int, int]]:
        """The times [start, end) whose Runs belong to it."""
        if self.jump is not None:
            return [(fire, fire + 1) for fire in self.due]
        return [(instant, instant + self.width) for instant in self.instants]

    @property
    def start(self) -> int:
        return self.instants[0] if self.jump is None else self.jump

    @property
    def end(self) -> int:
        return self.instants[-1] + self.width if self.jump is None else self.jump + 1


@dataclass(frozen=True, slots=True)
class RunOnRecord:
    """What the record has of a Run.

    `lateness_ms`: None where nothing was started. `retry_at`: when its last retry was, or is,
    due. `waits_for`: what keeps it from beginning, or beginning again.
    """

    outcome: Outcome | None
    attempts: int = 0
    running: bool = False
    lateness_ms: int | None = None
    reason: str | None = None
    started_by: str | None = None
    retry_at: float | None = None
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a time, beside the schedule.

    `runs`: those on record, oldest first. `gap`: why fire times then have no Run. `reaches_back`:
    whether Runs as old are on record. `started`: when what @reboot waits for happened last.
    `pause`: one that holds now and will at that time, if nobody ends it.
    """

    now: float
    runs: tuple[RunOnRecord, ...] = ()
    gap: str | None = None
    reaches_back: bool = True
    started: float | None = None
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """One of the five fields: what it says, and what the clock showed."""

    field: Field
    says: str
    was: int
    matches: bool

    def __str__(self) -> str:
        names = self.field.names
        name = f" ({names[self.was - self.field.low]})" if names else ""
        return f"{self.field} says {self.says} and was {self.was}{name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """`reason` and `notes` are for people; `before` and `after` are fire times."""

    verdict: Verdict
    reason: str
    notes: tuple[str, ...] = ()
    fields: tuple[FieldCheck, ...] = ()
    before: int | None = None
    after: int | None = None


def locate(asked: Asked, schedule: Schedule | None, zone: Zone) -> Spot:
    """Where the time lies for a Job of this schedule (None: not known) and zone."""
    to_the_second = isinstance(schedule, Interval) and asked.second % _MINUTE
    width = 1 if to_the_second else _MINUTE
    if asked.wall:
        wall = asked.second - asked.second % width
        instants = tuple(zone.instants_of(wall))
    else:
        offset = zone.offset_at(asked.second)
        wall = (asked.second + offset) // width * width
        instants = (wall - offset,)
    jump = None if instants else zone.jump_over(wall)
    spot = Spot(wall, width, instants, jump)
    return spot if schedule is None else replace(spot, due=_due(spot, schedule, zone))


def _due(spot: Spot, schedule: Schedule, zone: Zone) -> tuple[int, ...]:
    if spot.jump is None:
        windows = spot.windows
    elif not follows_the_wall(schedule) and _names(schedule, spot.wall):
        windows = [(spot.jump, spot.jump + 1)]
    else:
        windows = []  # what is due when the clock has jumped is not due for this
    return tuple(fire for window in windows for fire in fire_times(schedule, zone, *window))


def why(schedule: Schedule, zone: Zone, spot: Spot, known: Known) -> Answer:
    """What became of a Job at a time, or will."""
    verdict, reason = _reader_context(schedule, zone, spot, known)
    before = last_fire_times(schedule, zone, 0, spot.start, 1)
    return Answer(
        verdict,
        reason,
        tuple(_notes(schedule, zone, spot, known)),
        _checks(schedule, spot.wall),
        before[0] if before else None,
        next_fire(schedule, zone, spot.end - 1),
    )


def why_gone(known: Known) -> Answer:
    """The same of a Job whose entry is no longer there, so that the record is all there is."""
    verdict, reason = _of_runs(known.runs) if known.runs else (Verdict.UNKNOWN, _NOTHING)
    return Answer(verdict, reason, ("Its entry is gone.",))


# ---- the verdict

_NOTHING = "nothing is on record"
_NOT_BEGUN = {
    Outcome.MISSED: Verdict.MISSED,
    Outcome.SKIPPED: Verdict.SKIPPED,
    Outcome.CANCELLED: Verdict.CANCELLED,
}


def _reader_context(
    schedule: Schedule, zone: Zone, spot: Spot, known: Known
) -> tuple[Verdict, str]:
    if known.runs:
        return _of_runs(known.runs)
    if not spot.due:
        return Verdict.NOT_DUE, _not_due(schedule, spot)
    if spot.due[0] > known.now:
        return Verdict.WILL_BE_DUE, explain(schedule)
    if known.gap is not None:
        return Verdict.PASSED_OVER, known.gap
    if not known.reaches_back:
        return Verdict.UNKNOWN, "nothing as old is on record"
    causes = "its entry was another then, or not there yet, or the daemon was not running"
    return Verdict.UNKNOWN, f"{_NOTHING}; it may be that {causes}"


def _of_runs(runs: tuple[RunOnRecord, ...]) -> tuple[Verdict, str]:
    """Of several Runs: that it ran, if any of them did."""
    verdicts = [_verdict_of(run) for run in runs]
    verdict = Verdict.RAN if Verdict.RAN in verdicts else verdicts[-1]
    if len(runs) == 1:
        return verdict, _told(runs[0])
    counts = Counter(str(run.outcome or its) for run, its in zip(runs, verdicts, strict=True))
    parts = [f"{count} {name}" for name, count in counts.items()]
    return verdict, f"{len(runs)} Runs: {', '.join(parts)}"


def _verdict_of(run: RunOnRecord) -> Verdict:
    if run.outcome is None:
        return Verdict.RUNNING if run.running else Verdict.WAITING
    return _NOT_BEGUN.get(run.outcome, Verdict.RAN)


def _told(run: RunOnRecord) -> str:
    """`failed, 2 attempts, begun 3 ms after its fire time, out of disk`."""
    verdict = _verdict_of(run)
    parts = [str(run.outcome)] if verdict is Verdict.RAN else []
    if verdict is Verdict.WAITING and not run.attempts:
        parts.append("it has not begun")
    if run.attempts:
        parts.append(f"{run.attempts} {'attempt' if run.attempts == 1 else 'attempts'}")
    if run.lateness_ms is not None:
        parts.append(f"begun {run.lateness_ms} ms after its fire time")
    if run.retry_at is not None and verdict is Verdict.WAITING:
        parts.append(f"the next one is due at {rfc3339(run.retry_at)}")
    if run.waits_for is not None and verdict is Verdict.WAITING:
        parts.append(run.waits_for)
    if run.reason is not None:
        parts.append(run.reason)
    return ", ".join(parts)


def _not_due(schedule: Schedule, spot: Spot) -> str:
    if not isinstance(schedule, CronSchedule):
        return f"it is due {explain(schedule)}"
    if not _names(schedule, spot.wall):
        return "; ".join(str(check) for check in _wrong(schedule, spot.wall))
    if spot.jump is not None:
        return "the clock skipped that time"
    return "the clock showed that time for the second time, and it is due the first time only"


# ---- field by field


def _names(schedule: Schedule, wall: int) -> bool:
    """Whether the five fields name this wall time."""
    minute = wall // _MINUTE
    return isinstance(schedule, CronSchedule) and schedule.next_wall(minute, minute + 1) is not None


def _checks(schedule: Schedule, wall: int) -> tuple[FieldCheck, ...]:
    if not isinstance(schedule, CronSchedule):
        return ()
    shown = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    days = schedule.days
    of_month = replace(days, of_week=0, extended_of_week=(), both=False)
    of_week = replace(days, of_month=0, extended_of_month=(), both=False)
    was = (shown.minute, shown.hour, shown.day, shown.month, shown.isoweekday() % 7)
    matches = (
        schedule.minutes >> shown.minute & 1,
        schedule.hours >> shown.hour & 1,
        of_month.in_month(shown.year, shown.month) >> shown.day & 1,
        schedule.months >> shown.month & 1,
        of_week.in_month(shown.year, shown.month) >> shown.day & 1,
    )
    return tuple(
        FieldCheck(field, says, value, bool(match))
        for field, says, value, match in zip(FIELDS, schedule.fields, was, matches, strict=True)
    )


def _wrong(schedule: CronSchedule, wall: int) -> list[FieldCheck]:
    """The fields that keep it from being due: not a day field where the other one will do."""
    minute, hour, of_month, month, of_week = _checks(schedule, wall)
    checks = [minute, hour, month]
    if schedule.days.both or not (of_month.matches or of_week.matches):
        checks += [of_month, of_week]
    return [check for check in checks if not check.matches]


# ---- notes

_TOO_LARGE = "A shift of more than three hours is not made up for."


def _notes(schedule: Schedule, zone: Zone, spot: Spot, known: Known) -> list[str]:
    notes = [*_notes_on_runs(spot, known), *_notes_on_the_clock(schedule, zone, spot)]
    if known.pause is not None:
        paused = with_its_end(known.pause)
        notes.append(f"It is {paused}: what is due in the pause is skipped.")
    if isinstance(schedule, Reboot) and known.started is not None:
        notes.append(f"The last such start was at {rfc3339(known.started)}.")
    if isinstance(schedule, CronSchedule) and "*" not in (schedule.fields[2], schedule.fields[4]):
        notes.append(
            "Both day fields have to match, as one of them begins with a star."
            if schedule.days.both
            else "One of the two day fields will do, as neither begins with a star."
        )
    return notes


def _notes_on_runs(spot: Spot, known: Known) -> list[str]:
    users = sorted({run.started_by for run in known.runs if run.started_by is not None})
    notes = [f"Started by hand, by {' and '.join(users)}."] if users else []
    if any(run.started_by is None for run in known.runs) and not spot.due:
        notes.append("By what its entry says now it was not due then.")
    return notes


def _notes_on_the_clock(schedule: Schedule, zone: Zone, spot: Spot) -> list[str]:
    """What a shift of the clock has to do with it."""
    shift = daylight_saving(schedule)
    if shift is None:
        return []
    if spot.jump is not None:
        small = zone.stretch_at(spot.jump).skipped
        return [
            f"The clock never showed that time: it jumped over it at {rfc3339(spot.jump)}.",
            shift if small else _TOO_LARGE,
        ]
    if len(spot.instants) == 2:
        first, second = spot.instants
        twice = f"The clock showed that time twice: at {rfc3339(first)} and {rfc3339(second)}."
        return [twice, shift if second - first <= LONGEST_SHIFT else _TOO_LARGE]
    if zone.stretch_at(spot.start).repeated_until > spot.wall:
        return [shift]
    if spot.due and not _names(schedule, spot.wall):
        return ["It was due at a time that the clock had just jumped over.", shift]
    return []
