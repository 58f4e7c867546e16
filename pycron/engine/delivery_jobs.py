"""The Jobs that deliveries are Runs of: made from the Job that they tell about."""

from dataclasses import replace

from pycron.crontab.mail_addresses import addresses
from pycron.model.delivery import Delivery, DeliveryKind, Mail, Notification, Occasion, Ping
from pycron.model.history import RunRecord
from pycron.model.job import Job, Source, digest
from pycron.model.run import Outcome, RunKey
from pycron.model.settings import CatchUp, Concurrency, Settings, intern
from pycron.schedule.expressions import NoSchedule

# The settings of the failed Job that its failure hook has, too.
HOOK_SETTINGS = (
    "timeout", "kill_after", "memory_max", "pool", "priority", "nice", "umask", "cwd",
)  # fmt: skip
# The variables of a table that decide about mail; they are stored with each Job that sets one.
MAIL_VARIABLES = ("MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING")
# The pools of deliveries: a colon cannot be in the name of a pool of the configuration.
MAIL_POOL = ":mail"

_POOLS = {
    DeliveryKind.MAIL: MAIL_POOL,
    DeliveryKind.NOTIFICATION: ":notification",
    DeliveryKind.PING: ":ping",
}
DELIVERY_POOLS = tuple(_POOLS.values())
_LOWEST_PRIORITY = -1001  # below that of every Job, so that deliveries delay no start
_NICENESS = 10
_PING_START = "ping-start"
_TIMEOUT = 120  # seconds
# Six more Attempts, after 1, 4, 16, 64, 256 and 360 minutes, each up to half as long again. The
# fire time sets no limit to them: it is that of a Run, which may have run for days.
_SIX_TRIES = {
    "retries": 6, "retry_delay": 60, "retry_backoff": 4.0, "retry_delay_max": 21_600,
    "retry_until": "never",
    "no_retry_on": ("64", "65", "67"),  # sysexits(3): EX_USAGE, EX_DATAERR, EX_NOUSER
}  # fmt: skip


def failure_hook(job: Job, run: RunKey, outcome: Outcome, exit_status: int | None) -> Job | None:
    """The failure hook for a failed Run; None if the Job has no CRON_ON_FAILURE."""
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
        name=f"{job.name}:on-failure",  # a CRON_NAME cannot contain a colon
        schedule=NoSchedule(),
        command=command,
        stdin=None,
        environment=(*job.environment, *variables.items()),
        settings=intern(frozenset(settings)),
        delivery=Delivery(DeliveryKind.HOOK, Occasion.FAILED, job.id, job.name),
    )


def failure_hook_id(job_id: str) -> str:
    """The id of the failure hook of the Job with this id."""
    return digest(job_id, ":on-failure")


def mail_job(job: Job, occasion: Occasion, mail: Mail) -> Job:
    """The Job that mails about Runs of a Job, on an occasion."""
    suffix = _suffix("mail", occasion)
    return _message(job, DeliveryKind.MAIL, occasion, mail, suffix, f"mail {','.join(mail.to)}")


def notification_job(job: Job, occasion: Occasion, section: str) -> Job:
    """The Job that sends the notification of a [notify.NAME] section, on an occasion."""
    suffix = _suffix(f"notify-{section}", occasion)
    target = Notification(section)
    return _message(job, DeliveryKind.NOTIFICATION, occasion, target, suffix, f"notify {section}")


def ping_job(job: Job, occasion: Occasion) -> Job | None:
    """The Job that pings CRON_PING_URL on an occasion; None if the Job has no such URL.

    A start that could not be told at once is told no more: the end may have been told meanwhile.
    """
    url = job.settings.ping_url
    if url is None:
        return None
    target = Ping(url, job.settings.ping_output)
    suffix = _PING_START if occasion is Occasion.STARTED else "ping"
    return _message(job, DeliveryKind.PING, occasion, target, suffix, "ping")


def recorded_message(run: RunRecord) -> Job | None:
    """The Job of a recorded mail, notification or ping; None for any other Run."""
    if run.delivery is None or not run.delivery.is_message:
        return None
    return Job(
        id=run.key.job_id,
        name=run.job,
        source=Source(run.table, run.user),
        line=run.line,
        user=run.user,
        schedule=NoSchedule(),
        command=run.command,
        stdin=None,
        environment=(),
        settings=message_settings(run.delivery),
        delivery=run.delivery,
    )


def ping_start_id(job_id: str) -> str:
    """The id of the Job that pings the starts of the Job with this id."""
    return message_id(job_id, Occasion.STARTED, _PING_START)


def message_id(job_id: str, occasion: Occasion, suffix: str) -> str:
    """The id of a delivery. `suffix`: what is appended to the name of its Job."""
    return digest(job_id, f":{suffix}", occasion)


def _message(
    job: Job,
    kind: DeliveryKind,
    occasion: Occasion,
    target: Mail | Notification | Ping,
    suffix: str,
    command: str,
) -> Job:
    delivery = Delivery(kind, occasion, job.id, job.name, target)
    return replace(
        job,
        id=message_id(job.id, occasion, suffix),
        name=f"{job.name}:{suffix}",
        schedule=NoSchedule(),
        command=command,
        stdin=None,
        environment=(),
        settings=message_settings(delivery),
        flags="",
        delivery=delivery,
    )


def message_settings(delivery: Delivery) -> Settings:
    """The settings of the Run that sends a delivery."""
    values = {
        **_SIX_TRIES,
        "pool": _POOLS[delivery.kind],
        "priority": _LOWEST_PRIORITY,
        "nice": _NICENESS,
        "concurrency": Concurrency.ALLOW,
        "catch_up": CatchUp.ALL,
        "timeout": _TIMEOUT,
    }
    if delivery.occasion in (Occasion.STARTED, Occasion.TEST):
        values["retries"] = 0
    return intern(frozenset(values.items()))


def _suffix(kind: str, occasion: Occasion) -> str:
    """What is appended to the name of the Job: late and summed up Runs are named so."""
    own = (Occasion.LATE, Occasion.SUMMARY)
    return f"{kind}-{occasion.value}" if occasion in own else kind


# ---- where a mail goes


def mail_of(job: Job, *, to_owner: bool) -> Mail | None:
    """Where mail about a Job goes, by MAILTO and MAILFROM; None if there is to be none.

    `to_owner`: the owner gets the mail if the table does not set MAILTO, as crontab(5) says; the
    owner also gets the mail for an address that is none.
    """
    variables = dict(job.environment)
    mailto = variables.get("MAILTO")
    if mailto is None and not to_owner:
        return None
    to = (job.user,) if mailto is None else addresses(mailto, job.user)
    if not to:
        return None
    sender = addresses(variables.get("MAILFROM", ""), job.user)
    return Mail(
        to=to,
        sender=sender[0] if sender else job.user,
        content_type=variables.get("CONTENT_TYPE"),
        transfer_encoding=variables.get("CONTENT_TRANSFER_ENCODING"),
    )
