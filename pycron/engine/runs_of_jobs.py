"""The live Runs of each Job. Most Jobs have one, and a dict for each would take 232 bytes."""

from pycron.model.run import RunKey


class RunsOfJobs:
    """By the id of a Job: its Runs, in the order in which they were added."""

    def __init__(self) -> None:
        self._runs: dict[str, RunKey | dict[RunKey, None]] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._runs

    def of(self, job_id: str) -> list[RunKey]:
        runs = self._runs.get(job_id, {})
        return list(runs) if isinstance(runs, dict) else [runs]

    def add(self, run: RunKey) -> None:
        runs = self._runs.setdefault(run.job_id, run)
        if isinstance(runs, dict):
            runs[run] = None
        elif runs != run:
            self._runs[run.job_id] = {runs: None, run: None}

    def remove(self, run: RunKey) -> None:
        """Raises KeyError if it is not there."""
        runs = self._runs[run.job_id]
        if isinstance(runs, dict):
            del runs[run]
        elif runs != run:
            raise KeyError(run)
        if not isinstance(runs, dict) or not runs:
            del self._runs[run.job_id]
