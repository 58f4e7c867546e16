"""`why`: finds what is known of a Job at a time, and has it judged."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pycron.engine.diagnosis import Answer, Evidence, RunEvidence, diagnose, diagnose_removed
from pycron.engine.engine import Engine
from pycron.engine.local_time import AskedTime, LocalTime, local_time
from pycron.engine.pauses import scopes_of
from pycron.engine.reports import lateness_ms
from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import Pause
from pycron.model.run import Outcome, RunKey
from pycron.protocol.framing import Message
from pycron.schedule.expressions import Reboot
from pycron.schedule.fire_times import follows_the_wall
from pycron.schedule.zone import Zone
from pycron.storage.store import Filter, Row, Store
from pycron.system import host
from pycron.system.zone_data import UnknownZone

_MOST_JOBS = 100  # that one question may be about
_MOST_RUNS = 500  # of one Job at one time
_FARTHEST = 20 * 366 * 86_400  # seconds ahead: finding the fire times there costs time


def asked_time(second: object, *, wall: bool) -> AskedTime:
    """The time that a request is about. Raises ValueError."""
    if type(second) is not int or not 0 <= second <= time.time() + _FARTHEST:
        raise ValueError("bad time (from 1970 to 20 years ahead)")
    return AskedTime(second, wall)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What somebody who `may_see` the Jobs of these users asks of the daemon."""

    engine: Engine
    store: Store
    about: Callable[[], Message]
    may_see: Callable[[str], bool]

    def rows(self, name: str, asked: AskedTime) -> list[Row]:
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

    def _row_of_job(self, job: Job, asked: AskedTime) -> Row:
        zone = self.engine.zone_of(job.zone)
        local = local_time(asked, job.schedule, zone)
        runs = self._runs(job.id, job.user, local)
        answer = diagnose(job.schedule, zone, local, self._evidence(job, local, runs))
        entry = {
            "job": job.name,
            "id": job.id,
            "table": job.source.name,
            "line": job.line,
            "user": job.user,
            "schedule": job.schedule.text,
        }
        return entry | _answer_row(answer, local, zone) | {"runs": runs, "gone": False}

    def _rows_of_gone(
        self, name: str, owner: str, asked: AskedTime, present: set[str]
    ) -> list[Row]:
        """Entries of a user that had this name or id and are gone.

        Of an owner who still has such a Job, only those that have a Run on record at that time.
        """
        newest = self.store.runs(Filter(1, name, owner))
        if not newest:
            return []
        zone = self._zone_or_own(newest[0]["zone"])
        local = local_time(asked, None, zone)
        found = self._runs(name, owner, local)
        living = self.engine.jobs().find({run["job_id"] for run in [*newest, *found]})
        runs = [run for run in found if run["job_id"] not in living]
        entries = {run["job_id"]: run for run in runs}
        if not entries and owner not in present and newest[0]["job_id"] not in living:
            entries = {newest[0]["job_id"]: newest[0]}
        rows = []
        for job_id, entry in entries.items():
            own = [run for run in runs if run["job_id"] == job_id]
            answer = diagnose_removed(Evidence(time.time(), tuple(map(self._on_record, own))))
            about = {
                "job": entry["job"],
                "id": job_id,
                "table": entry["table"],
                "line": entry["line"],
                "user": entry["user"],
                "schedule": entry["schedule"],
            }
            rows.append(about | _answer_row(answer, local, zone) | {"runs": own, "gone": True})
        return rows

    def _zone_or_own(self, name: str | None) -> Zone:
        try:
            return self.engine.zone_of(name)
        except UnknownZone:
            return self.engine.zone_of(None)

    def _runs(self, job: str, user: str, local: LocalTime) -> list[Row]:
        """Those on record, oldest first."""
        found = []
        for start, end in local.windows:
            found += self.store.runs(Filter(_MOST_RUNS, job, user, since=start, until=end))[::-1]
        return found

    def _evidence(self, job: Job, local: LocalTime, runs: list[Row]) -> Evidence:
        now = time.time()
        gap, reaches_back = None, True
        if not runs and local.due and local.due[0] <= now:
            gap = self.store.gap_at(local.due[0], wall=follows_the_wall(job.schedule))
            reaches_back = bool(self.store.runs(Filter(1, until=local.end)))
        started = self._last_start() if isinstance(job.schedule, Reboot) else None
        on_record = tuple(map(self._on_record, runs))
        return Evidence(
            now, on_record, gap, reaches_back, started, self._pause_to_come(job, local, now)
        )

    def _pause_to_come(self, job: Job, local: LocalTime, now: float) -> Pause | None:
        """One in which the Job will be due."""
        due = next((fire for fire in local.due if fire > now), None)
        if due is None:
            return None
        scopes = scopes_of(job)
        pauses = (pause for pause in self.engine.pauses if pause.scope in scopes)
        return next((pause for pause in pauses if pause.covers(due)), None)

    def _on_record(self, row: Row) -> RunEvidence:
        attempts = row["all"]
        first, last = (attempts[0], attempts[-1]) if attempts else ({}, {})
        started = first.get("started")
        return RunEvidence(
            outcome=Outcome(row["outcome"]) if row["outcome"] else None,
            attempts=len(attempts),
            running=last.get("started") is not None and last["outcome"] is None,
            lateness_ms=None if started is None else lateness_ms(_key(row), started),
            reason=row["reason"],
            started_by=row["started_by"],
            retry_at=row["retry_at"],
            waits_for=self._waits_for(_key(row)),
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


def _key(row: Row) -> RunKey:
    return RunKey(row["job_id"], row["fire_time"], row["pass"])


def _answer_row(answer: Answer, local: LocalTime, zone: Zone) -> dict[str, Any]:
    return {
        "zone": zone.name,
        "time": _time_text(local, zone),
        "verdict": answer.verdict,
        "reason": answer.reason,
        "notes": list(answer.notes),
        "fields": [asdict(check) | {"field": check.field.name} for check in answer.fields],
        "before": _fire_time(answer.before, zone),
        "after": _fire_time(answer.after, zone),
    }


def _time_text(local: LocalTime, zone: Zone) -> str:
    """In the Job's zone; without an offset where the clock showed it twice, or never."""
    if len(local.instants) == 1:
        return zone.local(local.instants[0]).isoformat()
    return rfc3339(local.wall).removesuffix("Z")


def _fire_time(instant: int | None, zone: Zone) -> dict[str, str] | None:
    if instant is None:
        return None
    return {"fire_time": rfc3339(instant), "local": zone.local(instant).isoformat()}
