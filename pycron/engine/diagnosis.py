"""`why`: what happened to a Job at a time, or will happen, and the reason.

If there are recorded Runs of that time, they decide. Otherwise the schedule says, field by field,
whether the Job was due at all.
"""

import datetime
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

from pycron.engine.field_checks import FieldCheck, check_fields, failed_checks, fields_match
from pycron.engine.local_time import LocalTime
from pycron.engine.pauses import with_its_end
from pycron.engine.refusals import RefusedRange
from pycron.model.instants import rfc3339
from pycron.model.pause import Pause
from pycron.model.run import Outcome
from pycron.schedule.expressions import (
    After,
    CronSchedule,
    OwnSchedule,
    Reboot,
    Schedule,
    own_schedule,
    rules_of,
)
from pycron.schedule.fire_times import horizon_of, last_fire_times, next_fire
from pycron.schedule.words import daylight_saving, explain
from pycron.schedule.zone import LONGEST_SHIFT, Zone


class Verdict(StrEnum):
    """The answers to the question what happened to a Job at a time."""

    RAN = "ran"
    RUNNING = "running"
    WAITING = "waiting"
    MISSED = "missed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    PASSED_OVER = "passed_over"
    ELSEWHERE = "elsewhere"
    WILL_BE_DUE = "will_be_due"
    NOT_DUE = "not_due"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """The facts that are known of one Run.

    `attempts`: how many were recorded. `lateness_ms`: from the fire time to the first start; None
    if nothing was started. `retry_at`: the UTC second at which the last retry was due, or is due.
    `waits_for`: why the next Attempt does not start now.
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
class Evidence:
    """The facts that are known of a Job at a time, in addition to its schedule.

    `now`: UTC seconds. `runs`: the Runs of that time, oldest first. `gap`: why fire times of that
    time have no Run. `reaches_back`: whether Runs that are as old are still recorded. `started`:
    the UTC second at which @reboot Jobs were due last. `pause`: a pause in force that will still
    be in force at that time, unless somebody ends it. `refused`: the range with that time in which
    fire times of the user got no Run, because too many Runs waited. `elsewhere`: why a shared Job
    has no Run on this host.
    """

    now: float
    runs: tuple[RunEvidence, ...] = ()
    gap: str | None = None
    reaches_back: bool = True
    started: float | None = None
    pause: Pause | None = None
    refused: RefusedRange | None = None
    elsewhere: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`reason` and `notes` are sentences; `before` and `after` are the nearest fire times."""

    verdict: Verdict
    reason: str
    notes: tuple[str, ...] = ()
    fields: tuple[FieldCheck, ...] = ()
    before: int | None = None
    after: int | None = None


def diagnose(schedule: Schedule, zone: Zone, local: LocalTime, evidence: Evidence) -> Answer:
    """Say what happened to a Job that has an entry, or what will happen to it."""
    own = own_schedule(schedule)
    verdict, reason = _verdict(own, local, evidence)
    earliest = max(0, local.start - horizon_of(own))
    before = last_fire_times(own, zone, earliest, local.start, 1)
    return Answer(
        verdict,
        reason,
        (*_notes(own, zone, local, evidence), *_notes_on_awaited(schedule)),
        check_fields(own, local.wall),
        before[0] if before else None,
        next_fire(own, zone, local.end - 1),
    )


def diagnose_removed(evidence: Evidence) -> Answer:
    """Say what happened to a Job whose entry was removed; only recorded Runs can tell."""
    verdict, reason = _of_runs(evidence.runs) if evidence.runs else (Verdict.UNKNOWN, _NO_RUN)
    return Answer(verdict, reason, ("Its entry is gone.",))


# ---- the verdict

_NO_RUN = "nothing is on record"
_VERDICT_WITHOUT_START = {
    Outcome.MISSED: Verdict.MISSED,
    Outcome.SKIPPED: Verdict.SKIPPED,
    Outcome.CANCELLED: Verdict.CANCELLED,
}


def _verdict(schedule: OwnSchedule, local: LocalTime, evidence: Evidence) -> tuple[Verdict, str]:
    if evidence.runs:
        return _of_runs(evidence.runs)
    if not local.due:
        return Verdict.NOT_DUE, _not_due(schedule, local)
    if local.due[0] > evidence.now:
        return Verdict.WILL_BE_DUE, explain(schedule)
    if evidence.elsewhere is not None:
        return Verdict.ELSEWHERE, evidence.elsewhere
    if evidence.refused is not None:
        return Verdict.MISSED, refused_in_words(evidence.refused)
    if evidence.gap is not None:
        return Verdict.PASSED_OVER, evidence.gap
    if not evidence.reaches_back:
        return Verdict.UNKNOWN, "nothing as old is on record"
    causes = "its entry was another then, or not there yet, or the daemon was not running"
    return Verdict.UNKNOWN, f"{_NO_RUN}; it may be that {causes}"


def refused_in_words(refused: RefusedRange) -> str:
    """`the queue of al is full (…): 9 fire times of al from … to … were missed`."""
    first, last = rfc3339(refused.after + 1), rfc3339(refused.until)
    times = "fire time" if refused.count == 1 else "fire times"
    were = "was" if refused.count == 1 else "were"
    when = f"at {last}" if first == last else f"from {first} to {last}"
    return f"{refused.reason}: {refused.count:,} {times} of {refused.user} {when} {were} missed"


def _of_runs(runs: tuple[RunEvidence, ...]) -> tuple[Verdict, str]:
    """If at least one of several Runs ran, the Job ran; otherwise the last Run decides."""
    verdicts = [_verdict_of(run) for run in runs]
    verdict = Verdict.RAN if Verdict.RAN in verdicts else verdicts[-1]
    if len(runs) == 1:
        return verdict, _run_in_words(runs[0])
    counts = Counter(str(run.outcome or its) for run, its in zip(runs, verdicts, strict=True))
    parts = [f"{count} {name}" for name, count in counts.items()]
    return verdict, f"{len(runs)} Runs: {', '.join(parts)}"


def _verdict_of(run: RunEvidence) -> Verdict:
    if run.outcome is None:
        return Verdict.RUNNING if run.running else Verdict.WAITING
    return _VERDICT_WITHOUT_START.get(run.outcome, Verdict.RAN)


def _run_in_words(run: RunEvidence) -> str:
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


def _not_due(schedule: OwnSchedule, local: LocalTime) -> str:
    if not isinstance(schedule, CronSchedule):
        return _refusal(schedule, local) or f"it is due {explain(schedule)}"
    if not fields_match(replace(schedule, rules=None), local.wall):
        return "; ".join(str(check) for check in failed_checks(schedule, local.wall))
    refusal = _refusal(schedule, local)
    if refusal is not None:
        return refusal
    if local.jump is not None:
        return "the clock skipped that time"
    return "the clock showed that time for the second time, and it is due the first time only"


def _refusal(schedule: OwnSchedule, local: LocalTime) -> str | None:
    """Why the day rules of a schedule do not allow that day; None if they do."""
    rules = rules_of(schedule)
    day = datetime.datetime.fromtimestamp(local.wall, datetime.UTC).date()
    return rules.refusal(day) if rules else None


# ---- notes

_TOO_LARGE = "A shift of more than three hours is not made up for."


def _notes(schedule: OwnSchedule, zone: Zone, local: LocalTime, evidence: Evidence) -> list[str]:
    return [
        *_notes_on_runs(local, evidence),
        *_notes_on_the_clock(schedule, zone, local),
        *_notes_on_the_pause(evidence),
        *_notes_on_the_schedule(schedule, evidence),
    ]


def _notes_on_awaited(schedule: Schedule) -> list[str]:
    if not isinstance(schedule, After):
        return []
    names = " and ".join(schedule.jobs)
    return [f"It runs for each fire time at which {names} succeeded, after that."]


def _notes_on_runs(local: LocalTime, evidence: Evidence) -> list[str]:
    users = sorted({run.started_by for run in evidence.runs if run.started_by is not None})
    notes = [f"Started by hand, by {' and '.join(users)}."] if users else []
    if any(run.started_by is None for run in evidence.runs) and not local.due:
        notes.append("By what its entry says now it was not due then.")
    return notes


def _notes_on_the_clock(schedule: OwnSchedule, zone: Zone, local: LocalTime) -> list[str]:
    """How a shift of the clock (daylight saving) affected the Job."""
    shift = daylight_saving(schedule)
    if shift is None:
        return []
    if local.jump is not None:
        small = zone.stretch_at(local.jump).skipped
        return [
            f"The clock never showed that time: it jumped over it at {rfc3339(local.jump)}.",
            shift if small else _TOO_LARGE,
        ]
    if len(local.instants) == 2:
        first, second = local.instants
        twice = f"The clock showed that time twice: at {rfc3339(first)} and {rfc3339(second)}."
        return [twice, shift if second - first <= LONGEST_SHIFT else _TOO_LARGE]
    if zone.stretch_at(local.start).repeated_until > local.wall:
        return [shift]
    if local.due and not fields_match(schedule, local.wall):
        return ["It was due at a time that the clock had just jumped over.", shift]
    return []


def _notes_on_the_pause(evidence: Evidence) -> list[str]:
    if evidence.pause is None:
        return []
    return [f"It is {with_its_end(evidence.pause)}: what is due in the pause is skipped."]


def _notes_on_the_schedule(schedule: OwnSchedule, evidence: Evidence) -> list[str]:
    if isinstance(schedule, Reboot) and evidence.started is not None:
        return [f"The last such start was at {rfc3339(evidence.started)}."]
    if isinstance(schedule, CronSchedule) and not {"*", "?"} & {*schedule.fields[2::2]}:
        return [
            "Both day fields have to match, as one of them begins with a star."
            if schedule.days.both
            else "One of the two day fields will do, as neither begins with a star."
        ]
    return []
