"""The rows of answers, made from what the engine and the store know."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from pycron.crontab.day_rules import day_settings
from pycron.crontab.listing import Listed
from pycron.engine.live_runs import LiveRun
from pycron.engine.refusals import RefusedRange
from pycron.engine.reports import lateness_ms
from pycron.engine.states import State
from pycron.model.delivery import Delivery
from pycron.model.history import AttemptRecord, LastRun, RunRecord
from pycron.model.instants import rfc3339, with_milliseconds
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope, ScopeKind
from pycron.model.problem import Problem, problem_row
from pycron.model.run import Outcome
from pycron.model.table_version import TableVersion
from pycron.protocol.control_answers import (
    AttemptRow,
    LiveRow,
    PauseRow,
    ProblemRow,
    RefusedRow,
    RunDetails,
    RunRow,
)
from pycron.protocol.job_answers import (
    DueRow,
    JobRow,
    LastRunRow,
    NextRow,
    PausedRow,
    RecentRow,
    ShownJobRow,
)
from pycron.protocol.table_answers import VersionRow
from pycron.schedule.expressions import After, resolved_text
from pycron.schedule.zone import Zone

USUAL = 5  # Runs whose durations say how long a Job usually takes


def job_row(job: Job) -> JobRow:
    return {
        "job": job.name,
        "id": job.id,
        "table": job.source.name,
        "line": job.line,
        "user": job.user,
        "schedule": job.schedule.text,
        "resolved": resolved_text(job.schedule),
        "days": day_settings(job.settings),
        "zone": job.zone,
        "command": job.command,
        "stdin": job.stdin,
    }


def listed_row(entry: Listed) -> ShownJobRow:
    return {
        "job": entry.name,
        "id": entry.id,
        "table": entry.table,
        "line": entry.line,
        "user": entry.user,
        "schedule": entry.schedule,
        "resolved": entry.resolved,
        "days": entry.days,
        "zone": entry.zone,
        "command": entry.command,
        "stdin": entry.stdin,
        "pool": entry.pool,
    }


def listed_job_row(job: Job) -> ShownJobRow:
    return cast(ShownJobRow, {**job_row(job), "pool": job.settings.pool})


def last_run_row(run: LastRun) -> LastRunRow:
    """A Run that has ended."""
    assert run.outcome is not None
    return {
        "run_id": str(run.key),
        "fire_time": rfc3339(run.key.fire_time),
        "outcome": run.outcome,
        "started": precise(run.started),
        "ended": precise(run.ended),
        "exit_status": run.exit_status,
        "signal": run.signal,
    }


def recent_row(run: LastRun) -> RecentRow:
    """A Run that has ended."""
    assert run.outcome is not None
    seconds = _seconds(run)
    return {
        "run_id": str(run.key),
        "outcome": run.outcome,
        "seconds": None if seconds is None else round(seconds, 3),
    }


def usual_seconds(runs: Sequence[LastRun]) -> float | None:
    """How long a Job usually takes, by its last Runs (the newest first) that have succeeded."""
    good = (run for run in runs[:USUAL] if run.outcome is Outcome.SUCCEEDED)
    durations = [seconds for run in good if (seconds := _seconds(run)) is not None]
    return round(statistics.median(durations), 3) if durations else None


def _seconds(run: LastRun) -> float | None:
    return run.ended - run.started if run.ended and run.started else None


def paused_row(pause: Pause | None) -> PausedRow | None:
    if pause is None:
        return None
    until = None if pause.until is None else rfc3339(pause.until)
    return {"by": pause.by, "reason": pause.reason, "until": until}


def next_row(job: Job, fire_time: int, local: str, delay: int, pause: Pause | None) -> NextRow:
    """`local`: the fire time in the zone of the Job. `pause`: one that holds then."""
    return {
        "line": job.line,
        "job": job.name,
        "fire_time": rfc3339(fire_time),
        "local": local,
        "id": job.id,
        "table": job.source.name,
        "user": job.user,
        "delay": delay,
        "after": list(job.schedule.jobs) if isinstance(job.schedule, After) else [],
        "paused": paused_row(pause),
    }


def due_row(job: Job, fire_time: int) -> DueRow:
    return {**job_row(job), "fire_time": rfc3339(fire_time)}


def run_row(run: RunRecord) -> RunRow:
    """A Run: it starts with its first Attempt and ends with its last Attempt."""
    last = run.attempts[-1] if run.attempts else AttemptRecord(0)
    started = run.attempts[0].started if run.attempts else None
    return {
        "run_id": run.run_id,
        "job": run.job,
        "table": run.table,
        "line": run.line,
        "user": run.user,
        "fire_time": rfc3339(run.key.fire_time),
        "started": precise(started),
        "ended": precise(last.ended),
        "attempts": len(run.attempts),
        "outcome": run.outcome,
        "exit_status": last.exit_status,
        "signal": last.signal,
        "lateness_ms": None if started is None else lateness_ms(run.key, started),
        "cpu_seconds": last.cpu_seconds,
        "memory_peak_bytes": last.memory_peak,
        "reason": run.reason,
        "started_by": run.started_by,
        "dead": run.dead,
        "delivery": _delivery(run.delivery),
        "about": None if run.about is None else str(run.about),
        "zone": run.zone,
    }


def _delivery(delivery: Delivery | None) -> str | None:
    """The kind and the occasion, such as `mail failed`."""
    return None if delivery is None else f"{delivery.kind.value} {delivery.occasion.value}"


def run_details(run: RunRecord) -> RunDetails:
    """`stdin` is not on record."""
    said = {"schedule": run.schedule, "command": run.command}
    return cast(RunDetails, {**run_row(run), **said})


def attempt_row(attempt: AttemptRecord) -> AttemptRow:
    return {
        "attempt": attempt.number,
        "pid": attempt.pid,
        "started": precise(attempt.started),
        "ended": precise(attempt.ended),
        "outcome": attempt.outcome,
        "exit_status": attempt.exit_status,
        "signal": attempt.signal,
        "cpu_seconds": attempt.cpu_seconds,
        "memory_peak_bytes": attempt.memory_peak,
        "output_bytes": attempt.output_bytes,
        "reason": attempt.reason,
    }


def live_row(live: LiveRun) -> LiveRow:
    """A Run that has not ended, as `pycron top` shows it."""
    return {
        "run_id": str(live.run),
        "job": live.job.name,
        "user": live.job.user,
        "state": live.state.value,
        "attempt": live.number,
        "planned": precise(live.planned),
        "started": precise(live.started),
        "pid": live.pid,
        "priority": live.job.settings.priority,
        "why": waits_for(live),
        "command": live.job.command,
    }


def waits_for(live: LiveRun) -> str | None:
    """The reason why a Run waits: a limit, the end of a pause, or the time of its next Attempt."""
    if live.why is None and live.state is State.WAITING:
        return f"attempt {live.number + 1} is due at {rfc3339(live.planned)}"
    return live.why


def pause_row(pause: Pause, jobs: Mapping[str, Job]) -> PauseRow:
    """A pause; `jobs` has Jobs by id, for their names."""
    return {
        "scope": str(pause.scope),
        "what": scope_in_words(pause.scope, jobs),
        "since": rfc3339(pause.since),
        "until": None if pause.until is None else rfc3339(pause.until),
        "by": pause.by,
        "reason": pause.reason,
    }


def scope_in_words(scope: Scope, jobs: Mapping[str, Job]) -> str:
    """`all`, `user NAME`, `pool NAME` or `job NAME`; `jobs` has Jobs by id, for their names."""
    job = jobs.get(scope.name) if scope.kind is ScopeKind.JOB else None
    return f"{scope.kind.value} {job.name if job else scope.name}".rstrip()


def problem_rows(problems: Iterable[Problem]) -> list[ProblemRow]:
    return [cast(ProblemRow, problem_row(problem)) for problem in problems]


def precise(instant: float | None) -> str | None:
    """A UTC second with its milliseconds."""
    return None if instant is None else with_milliseconds(instant)


def version_row(version: TableVersion, zone: Zone) -> VersionRow:
    """`zone`: the machine's."""
    by = version.provenance
    return {
        "number": version.number,
        "time": rfc3339(version.time),
        "local": zone.local(version.time).strftime("%Y-%m-%d %H:%M:%S %Z"),
        "author": by.author,
        "origin": by.origin.value,
        "restored": by.restored,
        "bytes": version.size,
        "entries": version.entries,
        "current": version.current,
    }


def refused_row(refused: RefusedRange) -> RefusedRow:
    return {
        "user": refused.user,
        "first": rfc3339(refused.after + 1),
        "last": rfc3339(refused.until),
        "fire_times": refused.count,
        "reason": refused.reason,
    }
