"""RetentionLimits: how much of the history is kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How many Runs (of each Job, and in all) and dead letters are kept.

    `output_bytes`, `job_output_bytes`: bytes of output, in all and of each Job. `database_bytes`:
    the size of the database.
    """

    runs: int
    job_runs: int
    dead: int
    output_bytes: int
    database_bytes: int
    job_output_bytes: int
