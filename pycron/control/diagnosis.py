"""`why`: collects what is known of a Job at a time; engine.diagnosis gives the verdict."""

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypedDict

from pycron.control.access import Refusal
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import no_such_job
from pycron.control.rows import run_row
from pycron.control.server import Peer
from pycron.engine.diagnosis import Answer, Evidence, RunEvidence, diagnose, diagnose_removed
from pycron.engine.engine import Engine
from pycron.engine.local_time import AskedTime, LocalTime, local_time
from pycron.engine.refusals import RefusedRange
from pycron.engine.reports import lateness_ms
from pycron.engine.upcoming import FARTHEST
from pycron.model.history import RefusedFilter, RunFilter, RunRecord
from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import Pause, scopes_of
from pycron.model.queues import is_served
from pycron.model.run import RunKey
from pycron.ports import History
from pycron.protocol.control_answers import FieldRow, FireTimeRow, WhyAnswer, WhyRow
from pycron.protocol.control_messages import WhyRequest
from pycron.schedule.expressions import Reboot, own_schedule
from pycron.schedule.fire_times import follows_the_wall
from pycron.schedule.zone import Zone
from pycron.system.programs import DEFAULT_PATH
from pycron.system.zone_data import UnknownZone

_MOST_JOBS = 100  # that one question may be about
_MOST_RUNS = 500  # of one Job at one time


@handles(WhyRequest)
def explain(context: Context, peer: Peer, request: WhyRequest) -> WhyAnswer:
    """Answer what happened, or will happen, to each Job of a name or id at a time."""
    may_see = context.access.sight(peer)
    diagnosis = Diagnosis(
        context.engine,
        context.history,
        lambda: context.info().last_boot,
        may_see,
        lambda job: path_of_command(job, context.info().mode),
    )
    return {"rows": diagnosis.rows(request.job, asked_time(request.time, wall=request.wall))}


def asked_time(second: int, *, wall: bool) -> AskedTime:
    """The time that a request is about. Raises Refusal if it is too far in the future."""
    if second > time.time() + FARTHEST:
        raise Refusal("bad time (from 1970 to 20 years ahead)")
    return AskedTime(second, wall)


def path_of_command(job: Job, mode: str) -> str:
    """The PATH of a command, as the executor sets it; `mode`: that of the daemon."""
    passed = os.environ.get("PATH") if mode == "foreground" else None
    return dict(job.environment).get("PATH") or passed or DEFAULT_PATH


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Answers for a user who `may_see` the Jobs of these users.

    `last_boot`: when @reboot Jobs were due last, as a UTC second. `path_of`: the PATH of a Job's
    command.
    """

    engine: Engine
    history: History
    last_boot: Callable[[], float]
    may_see: Callable[[str], bool]
    path_of: Callable[[Job], str | None] = lambda _: None

    def rows(self, name: str, asked: AskedTime) -> list[WhyRow]:
        """An answer for each Job that has this name or id, and each removed Job that had it.

        Raises Refusal if there is none, or there are too many.
        """
        jobs = [job for job in self.engine.jobs().called(name) if self.may_see(job.user)]
        owners = sorted(filter(self.may_see, self.history.owners_of(name)))
        if len(jobs) + len(owners) > _MOST_JOBS:
            raise Refusal(f'too many jobs are called "{name}": name one by its id (pycron list)')
        rows = [self._row_of_job(job, asked) for job in jobs]
        for owner in owners:
            has_job = any(job.user == owner for job in jobs)
            rows += self._rows_of_removed(name, owner, asked, has_job=has_job)
        if not rows:
            raise no_such_job(self.engine.jobs(), self.may_see, name)
        return rows

    def _row_of_job(self, job: Job, asked: AskedTime) -> WhyRow:
        zone = self.engine.zone_of(job.zone)
        local = local_time(asked, job.schedule, zone)
        runs = self._runs(job.id, job.user, local)
        answer = diagnose(job.schedule, zone, local, self._evidence(job, local, runs))
        entry = _Entry(
            job=job.name,
            id=job.id,
            table=job.source.name,
            line=job.line,
            user=job.user,
            schedule=job.schedule.text,
        )
        row = _row(entry, answer, local, zone, runs, gone=False)
        row["paused"] = self._pause_to_come(job, local, time.time()) is not None
        row["path"] = self.path_of(job)
        return row

    def _rows_of_removed(
        self, name: str, owner: str, asked: AskedTime, *, has_job: bool
    ) -> list[WhyRow]:
        """Answers for the entries of a user that had this name or id and were removed.

        `has_job`: the user has a Job of this name or id now. Then only removed entries are answered
        for that have a recorded Run at that time.
        """
        newest = self.history.runs(RunFilter(1, name, owner))
        if not newest:
            return []
        zone = self._zone_of_removed(newest[0])
        local = local_time(asked, None, zone)
        found = self._runs(name, owner, local)
        present = self.engine.jobs().find({run.key.job_id for run in [*newest, *found]})
        entries = {run.key.job_id: run for run in found if run.key.job_id not in present}
        if not entries and not has_job and newest[0].key.job_id not in present:
            entries = {newest[0].key.job_id: newest[0]}
        rows = []
        for job_id, last in entries.items():
            runs = [run for run in found if run.key.job_id == job_id]
            answer = diagnose_removed(Evidence(time.time(), tuple(map(self._run_evidence, runs))))
            rows.append(_row(_entry_of(last), answer, local, zone, runs, gone=True))
        return rows

    def _zone_of_removed(self, run: RunRecord) -> Zone:
        """The zone of the entry; the machine's zone if that zone does not exist any more."""
        try:
            return self.engine.zone_of(run.zone)
        except UnknownZone:
            return self.engine.zone_of(None)

    def _runs(self, job: str, user: str, local: LocalTime) -> list[RunRecord]:
        """The recorded Runs at a time, oldest first."""
        found: list[RunRecord] = []
        for start, end in local.windows:
            wanted = RunFilter(_MOST_RUNS, job, user, since=start, until=end)
            found += reversed(self.history.runs(wanted))
        return found

    def _evidence(self, job: Job, local: LocalTime, runs: Collection[RunRecord]) -> Evidence:
        now = time.time()
        gap, reaches_back, refused = None, True, None
        if not runs and local.due and local.due[0] <= now:
            gap = self.history.gap_at(local.due[0], wall=follows_the_wall(job.schedule))
            refused = self._refused(job.user, local.due[0])
            reaches_back = bool(self.history.runs(RunFilter(1, until=local.end)))
        is_reboot = isinstance(own_schedule(job.schedule), Reboot)
        started = self.last_boot() if is_reboot else None
        on_record = tuple(map(self._run_evidence, runs))
        return Evidence(
            now, on_record, gap, reaches_back, started, self._pause_to_come(job, local, now),
            refused, self._elsewhere(job, local),
        )  # fmt: skip

    def _elsewhere(self, job: Job, local: LocalTime) -> str | None:
        """Why a shared Job has no Run here at that time; None for every other Job."""
        if not job.settings.runs_on.shared or not local.due:
            return None
        known = self.engine.shared.why(RunKey(job.id, local.due[0]))
        queue, served = job.settings.runs_on.queue, self.engine.shared.served
        if queue is None:
            return known or "this host did not run it (pycron cluster runs tells of all hosts)"
        alone = served is not None and not is_served(queue, served)
        nobody = f"; no worker serves the queue {queue} at present" if alone else ""
        known = known or "this host did not run it"
        return f"{known}{nobody} (pycron why --cluster tells what became of it)"

    def _refused(self, user: str, fire: int) -> RefusedRange | None:
        """The range with this fire time, in which fire times of the user got no Run."""
        found = self.history.refused(RefusedFilter(1, user, fire, fire + 1))
        return found[0] if found else None

    def _pause_to_come(self, job: Job, local: LocalTime, now: float) -> Pause | None:
        """A pause in which the Job will be due at that time."""
        due = next((fire for fire in local.due if fire > now), None)
        if due is None:
            return None
        scopes = scopes_of(job)
        pauses = (pause for pause in self.engine.pauses if pause.scope in scopes)
        return next((pause for pause in pauses if pause.covers(due)), None)

    def _run_evidence(self, run: RunRecord) -> RunEvidence:
        last = run.attempts[-1] if run.attempts else None
        started = run.attempts[0].started if run.attempts else None
        return RunEvidence(
            outcome=run.outcome,
            attempts=len(run.attempts),
            running=last is not None and last.started is not None and last.outcome is None,
            lateness_ms=None if started is None else lateness_ms(run.key, started),
            reason=run.reason,
            started_by=run.started_by,
            retry_at=run.retry_at,
            waits_for=self._waits_for(run.key),
        )

    def _waits_for(self, run: RunKey) -> str | None:
        """The reason why a Run waits, apart from the time of its retry, which is recorded."""
        live = self.engine.find(run)
        if live is None:
            return None
        if live.why is None and not live.number and live.planned > time.time():
            return f"its delay is over at {rfc3339(live.planned)} (CRON_JITTER)"
        return live.why


class _Entry(TypedDict):
    """The entry that an answer is about."""

    job: str
    id: str
    table: str
    line: int
    user: str
    schedule: str


def _entry_of(run: RunRecord) -> _Entry:
    return {
        "job": run.job,
        "id": run.key.job_id,
        "table": run.table,
        "line": run.line,
        "user": run.user,
        "schedule": run.schedule,
    }


def _row(
    entry: _Entry,
    answer: Answer,
    local: LocalTime,
    zone: Zone,
    runs: list[RunRecord],
    *,
    gone: bool,
) -> WhyRow:
    return {
        **entry,
        "zone": zone.name,
        "time": _time_text(local, zone),
        "verdict": answer.verdict,
        "reason": answer.reason,
        "notes": list(answer.notes),
        "fields": _field_rows(answer),
        "before": _fire_time(answer.before, zone),
        "after": _fire_time(answer.after, zone),
        "runs": [run_row(run) for run in runs],
        "gone": gone,
        "paused": False,
        "path": None,
    }


def _field_rows(answer: Answer) -> list[FieldRow]:
    return [
        {"field": each.field.name, "says": each.says, "was": each.was, "matches": each.matches}
        for each in answer.fields
    ]


def _time_text(local: LocalTime, zone: Zone) -> str:
    """In the Job's zone; without an offset if the clock showed the time twice, or never."""
    if len(local.instants) == 1:
        return zone.local(local.instants[0]).isoformat()
    return rfc3339(local.wall).removesuffix("Z")


def _fire_time(instant: int | None, zone: Zone) -> FireTimeRow | None:
    if instant is None:
        return None
    return {"fire_time": rfc3339(instant), "local": zone.local(instant).isoformat()}
