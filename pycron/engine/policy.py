"""Decisions that need no memory: functions from values to values."""

from dataclasses import dataclass, replace

from pycron.crontab.table import Table
from pycron.model.job import Job, digest
from pycron.model.run import Cause, Ending, Outcome, RunKey
from pycron.model.settings import Settings, intern
from pycron.schedule.expressions import Reboot

_EX_TEMPFAIL = 75  # sysexits(3): try again later
OUTCOME_OF_CAUSE = {
    Cause.TIMEOUT: Outcome.TIMED_OUT,
    Cause.MEMORY: Outcome.OUT_OF_MEMORY,
    Cause.CANCELLED: Outcome.CANCELLED,
}
_OUTCOME_WORDS = {
    Outcome.KILLED: "signal",
    Outcome.TIMED_OUT: "timeout",
    Outcome.OUT_OF_MEMORY: "memory",
    Outcome.LOST: "lost",
}


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """What is kept: so many Runs, of each Job and in all; so many dead letters; so many bytes of
    outputs, of each Job and in all; so many bytes of the database.
    """

    runs: int
    job_runs: int
    dead: int
    output_bytes: int
    database_bytes: int
    job_output_bytes: int


@dataclass(frozen=True, slots=True)
class Gates:
    """When a machine is too busy for more commands: None is never. `free_memory`: bytes."""

    load: float | None = None
    free_memory: int | None = None


ALWAYS_OPEN = Gates()


def outcome_of(ending: Ending) -> Outcome:
    """How an Attempt ended, by what the kernel and the runner said."""
    if ending.cause is not None:
        return OUTCOME_OF_CAUSE[ending.cause]
    if ending.signal is not None:
        return Outcome.KILLED
    return Outcome.FAILED if ending.exit_status else Outcome.SUCCEEDED


def settle(last_good: Table | None, new: Table) -> Table:
    """Which Jobs run when a table has changed. A bad table never replaces a good one.

    With an error in the new one, the Jobs are those of its last good version; where there never
    was one, those of its good lines. The problems are the new ones either way.
    """
    if new.errors and last_good is not None:
        return Table(new.source, last_good.jobs, new.problems)
    return new


def start_delay(job: Job, host: str) -> int:
    """Seconds from the fire time to the start: CRON_JITTER spreads them, the same each time.

    RANDOM_DELAY of cronie is the same setting in minutes. @reboot comes when it comes.
    """
    spread = 0 if isinstance(job.schedule, Reboot) else job.settings.jitter
    return int(digest(host, job.id, "jitter"), 16) % (spread + 1) if spread else 0


def too_late(job: Job, planned: float, now: float) -> str | None:
    """Why a Run that was planned for this instant may not start any more; None if it may."""
    deadline = job.settings.start_deadline
    if deadline is None or now - planned <= deadline:
        return None
    return f"{round(now - planned)} seconds late; CRON_START_DEADLINE is {deadline}"


def closed_gate(limits: Gates, load: float, free_memory: int) -> str | None:
    """Why nothing may begin on a machine under pressure; None when it may."""
    if limits.load is not None and load > limits.load:
        return f"the load is {load:.1f} (limits.load is {limits.load:g})"
    if limits.free_memory is not None and free_memory < limits.free_memory:
        mebibytes = free_memory // 2**20
        return f"{mebibytes} MiB of memory are free (limits.free_memory is {limits.free_memory})"
    return None


FOR_A_HOOK = ("timeout", "kill_after", "memory_max", "pool", "priority", "nice", "umask", "cwd")


def failure_hook(job: Job, run: RunKey, outcome: Outcome, exit_status: int | None) -> Job | None:
    """The Job of CRON_ON_FAILURE: its one Run has the fire time of the Run that has failed.

    So the identity of Runs is what keeps it from being run twice. None where there is none.
    """
    command = job.settings.on_failure
    if command is None:
        return None
    settings = {(name, getattr(job.settings, name)) for name in FOR_A_HOOK}
    told = {
        "CRON_FAILED_JOB": job.name,
        "CRON_FAILED_RUN_ID": str(run),
        "CRON_OUTCOME": outcome.value,
        "CRON_EXIT_STATUS": "" if exit_status is None else str(exit_status),
    }
    return replace(
        job,
        id=failure_hook_id(job.id),
        name=f"{job.name}{_HOOK}",
        schedule=Reboot(),
        command=command,
        stdin=None,
        environment=(*job.environment, *told.items()),
        settings=intern(frozenset(settings)),
    )


_HOOK = ":on-failure"  # no CRON_NAME has a colon


def failure_hook_id(job_id: str) -> str:
    return digest(job_id, _HOOK)


def is_hook(job: Job) -> bool:
    return job.name.endswith(_HOOK)


def is_retryable(settings: Settings, outcome: Outcome, exit_status: int | None) -> bool:
    """Whether an Attempt that ended so is tried again, as long as retries are left.

    CRON_NO_RETRY_ON weighs more than CRON_RETRY_ON, and exit status 75 more than both.
    """
    if outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED):
        return False
    if exit_status == _EX_TEMPFAIL:
        return True
    if _is_among(settings.no_retry_on, outcome, exit_status):
        return False
    return _is_among(settings.retry_on, outcome, exit_status)


def _is_among(conditions: tuple[str, ...], outcome: Outcome, exit_status: int | None) -> bool:
    for condition in conditions:
        if condition == "any" or condition == _OUTCOME_WORDS.get(outcome):
            return True
        first, _, last = condition.partition("-")
        if (
            outcome is Outcome.FAILED
            and exit_status is not None
            and first.isdigit()
            and int(first) <= exit_status <= int(last or first)
        ):
            return True
    return False


def retry_delay(settings: Settings, run: RunKey, number: int) -> float:
    """Seconds from the end of Attempt `number` to the start of the next one; never 0.

    The delay grows with each Attempt, up to its cap. The share of it that CRON_RETRY_JITTER names
    is random, but for a Run and Attempt always the same, so a restarted daemon says the same.
    """
    doublings = min(number - 1, 100)  # far beyond any cap, and a float can hold it
    delay = min(settings.retry_delay * settings.retry_backoff**doublings, settings.retry_delay_max)
    chance = (int(digest(str(run), str(number), "retry"), 16) % 1000 + 1) / 1000
    return delay * (1 - settings.retry_jitter + settings.retry_jitter * chance)


def past_retrying(settings: Settings, since: float, at: float) -> str | None:
    """Why a retry at an instant comes too late for a Run; None when it doesn't.

    `since`: its fire time, or when it was put back as a dead letter.
    """
    limit = settings.retry_until
    if isinstance(limit, int) and at > since + limit:
        return f"CRON_RETRY_UNTIL is {limit} seconds, and they are over"
    return None
