"""The Job that tries out an entry: it runs the command as the entry says, and tells nobody."""

from dataclasses import replace

from pycron.engine.delivery_jobs import HOOK_SETTINGS
from pycron.model.job import Job, digest
from pycron.model.run import TEST_SUFFIX
from pycron.model.settings import MailOn, intern
from pycron.schedule.expressions import NoSchedule

_PRINT_ENVIRONMENT = "/usr/bin/env"


def job_of_test(job: Job, *, environment: bool) -> Job:
    """A Job with the command of another one, and with the settings that say how that is run.

    Those that say when, how often and whom to tell are left out: there are no retries and no
    deliveries. It has an id of its own, so that no other Run waits for it, or follows it.
    `environment`: it prints the variables of the command in place of running it.
    """
    how = {(name, getattr(job.settings, name)) for name in HOOK_SETTINGS}
    if not environment:
        how.add(("send", job.settings.send))
    return replace(
        job,
        id=digest(job.id, TEST_SUFFIX),
        name=f"{job.name}{TEST_SUFFIX}",
        schedule=NoSchedule(),
        command=_PRINT_ENVIRONMENT if environment else job.command,
        stdin=None if environment else job.stdin,
        settings=intern(frozenset(how | {("mail_on", MailOn.NEVER)})),
        flags="",
    )
