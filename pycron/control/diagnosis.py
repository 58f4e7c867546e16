"""`why`: finds what is known of a Job at a time, and has it judged."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pycron.engine.diagnosis import Answer, Asked, Known, RunOnRecord, Spot, locate, why, why_gone
from pycron.engine.engine import Engine
from pycron.engine.policy import scopes_of
from pycron.engine.reports import lateness_ms
from pycron.model.history import RunFilter, RunRecord
from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import Pause
from pycron.model.run import RunKey
from pycron.ports import History
from pycron.protocol.framing import Message
from pycron.schedule.expressions import Reboot
from pycron.schedule.fire_times import follows_the_wall
from pycron.schedule.zone import Zone
from pycron.system import host
from pycron.system.zone_data import UnknownZone

Row = dict[str, Any]

_MOST_JOBS = 100  # that one question may be about
_MOST_RUNS = 500  # of one Job at one time
_FARTHEST = 20 * 366 * 86_400  # seconds ahead: finding the fire times there costs time


def asked_time(second: object, *, wall: bool) -> Asked:
    """The time that a request is about. Raises ValueError."""
    if type(second) is not int or not 0 <= second <= time.time() + _FARTHEST:
        raise ValueError("bad time (from 1970 to 20 years ahead)")
    return Asked(second, wall)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What somebody who `may_see` the Jobs of these users asks of the daemon."""

    engine: Engine
    store: History
    about: Callable[[], Message]
    may_see: Callable[[str], bool]

    def rows(self, name: str, asked: Asked) -> list[Row]:
        """An answer for each Job that has this name or id, and each that had it.

        Their Runs are rows of the store. Raises ValueError.
        """
        jobs = [job for job in self.engine.jobs().called(name) if self.may_see(job.user)]
        owners = sorted(filter(self.may_see, self.store.owners_of(name)))
        if len(jobs) + len(owners) > _MOST_JOBS:
            raise ValueError(f'too many jobs are called "{name}": name one by its id (pycron list)')
        rows = [self._row_of_job(job, asked) for job in jobs]
        for owner in owners:
            rows += self._rows_of_gone(name, owner, asked, {job.user for job in jobs})
        if not rows:
            raise ValueError(f'no such job: "{name}" (pycron list)')
        return rows

    def _row_of_job(self, job: Job, asked: Asked) -> Row:
        zone = self.engine.zone_of(job.zone)
        spot = locate(asked, job.schedule, zone)
        runs = self._runs(job.id, job.user, spot)
        answer = why(job.schedule, zone, spot, self._known(job, spot, runs))
        entry = {
            "job": job.name,
            "id": job.id,
            "table": job.source.name,
            "line": job.line,
            "user": job.user,
            "schedule": job.schedule.text,
        }
        return entry | _answer_row(answer, spot, zone) | {"runs": runs, "gone": False}

    def _rows_of_gone(self, name: str, owner: str, asked: Asked, present: set[str]) -> list[Row]:
        """Entries of a user that had this name or id and are gone.

        Of an owner who still has such a Job, only those that have a Run on record at that time.
        """
        newest = self.store.runs(RunFilter(1, name, owner))
        if not newest:
            return []
        zone = self._zone_or_own(newest[0].zone)
        spot = locate(asked, None, zone)
        found = self._runs(name, owner, spot)
        living = self.engine.jobs().find({run.key.job_id for run in [*newest, *found]})
        runs = [run for run in found if run.key.job_id not in living]
        entries = {run.key.job_id: run for run in runs}
        if not entries and owner not in present and newest[0].key.job_id not in living:
            entries = {newest[0].key.job_id: newest[0]}
        rows = []
        for job_id, entry in entries.items():
            own = [run for run in runs if run.key.job_id == job_id]
            answer = why_gone(Known(time.time(), tuple(map(self._on_record, own))))
            about = {
                "job": entry.job,
                "id": job_id,
                "table": entry.table,
                "line": entry.line,
                "user": entry.user,
                "schedule": entry.schedule,
            }
            rows.append(about | _answer_row(answer, spot, zone) | {"runs": own, "gone": True})
        return rows

    def _zone_or_own(self, name: str | None) -> Zone:
        try:
            return self.engine.zone_of(name)
        except UnknownZone:
            return self.engine.zone_of(None)

    def _runs(self, job: str, user: str, spot: Spot) -> list[RunRecord]:
        """Those on record, oldest first."""
        found: list[RunRecord] = []
        for start, end in spot.windows:
            found += self.store.runs(RunFilter(_MOST_RUNS, job, user, since=start, until=end))[::-1]
        return found

    def _known(self, job: Job, spot: Spot, runs: list[RunRecord]) -> Known:
        now = time.time()
        gap, reaches_back = None, True
        if not runs and spot.due and spot.due[0] <= now:
            gap = self.store.gap_at(spot.due[0], wall=follows_the_wall(job.schedule))
            reaches_back = bool(self.store.runs(RunFilter(1, until=spot.end)))
        started = self._last_start() if isinstance(job.schedule, Reboot) else None
        on_record = tuple(map(self._on_record, runs))
        return Known(
            now, on_record, gap, reaches_back, started, self._pause_to_come(job, spot, now)
        )

    def _pause_to_come(self, job: Job, spot: Spot, now: float) -> Pause | None:
        """One in which the Job will be due."""
        due = next((fire for fire in spot.due if fire > now), None)
        if due is None:
            return None
        scopes = scopes_of(job)
        pauses = (pause for pause in self.engine.pauses if pause.scope in scopes)
        return next((pause for pause in pauses if pause.covers(due)), None)

    def _on_record(self, run: RunRecord) -> RunOnRecord:
        last = run.attempts[-1] if run.attempts else None
        started = run.attempts[0].started if run.attempts else None
        return RunOnRecord(
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
        """Beside the time of a retry, which is on record."""
        live = self.engine.find(run)
        if live is None:
            return None
        if live.why is None and not live.number and live.planned > time.time():
            return f"its delay is over at {rfc3339(live.planned)} (CRON_JITTER)"
        return live.why

    def _last_start(self) -> float:
        """Of the machine; in the foreground the daemon is it."""
        about = self.about()
        return float(about["since"]) if about["mode"] == "foreground" else host.boot_time()


def _answer_row(answer: Answer, spot: Spot, zone: Zone) -> dict[str, Any]:
    return {
        "zone": zone.name,
        "time": _time_text(spot, zone),
        "verdict": answer.verdict,
        "reason": answer.reason,
        "notes": list(answer.notes),
        "fields": [asdict(check) | {"field": check.field.name} for check in answer.fields],
        "before": _fire_time(answer.before, zone),
        "after": _fire_time(answer.after, zone),
    }


def _time_text(spot: Spot, zone: Zone) -> str:
    """In the Job's zone; without an offset where the clock showed it twice, or never."""
    if len(spot.instants) == 1:
        return zone.local(spot.instants[0]).isoformat()
    return rfc3339(spot.wall).removesuffix("Z")


def _fire_time(instant: int | None, zone: Zone) -> dict[str, str] | None:
    if instant is None:
        return None
    return {"fire_time": rfc3339(instant), "local": zone.local(instant).isoformat()}
