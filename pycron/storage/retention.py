"""Retention: deletes Runs and outputs beyond the limits, in steps whose cost does not grow.

Runs that have not ended stay, and so do dead letters, up to a limit of their own. Of the other Runs
of a user the oldest are deleted first. What is too much for all users together comes from those who
have most (model/retention.py), so that nobody's records push out those of somebody else.
"""

import sqlite3
from collections.abc import Callable, Mapping

from pycron.model.retention import RetentionLimits, surpluses
from pycron.model.run import AttemptKey
from pycron.storage import shares
from pycron.storage.rows import RUN_KEY, run_key, whole, whole_or_none

_JOBS_PER_STEP = 2000
_OUTPUT_JOBS_PER_STEP = 20  # Jobs with too many bytes of output
_PAGES_PER_STEP = 1000  # returned to the file system
_UNUSED_PART = 1 / 32  # of the database, for the records until the next step
_AGE_CHECKED = 3600  # seconds after which Runs that were young enough are looked at again
_MAY_GO = "outcome IS NOT NULL AND NOT dead"


class Retention:
    """Steps through one database; each step continues where the last one stopped.

    `more`: whether the last step deleted so much that the next one may find as much again.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._last_job = 0
        self.more = False
        self._nothing_found = False  # by any step since the one that began with the first Job
        self._free_pages = True
        self._applied: tuple[RetentionLimits, int] | None = None  # by the last step
        self._writing: Mapping[str, int] = {}  # as the last step found it

    def has_nothing_for(
        self, keep: RetentionLimits, before: int, writing: Mapping[str, int]
    ) -> bool:
        """Whether a step would find nothing to delete, and no free page to return.

        That is so if, within an hour, steps have looked at all Jobs and found nothing, and nothing
        was written since.
        """
        if not self._nothing_found or self._last_job or self._free_pages or not self._applied:
            return False
        kept, since = self._applied
        return keep == kept and writing == self._writing and since <= before < since + _AGE_CHECKED

    def note_change(self) -> None:
        """Something was written, so the next step may find something."""
        self._nothing_found = False

    def prune(
        self,
        keep: RetentionLimits,
        before: int,
        at_once: int,
        remove: Callable[[list[AttemptKey]], None],
        writing: Mapping[str, int],
    ) -> bool:
        """Delete at most `at_once` Runs and as many outputs; whether a Job was deleted, too.

        `writing`: the bytes of the output files of each user that are still being written. They
        cannot be deleted, so that user gives up other outputs. To be called in a transaction.
        `remove` deletes the output files of Attempts before the transaction commits: after a crash
        in between the rows still exist, and so no file is left without a row.
        """
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS gone (number INTEGER PRIMARY KEY)")
        nothing_found = self._nothing_found or not self._last_job
        self._nothing_found = False
        self._applied, self._writing = (keep, before), dict(writing)
        changes = self._db.total_changes
        shares.release_dead_letters(self._db, keep.dead, at_once)
        self._choose(keep, before, at_once)
        jobs = self._choose_of_jobs(keep.job_runs, at_once)
        outputs = self._outputs_of_gone()
        self._db.execute("DELETE FROM attempts WHERE run IN (SELECT number FROM gone)")
        self._db.execute("DELETE FROM runs WHERE number IN (SELECT number FROM gone)")
        self._db.execute("DELETE FROM gone")
        self._db.execute("DELETE FROM gaps WHERE until < ?", (before,))
        outputs += self._surplus_outputs_of_jobs(jobs, keep.job_output_bytes, at_once)
        outputs += self._surplus_outputs(keep.output_bytes, at_once, writing)
        remove(outputs)
        jobs_were_deleted = self._drop_unused(jobs)
        self._nothing_found = nothing_found and self._db.total_changes == changes
        self.more = self._db.total_changes - changes >= at_once
        return jobs_were_deleted

    def shrink(self) -> None:
        """Return free pages to the file system. Not to be called in a transaction."""
        # execute() would free one page only.
        self._db.executescript(f"PRAGMA incremental_vacuum({_PAGES_PER_STEP})")
        self._free_pages = bool(self._pragma("freelist_count"))

    def _choose(self, keep: RetentionLimits, before: int, at_once: int) -> None:
        """Choose Runs that are too old, and those of users with too many."""
        self._db.execute(
            f"INSERT OR IGNORE INTO gone SELECT number FROM runs WHERE fire_time < ? AND {_MAY_GO}"
            " ORDER BY fire_time LIMIT ?",
            (before, at_once),
        )
        full = self._used_bytes() / (keep.database_bytes * (1 - _UNUSED_PART) or 1)
        surplus = shares.surplus_runs(self._db, keep.runs, full)
        shares.choose_oldest(self._db, surplus, at_once)

    def _used_bytes(self) -> int:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _choose_of_jobs(self, most: int, at_once: int) -> list[int]:
        """Choose the surplus Runs of the next Jobs; the row numbers of these Jobs."""
        rows = self._db.execute(
            "SELECT number, runs FROM jobs WHERE number > ? ORDER BY number LIMIT ?",
            (self._last_job, _JOBS_PER_STEP),
        ).fetchall()
        self._last_job = rows[-1]["number"] if len(rows) == _JOBS_PER_STEP else 0
        for row in rows:
            if whole(row, "runs") > most:
                self._db.execute(
                    "INSERT OR IGNORE INTO gone SELECT number FROM"
                    " (SELECT number, outcome, dead FROM runs WHERE job = ?"
                    f" ORDER BY fire_time LIMIT ?) WHERE {_MAY_GO} LIMIT ?",
                    (row["number"], whole(row, "runs") - most, at_once),
                )
        return [row["number"] for row in rows]

    def _drop_unused(self, jobs: list[int]) -> bool:
        """Delete those of the Jobs that have no Run any more; whether there were any."""
        query = "DELETE FROM jobs WHERE number = ? AND runs = 0"
        return self._db.executemany(query, [(job,) for job in jobs]).rowcount > 0

    def _outputs_of_gone(self) -> list[AttemptKey]:
        query = (  # CROSS keeps SQLite from reading all Attempts first
            f"SELECT {RUN_KEY}, attempts.number FROM gone"
            " CROSS JOIN runs ON runs.number = gone.number JOIN jobs ON jobs.number = runs.job"
            " CROSS JOIN attempts ON attempts.run = gone.number"
            " WHERE attempts.output_kept IS NOT 0"
        )
        return [_attempt_key(row) for row in self._db.execute(query)]

    def _surplus_outputs_of_jobs(
        self, jobs: list[int], most: int, at_once: int
    ) -> list[AttemptKey]:
        """Delete the oldest outputs of those of the Jobs that have too many bytes; the Runs stay.

        If there are many such Jobs, a step takes those with the most bytes.
        """
        if not jobs:
            return []
        jobs_over_limit = self._db.execute(
            "SELECT number, output_kept FROM jobs WHERE number BETWEEN ? AND ? AND output_kept > ?"
            " ORDER BY output_kept DESC LIMIT ?",
            (jobs[0], jobs[-1], most, _OUTPUT_JOBS_PER_STEP),
        ).fetchall()
        gone: list[AttemptKey] = []
        for job in jobs_over_limit:
            oldest = self._oldest_outputs(job["number"], whole(job, "output_kept"), most)
            gone += self._drop_outputs(oldest[:at_once])
        return gone

    def _oldest_outputs(self, job: int, total: int, most: int) -> list[sqlite3.Row]:
        """The surplus outputs of a Job, the oldest first.

        The search begins with the newest output and stops when it has found all `total` bytes. The
        query selects Attempts without output, too: Python fetches a row ahead, and the search for
        one more Attempt with output would read all older Runs.
        """
        rows = self._db.execute(
            f"SELECT {RUN_KEY}, attempts.number, run, attempts.output_kept"
            " FROM jobs CROSS JOIN runs ON runs.job = jobs.number"
            " CROSS JOIN attempts ON attempts.run = runs.number"
            " WHERE jobs.number = ? ORDER BY fire_time DESC, pass DESC",
            (job,),
        )
        kept = 0
        chosen: list[sqlite3.Row] = []
        for row in rows:
            kept += whole_or_none(row, "output_kept") or 0
            if kept > most and row["output_kept"]:
                chosen.append(row)
            if kept >= total:
                break
        return chosen[::-1]

    def _surplus_outputs(
        self, most: int, at_once: int, writing: Mapping[str, int]
    ) -> list[AttemptKey]:
        """Delete the oldest outputs of the users who have too many bytes; the Runs stay."""
        recorded = shares.used(self._db, shares.OUTPUT)
        output = shares.with_writing(self._db, recorded, writing)
        chosen: list[sqlite3.Row] = []
        for user, surplus in shares.most_first(surpluses(output, most)):
            if recorded.get(user) and len(chosen) < at_once:
                chosen += self._oldest_outputs_of_user(user, surplus, at_once - len(chosen))
        return self._drop_outputs(chosen)

    def _oldest_outputs_of_user(self, user: int, surplus: int, at_once: int) -> list[sqlite3.Row]:
        rows = self._db.execute(
            f"SELECT {RUN_KEY}, attempts.number, run, attempts.output_kept"
            " FROM attempts CROSS JOIN runs ON runs.number = run JOIN jobs ON jobs.number = job"
            " WHERE attempts.user = ? AND attempts.output_kept > 0 ORDER BY run LIMIT ?",
            (user, at_once),
        )
        chosen: list[sqlite3.Row] = []
        for row in rows:
            if surplus <= 0:
                break
            surplus -= whole(row, "output_kept")
            chosen.append(row)
        return chosen

    def _drop_outputs(self, chosen: list[sqlite3.Row]) -> list[AttemptKey]:
        self._db.executemany(
            "UPDATE attempts SET output_kept = 0 WHERE run = ? AND number = ?",
            [(row["run"], row["number"]) for row in chosen],
        )
        return [_attempt_key(row) for row in chosen]


def _attempt_key(row: sqlite3.Row) -> AttemptKey:
    return AttemptKey(run_key(row), whole(row, "number"))
