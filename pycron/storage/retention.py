"""Housekeeping: what history does not keep for ever, in steps that do not grow with it.

What has not ended stays, and so do dead letters, up to a limit of their own. Of the rest the oldest
go first.
"""

import sqlite3
from collections.abc import Callable

from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey
from pycron.storage.rows import RUN_KEY, run_key, whole, whole_or_none

_JOBS_A_LOOK = 2000
_LOUD_JOBS_A_LOOK = 20  # of those that have printed too much
_PAGES_A_LOOK = 1000  # given back to the file system
_ROOM = 1 / 32  # of the database, left for what comes until the next look
_AGED = 3600  # seconds: by so much older, what is kept may be too old
_OVER = "outcome IS NOT NULL AND NOT dead"


class Retention:
    """The looks at one database, each of which goes on where the last one stopped."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._db.execute("CREATE TEMP TABLE gone (number INTEGER PRIMARY KEY)")
        self._last_job = 0
        self._fruitless = False  # all looks since the first Job's turn
        self._free_pages = True
        self._kept: tuple[RetentionLimits, int] | None = None  # by the last look, and since when

    def has_nothing_for(self, keep: RetentionLimits, before: int) -> bool:
        """Whether a look would find nothing, and there is nothing to be given back either.

        All Jobs have had their turn with nothing to go, not long ago, and nothing has come since.
        """
        if not self._fruitless or self._last_job or self._free_pages or not self._kept:
            return False
        kept, since = self._kept
        return keep == kept and since <= before < since + _AGED

    def disturb(self) -> None:
        """There is something new."""
        self._fruitless = False

    def look(
        self,
        keep: RetentionLimits,
        before: int,
        at_once: int,
        remove: Callable[[list[AttemptKey]], None],
    ) -> bool:
        """Forget `at_once` Runs and as many outputs, or what there is; whether a Job has gone, too.

        To be called in a transaction. `remove` is told whose output files are to go before the
        record of them does: so none is left behind, whatever happens in between.
        """
        fruitless = self._fruitless or not self._last_job
        self._fruitless = False
        self._kept = keep, before
        changes = self._db.total_changes
        self._let_dead_go(keep.dead, at_once)
        self._choose(keep, before, at_once)
        jobs = self._look_at_jobs(keep.job_runs, at_once)
        outputs = self._outputs_of_gone()
        self._db.execute("DELETE FROM attempts WHERE run IN (SELECT number FROM gone)")
        self._db.execute("DELETE FROM runs WHERE number IN (SELECT number FROM gone)")
        self._db.execute("DELETE FROM gone")
        self._db.execute("DELETE FROM gaps WHERE until < ?", (before,))
        outputs += self._surplus_outputs_of_jobs(jobs, keep.job_output_bytes, at_once)
        outputs += self._surplus_outputs(keep.output_bytes, at_once)
        remove(outputs)
        jobs_have_gone = self._drop_unused(jobs)
        self._fruitless = fruitless and self._db.total_changes == changes
        return jobs_have_gone

    def shrink(self) -> None:
        """Give pages that are free back to the file system. Not in a transaction."""
        # executescript, because execute frees one page only
        self._db.executescript(f"PRAGMA incremental_vacuum({_PAGES_A_LOOK})")
        self._free_pages = bool(self._pragma("freelist_count"))

    def _let_dead_go(self, most: int, at_once: int) -> None:
        """The oldest dead letters, where they are too many: from now on they are like all Runs."""
        self._db.execute(
            "UPDATE runs SET dead = 0 WHERE number IN"
            " (SELECT number FROM runs WHERE dead ORDER BY fire_time DESC LIMIT ? OFFSET ?)",
            (at_once, most),
        )

    def _choose(self, keep: RetentionLimits, before: int, at_once: int) -> None:
        """Runs that are too old or too many, and of a database that is nearly full the oldest."""
        self._db.execute(
            f"INSERT OR IGNORE INTO gone SELECT number FROM runs WHERE fire_time < ? AND {_OVER}"
            " ORDER BY fire_time LIMIT ?",
            (before, at_once),
        )
        (total,) = self._db.execute("SELECT total(runs) FROM jobs").fetchone()
        runs = int(total)
        full = self._used_bytes() > keep.database_bytes * (1 - _ROOM)
        surplus = runs if full else runs - keep.runs
        if surplus > 0:
            self._db.execute(
                "INSERT OR IGNORE INTO gone SELECT number FROM"
                " (SELECT number, outcome, dead FROM runs ORDER BY fire_time LIMIT ?)"
                f" WHERE {_OVER} LIMIT ?",
                (surplus, at_once),
            )

    def _used_bytes(self) -> int:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _look_at_jobs(self, most: int, at_once: int) -> list[int]:
        """Choose the Runs that a few of the Jobs have too many of; those Jobs."""
        rows = self._db.execute(
            "SELECT number, runs FROM jobs WHERE number > ? ORDER BY number LIMIT ?",
            (self._last_job, _JOBS_A_LOOK),
        ).fetchall()
        self._last_job = rows[-1]["number"] if len(rows) == _JOBS_A_LOOK else 0
        for row in rows:
            if whole(row, "runs") > most:
                self._db.execute(
                    "INSERT OR IGNORE INTO gone SELECT number FROM"
                    " (SELECT number, outcome, dead FROM runs WHERE job = ?"
                    f" ORDER BY fire_time LIMIT ?) WHERE {_OVER} LIMIT ?",
                    (row["number"], whole(row, "runs") - most, at_once),
                )
        return [row["number"] for row in rows]

    def _drop_unused(self, jobs: list[int]) -> bool:
        """Forget those of the Jobs that no Run belongs to any more."""
        query = "DELETE FROM jobs WHERE number = ? AND runs = 0"
        return self._db.executemany(query, [(job,) for job in jobs]).rowcount > 0

    def _outputs_of_gone(self) -> list[AttemptKey]:
        query = (  # CROSS keeps SQLite from looking at all Attempts first
            f"SELECT {RUN_KEY}, attempts.number FROM gone"
            " CROSS JOIN runs ON runs.number = gone.number JOIN jobs ON jobs.number = runs.job"
            " CROSS JOIN attempts ON attempts.run = gone.number"
            " WHERE attempts.output_kept IS NOT 0"
        )
        return [_attempt_key(row) for row in self._db.execute(query)]

    def _surplus_outputs_of_jobs(
        self, jobs: list[int], most: int, at_once: int
    ) -> list[AttemptKey]:
        """Forget the oldest outputs of those of the Jobs that have too many bytes; the Runs stay.

        Where these are many, those that have the most go first, and the others have to wait.
        """
        if not jobs:
            return []
        loud = self._db.execute(
            "SELECT number, output_kept FROM jobs WHERE number BETWEEN ? AND ? AND output_kept > ?"
            " ORDER BY output_kept DESC LIMIT ?",
            (jobs[0], jobs[-1], most, _LOUD_JOBS_A_LOOK),
        ).fetchall()
        gone: list[AttemptKey] = []
        for job in loud:
            oldest = self._oldest_outputs(job["number"], whole(job, "output_kept"), most)
            gone += self._forget_outputs(oldest[:at_once])
        return gone

    def _oldest_outputs(self, job: int, total: int, most: int) -> list[sqlite3.Row]:
        """The outputs of a Job that are to go, the oldest first.

        They are found from the newest on, and no further than there is output: `total` bytes. All
        rows come here, since Python asks SQLite for the next one before it hands out this one.
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

    def _surplus_outputs(self, most: int, at_once: int) -> list[AttemptKey]:
        """Forget the oldest outputs while they are too many bytes; the Runs stay."""
        query = "SELECT coalesce(sum(output_kept), 0) FROM jobs"
        (total,) = self._db.execute(query).fetchone()
        if total <= most:
            return []
        rows = self._db.execute(
            f"SELECT {RUN_KEY}, attempts.number, run, attempts.output_kept"
            " FROM attempts JOIN runs ON runs.number = run JOIN jobs ON jobs.number = job"
            " WHERE attempts.output_kept > 0 ORDER BY run LIMIT ?",
            (at_once,),
        ).fetchall()
        chosen: list[sqlite3.Row] = []
        for row in rows:
            if total <= most:
                break
            total -= whole(row, "output_kept")
            chosen.append(row)
        return self._forget_outputs(chosen)

    def _forget_outputs(self, chosen: list[sqlite3.Row]) -> list[AttemptKey]:
        self._db.executemany(
            "UPDATE attempts SET output_kept = 0 WHERE run = ? AND number = ?",
            [(row["run"], row["number"]) for row in chosen],
        )
        return [_attempt_key(row) for row in chosen]


def _attempt_key(row: sqlite3.Row) -> AttemptKey:
    return AttemptKey(run_key(row), whole(row, "number"))
