"""The start of a daemon: the Runs that an earlier daemon left, and the boot of the machine."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pycron.engine.actions import Record, RecordBoot
from pycron.engine.delivery_jobs import failure_hook, failure_hook_id
from pycron.engine.engine import Engine
from pycron.engine.events import Booted, InputEvent, PauseBegan, Resumed
from pycron.executor.executor import RunnerExecutor
from pycron.model.history import UnfinishedRun
from pycron.model.job import Job
from pycron.model.run import Outcome, RunKey
from pycron.ports import RecordedState
from pycron.schedule.expressions import After
from pycron.system import host


class Recovery:
    """Takes over from an earlier daemon.

    `booted`: a file that is gone after a boot. `began`: the UTC second at which this daemon was
    started. `queue_job`: the Job of a Run that a worker has got. `always_boots`: each start of the
    daemon counts as a boot; in the foreground the daemon is the machine. `boot_markers`: files that
    say that a cron with the same tables has run the @reboot jobs of this boot.
    """

    def __init__(
        self,
        engine: Engine,
        recorded: RecordedState,
        executor: RunnerExecutor,
        booted: Path,
        feed: Callable[[InputEvent], object],
        began: float,
        *,
        always_boots: bool,
        boot_markers: Sequence[Path] = (),
    ) -> None:
        self._engine = engine
        self._recorded = recorded
        self._executor = executor
        self._booted = booted
        self._feed = feed
        self._began = began
        self.queue_job: Callable[[RunKey], Job | None] = lambda _: None
        self._always_boots = always_boots
        self._boot_markers = boot_markers

    # ---- Runs

    def resume(self) -> None:
        """Feed the engine the Runs that an earlier daemon left unfinished."""
        self._resume(self._recorded.unfinished())

    def resume_late(self) -> None:
        """The same when the store can be read at last: only what this daemon has not begun."""
        known = {pause.scope for pause in self._engine.pauses}
        for pause in self._recorded.pauses():
            if pause.scope not in known:
                self._feed(PauseBegan(pause))
        self._resume(
            left
            for left in self._recorded.unfinished()
            if left.attempt.run.fire_time <= self._began
        )
        self._executor.compare_late()

    def _resume(self, runs: Iterable[UnfinishedRun]) -> None:
        unfinished = list(runs)
        jobs = self._engine.jobs().find({left.job.id for left in unfinished})
        hooked = self._hooked_jobs({left.job.id for left in unfinished} - jobs.keys())
        self._executor.note_unfinished(left.attempt.run for left in unfinished)
        for left in unfinished:
            job = jobs.get(left.job.id)
            if job is None and left.job.id in hooked:
                job = self._hook_again(hooked[left.job.id], left.attempt.run)
            job = self.queue_job(left.attempt.run) or job
            if left.job.is_message:
                job = left.job
            if job and isinstance(left.job.schedule, After) and not isinstance(job.schedule, After):
                job = None  # its entry does not wait for others any more
            self._feed(
                Resumed(
                    left.attempt,
                    job or left.job,
                    left.pid,
                    left.started,
                    left.retry_at,
                    left.outcome,
                    gone=job is None,
                    redrive=left.redrive,
                    latest=left.latest,
                    exit_status=left.exit_status,
                    printed=left.printed,
                    awaited=self._awaited(job, left.attempt.run),
                )
            )

    def _awaited(self, job: Job | None, run: RunKey) -> dict[str, Outcome]:
        """By id, how the Runs have ended that the Run of an @after Job waits for."""
        if job is None or not isinstance(job.schedule, After):
            return {}
        runs = (self._recorded.run(run._replace(job_id=each)) for each in job.schedule.job_ids)
        return {each.key.job_id: each.outcome for each in runs if each and each.outcome}

    def _hooked_jobs(self, hook_ids: set[str]) -> dict[str, Job]:
        """The Jobs whose failure hook has one of these ids, by the id of the hook."""
        if not hook_ids:
            return {}
        hooked = self._engine.jobs().where(lambda each: each.settings.on_failure is not None)
        found = ((failure_hook_id(entries.id(i)), entries, i) for entries, i in hooked)
        return {hook_id: entries[i] for hook_id, entries, i in found if hook_id in hook_ids}

    def _hook_again(self, job: Job, hook_run: RunKey) -> Job | None:
        """The failure hook of a Job, made once more for the recorded Run that failed."""
        run = RunKey(job.id, hook_run.fire_time, hook_run.pass_number)
        failed = self._recorded.run(run)
        ended = [each for each in failed.attempts if each.outcome] if failed else []
        if not ended or ended[-1].outcome is None:
            return None
        return failure_hook(job, run, ended[-1].outcome, ended[-1].exit_status)

    # ---- the boot

    def boot(self) -> None:
        """Feed the engine the boot of the machine, once for each boot."""
        boot_id = host.boot_id()
        known = (self._recorded.boot_id(), self._remembered_boot())
        if self._always_boots or boot_id not in known:
            marked = any(marker.exists() for marker in self._boot_markers)
            self._feed(Booted(boot_id, self._recorded.boots_in(int(time.time())), marked))

    def mark_boot(self) -> None:
        """Tell other crons that the @reboot Jobs of this boot have run. Call it when they have."""
        for marker in self._boot_markers:
            with suppress(OSError):
                marker.touch(mode=0o600)

    def remember_boot(self, unwritten: Sequence[Record]) -> None:
        """Note the boot in the run directory if the store cannot be written to.

        Otherwise the next daemon would run the @reboot Jobs again.
        """
        for record in unwritten:
            if isinstance(record, RecordBoot):
                with suppress(OSError):
                    self._booted.write_text(record.boot_id)

    def _remembered_boot(self) -> str | None:
        try:
            return self._booted.read_text()
        except (OSError, ValueError):
            return None
