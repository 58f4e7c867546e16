"""The failure hook: the command of CRON_ON_FAILURE, as a Job with one Run for each failed Run."""

from dataclasses import replace

from pycron.model.job import Job, digest
from pycron.model.run import Outcome, RunKey
from pycron.model.settings import intern
from pycron.schedule.expressions import NoSchedule

# The settings of the failed Job that its failure hook has, too.
HOOK_SETTINGS = (
    "timeout", "kill_after", "memory_max", "pool", "priority", "nice", "umask", "cwd",
)  # fmt: skip
_SUFFIX = ":on-failure"  # a CRON_NAME cannot contain a colon


def failure_hook(job: Job, run: RunKey, outcome: Outcome, exit_status: int | None) -> Job | None:
    """The failure hook for a failed Run; None if the Job has no CRON_ON_FAILURE.

    The Run of the hook has the fire time of the failed Run. So the identity of Runs ensures that
    the hook runs only once for each failed Run.
    """
    command = job.settings.on_failure
    if command is None:
        return None
    settings = {(name, getattr(job.settings, name)) for name in HOOK_SETTINGS}
    variables = {
        "CRON_FAILED_JOB": job.name,
        "CRON_FAILED_RUN_ID": str(run),
        "CRON_OUTCOME": outcome.value,
        "CRON_EXIT_STATUS": "" if exit_status is None else str(exit_status),
    }
    return replace(
        job,
        id=failure_hook_id(job.id),
        name=f"{job.name}{_SUFFIX}",
        schedule=NoSchedule(),
        command=command,
        stdin=None,
        environment=(*job.environment, *variables.items()),
        settings=intern(frozenset(settings)),
        hook_of=job.id,
    )


def failure_hook_id(job_id: str) -> str:
    """The id of the failure hook of the Job with this id."""
    return digest(job_id, _SUFFIX)
