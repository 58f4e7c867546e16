"""What an earlier daemon has left, and the machine's boot: what a daemon begins with."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pycron.engine.actions import Action, Record, RecordBoot
from pycron.engine.engine import Engine
from pycron.engine.events import Booted, InputEvent, PauseBegan, Resumed
from pycron.engine.failure_hook import failure_hook, failure_hook_id
from pycron.executor.executor import RunnerExecutor
from pycron.model.history import UnfinishedRun
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.ports import RecordedState
from pycron.system import host


class Recovery:
    """From one daemon to the next.

    `booted`: a file that ends with a boot. `began`: when this daemon did (UTC). `always_boots`:
    each start of the daemon is one, as in the foreground, where the daemon is the machine.
    """

    def __init__(
        self,
        engine: Engine,
        store: RecordedState,
        executor: RunnerExecutor,
        booted: Path,
        feed: Callable[[InputEvent], list[Action]],
        began: float,
        *,
        always_boots: bool,
    ) -> None:
        self._engine = engine
        self._store = store
        self._executor = executor
        self._booted = booted
        self._feed = feed
        self._always_boots = always_boots
        self._began = began

    # ---- Runs

    def resume(self) -> None:
        """Take up the Runs that have not ended."""
        self._resume(self._store.unfinished())

    def resume_late(self) -> None:
        """What could not be read when this daemon began, and what it has not begun itself since."""
        known = {pause.scope for pause in self._engine.pauses}
        for pause in self._store.pauses():
            if pause.scope not in known:
                self._feed(PauseBegan(pause))
        self._resume([
            left
            for left in self._store.unfinished()
            if left.attempt.run.fire_time <= self._began
        ])  # fmt: skip
        self._executor.compare_late()

    def _resume(self, all_left: list[UnfinishedRun]) -> None:
        jobs = self._engine.jobs().find({left.job.id for left in all_left})
        hooks = self._hooks({left.job.id for left in all_left} - jobs.keys())
        self._executor.note_unfinished(left.attempt.run for left in all_left)
        for left in all_left:
            job = jobs.get(left.job.id)
            if job is None and left.job.id in hooks:
                job = self._hook_again(hooks[left.job.id], left.attempt.run)
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
                )
            )

    def _hooks(self, hook_ids: set[str]) -> dict[str, Job]:
        """The Jobs whose CRON_ON_FAILURE has one of these ids, by it."""
        if not hook_ids:
            return {}
        hooked = self._engine.jobs().where(lambda each: each.settings.on_failure is not None)
        found = ((failure_hook_id(entries.id(i)), entries, i) for entries, i in hooked)
        return {hook_id: entries[i] for hook_id, entries, i in found if hook_id in hook_ids}

    def _hook_again(self, job: Job, hook_run: RunKey) -> Job | None:
        """The Job of a CRON_ON_FAILURE that is on record."""
        run = RunKey(job.id, hook_run.fire_time, hook_run.turn)
        found = self._store.run(run)
        if found is None:
            return None
        for attempt in reversed(found.attempts):
            if attempt.outcome is not None:
                return failure_hook(job, run, attempt.outcome, attempt.exit_status)
        return None

    # ---- the boot

    def boot(self) -> None:
        """@reboot: once a boot."""
        boot_id = host.boot_id()
        booted = (self._store.boot_id(), self._remembered_boot())
        if self._always_boots or boot_id not in booted:
            self._feed(Booted(boot_id, self._store.boots_in(int(time.time()))))

    def remember_boot(self, records: list[Record]) -> None:
        """Where the store can't be told of @reboot: what is in the run directory ends with a boot.

        Else a daemon that comes after this one would run it again.
        """
        for record in records:
            if isinstance(record, RecordBoot):
                with suppress(OSError):
                    self._booted.write_text(record.boot_id)

    def _remembered_boot(self) -> str | None:
        try:
            return self._booted.read_text()
        except (OSError, ValueError):
            return None
