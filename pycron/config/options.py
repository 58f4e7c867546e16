"""The options of pycron.toml: one record for each option, in the class `Config`."""

import dataclasses
import os
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycron.config import forms
from pycron.config.forms import Form
from pycron.config.senders import SenderOptions
from pycron.crontab.messages import MESSAGE_POOL
from pycron.engine.delivery_jobs import DELIVERY_POOLS, MAIL_POOL
from pycron.engine.delivery_rules import DeliveryRules, NotificationRule
from pycron.engine.limits import Limits, PressureLimits
from pycron.model.delivery import Occasion
from pycron.model.hosts import Cluster
from pycron.model.retention import RetentionLimits
from pycron.schedule.day_rules import Calendar

# What [notify.NAME] can tell, by the words of its option `on`.
NOTIFIED = {
    "failure": Occasion.FAILED, "recovery": Occasion.RECOVERED, "late": Occasion.LATE,
}  # fmt: skip

# A message takes a processor for a fifth of a second, and 40 MB, to import what sends it.
_SENT_AT_ONCE = max(4, 2 * (os.cpu_count() or 1))


def _option(
    key: str,
    default: Any,
    help: str,
    form: Form = forms.WHOLE,
    *,
    at_start: bool = False,
    secret: bool = False,
) -> Any:
    """A field of Config. `at_start`: a change takes effect only when the daemon starts again.

    `secret`: no message shows its value.
    """
    metadata = {"key": key, "help": help, "form": form, "at_start": at_start, "secret": secret}
    if default == {}:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True)
class NotificationOptions:
    """A section [notify.NAME]. `url` is a secret. `users`: those whose tables may use it.

    `cooldown`: seconds between two notifications about one Job.
    """

    url: str = field(repr=False)
    on: frozenset[Occasion] = frozenset(NOTIFIED.values())
    cooldown: int = 0
    users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """A pool: how many of its Attempts may run at once. `users`: those whose tables may use it."""

    running: int
    users: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The options. Sizes are bytes; None means no limit.

    The retention limit that is reached first decides (see storage/retention.py). `has_mail`:
    whether the file has a section [mail]. `pools` and `calendars`: by name.
    `defaults` and `ceilings`: values of settings, by attribute.
    """

    running: int | None = _option("limits.running", 4096, "the most Attempts that may run at once")
    user_running: int | None = _option(
        "limits.user_running", 2048, "the most Attempts of one user that may run at once"
    )
    waiting: int | None = _option(
        "limits.waiting", 100_000, "the most Runs that may wait in the queue"
    )
    user_waiting: int | None = _option(
        "limits.user_waiting", 5000, "the most Runs of one user that may wait in the queue"
    )
    starts_per_second: int | None = _option(
        "limits.starts_per_second", None, "the most starts in a second"
    )
    user_starts_per_second: int | None = _option(
        "limits.user_starts_per_second",
        200,
        "the most starts of one user in a second, averaged over a minute",
    )
    load: float | None = _option(
        "limits.load",
        None,
        "nothing begins while the load of the last minute is higher",
        forms.NUMBER,
    )
    free_memory: int | None = _option(
        "limits.free_memory", None, "nothing begins while less memory is free", forms.SIZE
    )
    tables: int = _option("limits.tables", 10_000, "the most tables")
    table_bytes: int = _option("limits.table_bytes", 32 * 2**20, "the largest table", forms.SIZE)
    table_entries: int = _option("limits.table_entries", 100_000, "the most entries of a table")
    user_table_bytes: int = _option(
        "limits.user_table_bytes",
        4 * 2**20,
        "the largest table that a user may install",
        forms.SIZE,
    )
    user_table_entries: int = _option(
        "limits.user_table_entries", 10_000, "the most entries of a table that a user may install"
    )
    output_bytes: int = _option(
        "limits.output_bytes", 2**20, "how much of an Attempt's output is kept", forms.SIZE
    )
    processes: int = _option(
        "limits.processes", 4096, "the most processes that an Attempt may have at once"
    )
    direct: bool = _option(
        "limits.direct",
        True,
        "whether simple commands are executed without a shell",
        forms.FLAG,
    )
    clients: int = _option("limits.clients", 64, "the most connections to the control socket")
    retention_days: int = _option(
        "retention.days", 90, "how many days a Run and its output are kept", forms.DAYS
    )
    retention_runs: int = _option("retention.runs", 1_000_000, "how many Runs are kept")
    retention_job_runs: int = _option(
        "retention.job_runs", 10_000, "how many Runs of one Job are kept"
    )
    retention_dead: int = _option("retention.dead", 100_000, "how many dead letters are kept")
    retention_output_bytes: int = _option(
        "retention.output_bytes", 2**30, "how much output is kept in all", forms.SIZE
    )
    retention_job_output_bytes: int = _option(
        "retention.job_output_bytes", 2**27, "how much output of one Job is kept", forms.SIZE
    )
    retention_database_bytes: int = _option(
        "retention.database_bytes", 2**30, "how large the database may be", forms.SIZE
    )
    tables_layout: str = _option(
        "tables.layout",
        "pycron",
        "whose directories of tables the system's daemon reads",
        forms.LAYOUT,
        at_start=True,
    )
    tables_system: tuple[Path, ...] | None = _option(
        "tables.system",
        None,
        "the files and directories of system tables",
        forms.PATHS,
        at_start=True,
    )
    tables_spool: Path | None = _option(
        "tables.spool", None, "the directory of users' tables", forms.PATH, at_start=True
    )
    operators: str = _option(
        "access.operators", "pycron", "the group whose members see everything", forms.TEXT
    )
    mail_transport: str = _option("mail.transport", "sendmail", "how mail is sent", forms.TRANSPORT)
    mail_sendmail: str = _option(
        "mail.sendmail",
        "/usr/sbin/sendmail -i -t",
        "the sendmail program and its options",
        forms.COMMAND,
    )
    mail_running: int = _option(
        "mail.running", 4, "how many mails, notifications and pings, of each, are sent at once"
    )
    mail_per_minute: int = _option("mail.per_minute", 600, "how many mails are sent in a minute")
    mail_job_hour: int = _option(
        "mail.job_hour", 60, "how many mails of one Job in an hour; the rest is summed up in one"
    )
    mail_bytes: int = _option("mail.bytes", 2**20, "how much output a mail contains", forms.SIZE)
    mail_smtp_host: str = _option("mail.smtp_host", "localhost", "the mail server", forms.TEXT)
    mail_smtp_port: int = _option("mail.smtp_port", 587, "the port of the mail server", forms.PORT)
    mail_smtp_security: str = _option(
        "mail.smtp_security", "starttls", "how the connection is protected", forms.SECURITY
    )
    mail_smtp_user: str | None = _option(
        "mail.smtp_user", None, "the name to log in with", forms.TEXT
    )
    mail_smtp_password_file: str | None = _option(
        "mail.smtp_password_file", None, "a file that contains the password", forms.TEXT
    )
    metrics_jobs: int = _option(
        "metrics.most_jobs", 200, "how many named Jobs have metrics of their own", forms.FEW
    )
    pam_service: str | None = _option(
        "pam.service",
        None,
        "the PAM service whose account check and session commands get",
        forms.SERVICE,
    )
    pam_timeout: int = _option(
        "pam.timeout", 30, "how many seconds a start waits for PAM", forms.TIMEOUT
    )
    web_user: str = _option(
        "web.user", "pycron-web", "the account whose page may act for other users", forms.TEXT
    )
    web_root: bool = _option("web.root", False, "whether the page may act for root", forms.FLAG)
    web_pam_service: str | None = _option(
        "web.pam_service",
        None,
        "the PAM service that checks passwords for the page",
        forms.SERVICE,
    )
    cluster_name: str | None = _option(
        "cluster.name", None, "the cluster that this host belongs to", forms.NAME, at_start=True
    )
    cluster_database: str | None = _option(
        "cluster.database",
        None,
        "the address of the cluster's database",
        forms.ADDRESS,
        at_start=True,
        secret=True,
    )
    cluster_host: str | None = _option(
        "cluster.host", None, "the name of this host", forms.HOST, at_start=True
    )
    cluster_zone: str = _option(
        "cluster.zone", "UTC", "the zone of shared Jobs that name none", forms.ZONE, at_start=True
    )
    cluster_lease: int = _option(
        "cluster.lease",
        90,
        "for how many seconds commands go on while the database does not answer",
        forms.LEASE,
        at_start=True,
    )
    cluster_groups: Mapping[str, frozenset[str]] = _option(
        "cluster.groups", {}, "named groups of hosts", forms.GROUPS
    )
    cluster_pools: Mapping[str, int] = _option(
        "cluster.pools", {}, "pools that shared Jobs of all hosts count against", forms.POOLS
    )
    cluster_broker: str | None = _option(
        "cluster.broker",
        None,
        "the address of the broker, through which workers hear of Runs",
        forms.BROKER,
        at_start=True,
        secret=True,
    )
    worker_queues: tuple[str, ...] = _option(
        "worker.queues", (), "the queues that workers of this host may serve", forms.NAMES
    )
    worker_users: tuple[str, ...] = _option(
        "worker.users", (), "the users as whom a worker's commands may run here", forms.USERS
    )
    worker_account: str = _option(
        "worker.account", "pycron-worker", "the account whose processes may be workers", forms.TEXT
    )
    has_mail: bool = False
    notifications: Mapping[str, NotificationOptions] = field(default_factory=dict)
    senders: Mapping[str, SenderOptions] = field(default_factory=dict)
    pools: Mapping[str, PoolOptions] = field(default_factory=dict)
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    ceilings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        pools = {name: pool.running for name, pool in self.pools.items()}
        pools |= dict.fromkeys(DELIVERY_POOLS, self.mail_running)
        pools[MESSAGE_POOL] = _SENT_AT_ONCE
        rates = {MAIL_POOL: self.mail_per_minute / 60}
        return Limits(self.running, self.user_running, self.waiting, self.user_waiting,
                      self.starts_per_second, pools, rates, self.user_starts_per_second,
                      self.ceilings.get("priority", 0))  # fmt: skip

    @property
    def gates(self) -> PressureLimits:
        return PressureLimits(self.load, self.free_memory)

    @property
    def default_notifications(self) -> tuple[str, ...]:
        """The sections that [defaults] CRON_NOTIFY names: they tell about everybody's Jobs."""
        names: tuple[str, ...] = self.defaults.get("notify", ())
        return names

    @property
    def sendmail(self) -> list[str]:
        """The command line of the sendmail program."""
        return shlex.split(self.mail_sendmail)

    def delivery_rules(self, *, system: bool, foreground: bool) -> DeliveryRules:
        """The rules that say which deliveries there are.

        In the foreground an owner gets mail only if the file has a section [mail].
        `system`: the tables of several users are in use, so not everybody may notify everybody.
        """
        return DeliveryRules(
            mail=self.mail_transport != "none",
            to_owner=self.has_mail or not foreground,
            mails_per_hour=self.mail_job_hour,
            notifications={
                name: NotificationRule(
                    options.on,
                    options.cooldown,
                    options.users if system and name not in self.default_notifications else None,
                )
                for name, options in self.notifications.items()
            },
        )

    def users_of_senders(self, *, system: bool) -> dict[str, Collection[str] | None]:
        """The names of the senders, with the users whose tables may use each (None: all users).

        `system`: the tables of several users are in use.
        """
        return {name: options.users if system else None for name, options in self.senders.items()}

    def cluster(self, host_id: str) -> Cluster:
        """What tables depend on of this host and its cluster. `host_id`: its default name."""
        host = self.cluster_host or host_id
        return Cluster(host, self.cluster_name, self.cluster_zone, self.cluster_groups)

    @property
    def keep(self) -> RetentionLimits:
        return RetentionLimits(
            runs=self.retention_runs,
            job_runs=self.retention_job_runs,
            dead=self.retention_dead,
            output_bytes=self.retention_output_bytes,
            database_bytes=self.retention_database_bytes,
            job_output_bytes=self.retention_job_output_bytes,
        )


def within(config: Config, room: int) -> Config:
    """The options of a daemon that keeps everything in a directory with so many bytes of room.

    Together the limits are less than the room, because the smallest file takes a page of 4096
    bytes, and the journal of the database may need a half of what the database may have.
    """
    return dataclasses.replace(
        config,
        output_bytes=min(config.output_bytes, room // 64),
        retention_output_bytes=min(config.retention_output_bytes, room // 8),
        retention_job_output_bytes=min(config.retention_job_output_bytes, room // 8),
        retention_database_bytes=min(config.retention_database_bytes, room // 8),
        retention_runs=min(config.retention_runs, room // 16_384),
        retention_dead=min(config.retention_dead, room // 65_536),
    )


OPTIONS: dict[str, "dataclasses.Field[Any]"] = {
    f.metadata["key"]: f for f in dataclasses.fields(Config) if f.metadata
}
AT_START = frozenset(key for key, option in OPTIONS.items() if option.metadata["at_start"])
