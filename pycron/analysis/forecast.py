"""Collects the results of a simulation.

For each Job: how many Runs start, wait, are skipped or missed; in all: how many run at once.
"""

from collections import Counter
from dataclasses import dataclass, field

from pycron.analysis.minute_counts import MinuteCounts
from pycron.engine.actions import (
    Decisions,
    RecordEnded,
    RecordNotStarted,
    RecordRefused,
    RecordRun,
)
from pycron.engine.engine import Engine
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, RunKey

_WAITED = 0.001  # seconds; less is the rounding of instants


@dataclass(slots=True)
class JobForecast:
    """The results of a simulation for one Job.

    `runs`: how many Runs come to be. `started`: how many of them start, and `waited`: how many of
    these later than planned, because of a limit or another Run. `longest_wait`: seconds. `retries`:
    further Attempts. `busy`: seconds that its commands take. `outcomes`: how its Runs end.
    `reasons`: why Runs wait, are skipped or missed.
    """

    name: str
    id: str
    user: str
    table: str
    line: int
    runs: int = 0
    started: int = 0
    waited: int = 0
    longest_wait: float = 0.0
    longest_at: float = 0.0
    retries: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Forecast:
    """Collects what happens to the Runs of an engine in [start, end), which are UTC seconds.

    `peak`: the most Attempts that run at once, first at `peak_at`. `refused`: fire times that get
    no Run, by the reason.
    """

    def __init__(self, engine: Engine, start: int, end: int) -> None:
        self.starts = MinuteCounts(start, end)
        self.jobs: dict[str, JobForecast] = {}
        self.peak = 0
        self.peak_at = float(start)
        self.running = 0
        self._engine = engine
        self._end = end  # what is due then may be recorded a moment before
        self._refused: dict[tuple[str, int], RecordRefused] = {}

    @property
    def waiting(self) -> int:
        """How many Runs still wait at the end."""
        runs = [live for live in self._engine.waiting if live.job.delivery is None]
        return sum(live.run.fire_time < self._end for live in runs)

    @property
    def refused(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for record in self._refused.values():
            found[record.refused.reason] += record.refused.count
        return found

    # ---- what a simulation tells

    def started(self, attempt: AttemptKey, job: Job, at: float) -> None:
        of_job = self.jobs.get(attempt.run.job_id)
        if of_job is None or at >= self._end:
            return  # a delivery; or it was to start at the end, and is with the runner already
        self.running += 1
        if self.running > self.peak:
            self.peak, self.peak_at = self.running, at
        self.starts.add(at)
        if attempt.number > 1:
            of_job.retries += 1
            return
        of_job.started += 1
        if at > attempt.run.fire_time:  # else it has not waited
            self._note_wait(attempt.run, of_job, at)

    def _note_wait(self, run: RunKey, of_job: JobForecast, at: float) -> None:
        live = self._engine.find(run)
        wait = at - live.planned if live else 0.0
        if live and wait > _WAITED:
            of_job.waited += 1
            if wait > of_job.longest_wait:
                of_job.longest_wait, of_job.longest_at = wait, live.planned

    def ended(self, attempt: AttemptKey) -> None:
        if attempt.run.job_id in self.jobs:
            self.running -= 1

    def decided(self, decisions: Decisions) -> None:
        came: list[RunKey] = []
        for record in decisions.records:
            match record:
                case RecordRun(run, job) if job.delivery is None and run.fire_time < self._end:
                    self._came(run, job)
                    came.append(run)
                case RecordEnded(attempt) if record.run_outcome is not None:
                    self._over(attempt.run, record.run_outcome, None)
                case RecordNotStarted(run, outcome, reason):
                    self._over(run, outcome, reason)
                case RecordRefused(refused):
                    self._refused[refused.user, refused.after] = record
        for run in came:
            if self._engine.admission.is_waiting(run):
                self.jobs[run.job_id].reasons[self._engine.admission.waits_for(run)] += 1

    def _came(self, run: RunKey, job: Job) -> None:
        found = self.jobs.get(run.job_id)
        if found is None:
            found = JobForecast(job.name, job.id, job.user, job.source.name, job.line)
            self.jobs[run.job_id] = found
        found.runs += 1

    def _over(self, run: RunKey, outcome: Outcome, reason: str | None) -> None:
        found = self.jobs.get(run.job_id)
        if found is not None:
            found.outcomes[outcome] += 1
            if reason is not None:
                found.reasons[_setting_in(reason)] += 1


def _setting_in(reason: str) -> str:
    """The part of a reason that is the same for all Runs: `61 seconds late; CRON_… is 60`."""
    return reason.rpartition("; ")[2]
