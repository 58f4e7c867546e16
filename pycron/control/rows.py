"""The rows of answers: the keys that --json shows, as pycron(1) documents them."""

from typing import Any

from pycron.engine.engine import LiveRun
from pycron.engine.reports import lateness_ms
from pycron.engine.states import State
from pycron.model.history import AttemptRecord, RunRecord
from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import Pause
from pycron.schedule.expressions import resolved_text

Row = dict[str, Any]


def job_row(job: Job) -> Row:
    return {
        "job": job.name,
        "id": job.id,
        "table": job.source.name,
        "line": job.line,
        "user": job.user,
        "schedule": job.schedule.text,
        "resolved": resolved_text(job.schedule),
        "zone": job.zone,
        "command": job.command,
    }


def run_row(run: RunRecord) -> Row:
    """A Run: begun with its first Attempt, ended as its last one."""
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
    }


def attempt_row(attempt: AttemptRecord) -> Row:
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


def precise(instant: float | None) -> str | None:
    """A UTC second with its milliseconds."""
    if instant is None:
        return None
    return f"{rfc3339(instant)[:-1]}.{int(instant * 1000) % 1000:03d}Z"


def live_row(live: LiveRun) -> Row:
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
        "why": what_it_waits_for(live),
        "command": live.job.command,
    }


def what_it_waits_for(live: LiveRun) -> str | None:
    """A place, the end of a pause, or the time of its next Attempt."""
    if live.why is None and live.state is State.WAITING:
        return f"attempt {live.number + 1} is due at {rfc3339(live.planned)}"
    return live.why


def pause_row(pause: Pause, jobs: dict[str, str]) -> Row:
    """A pause; `jobs` has the names of Jobs by id."""
    return {
        "scope": pause.scope,
        "what": scope_in_words(pause.scope, jobs),
        "since": rfc3339(pause.since),
        "until": None if pause.until is None else rfc3339(pause.until),
        "by": pause.by,
        "reason": pause.reason,
    }


def scope_in_words(scope: str, jobs: dict[str, str]) -> str:
    """What a pause holds; `jobs` has the names of Jobs by id."""
    kind, _, name = scope.partition(":")
    return f"job {jobs.get(name, name)}" if kind == "job" else scope.replace(":", " ")
