"""Entries whose Jobs are made once: a simulation looks at the same few Jobs again and again."""

from pycron.crontab.entries import Entries
from pycron.crontab.table import Table
from pycron.model.job import Job

_MOST_KEPT = 50_000  # of a table; each takes about a kilobyte


class KeptJobs(Entries):
    """The same entries; a Job that was made is kept."""

    def __init__(self, entries: Entries) -> None:
        self.__dict__.update(entries.__dict__)
        self._kept: dict[int, Job] = {}

    def _job(self, index: int) -> Job:
        job = self._kept.get(index)
        if job is None:
            job = super()._job(index)
            if len(self._kept) < _MOST_KEPT:
                self._kept[index] = job
        return job


def with_kept_jobs(table: Table) -> Table:
    """The same table for a simulation."""
    return Table(table.source, KeptJobs(table.jobs), table.problems, table.is_junk)
