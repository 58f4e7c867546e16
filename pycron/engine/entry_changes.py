"""Entries that change or are removed while Runs of their Jobs are alive."""

from pycron.crontab.entries import Entries
from pycron.engine.live_runs import Live
from pycron.engine.runs import Runs
from pycron.engine.states import State
from pycron.engine.workspace import Workspace
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.schedule.expressions import After


class EntryChanges:
    """Runs that have not started follow what their entries say now."""

    def __init__(self, workspace: Workspace, runs: Runs) -> None:
        self._live = workspace.live
        self._runs = runs

    def follow_table(self, name: str, entries: Entries) -> None:
        """A table has changed; entries may be gone."""
        theirs = [
            (run, live)
            for run, live in self._live.items()
            if live.job.source.name == name and live.job.delivery is None
        ]
        current = entries.find({live.job.id for _, live in theirs}) if theirs else {}
        for run, live in theirs:
            job = current.get(live.job.id)
            if job is None:
                self._runs.lose_entry(run, live)
                continue
            live.gone = False
            if live.job != job:
                self._change_job(run, live, job)

    def _change_job(self, run: RunKey, live: Live, job: Job) -> None:
        """Its entry says something else: a Run that has not started queues again under it."""
        live.job = job
        if run in self._runs.followers:
            self._change_awaited(run, live)
            return
        if live.state is State.HELD:
            self._runs.attempts.withdraw(run)
        elif live.state is State.QUEUED:
            self._runs.queue.put_off(run, live)
        elif not live.put_off:
            return
        self._runs.queue.enqueue_again(run, live)

    def _change_awaited(self, run: RunKey, live: Live) -> None:
        """A Run of an @after Job waits for other Jobs; or its entry waits for none any more."""
        schedule = live.job.schedule
        if isinstance(schedule, After):
            self._runs.followers.wait(run, schedule)
        else:
            self._runs.lose_entry(run, live)
