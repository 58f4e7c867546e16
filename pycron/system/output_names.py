"""The names of output files."""

from pycron.model.instants import rfc3339
from pycron.model.run import AttemptKey


def output_name(attempt: AttemptKey) -> str:
    """The path of an Attempt's output below the output directory: one directory for each day."""
    return f"{rfc3339(attempt.run.fire_time)[:10]}/{attempt}.log"
