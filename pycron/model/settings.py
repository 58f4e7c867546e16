"""The settings of a Job: one record for each `CRON_…` variable of a table.

The reader of tables, the defaults, the manual's test and the tests all use the class `Settings`.
Durations are seconds, sizes are bytes.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pycron.model import setting_values as values
from pycron.model.hosts import EACH, RunsOn, parse_runs_on
from pycron.schedule.day_rules import Every, parse_every


class Concurrency(StrEnum):
    """The choices for a fire time that comes while an earlier Run of the Job is still running."""

    ALLOW = "allow"
    FORBID = "forbid"
    REPLACE = "replace"
    QUEUE = "queue"


class CatchUp(StrEnum):
    """The choices for fire times that passed while the daemon was down."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class MailOn(StrEnum):
    """When a Run's output is mailed."""

    OUTPUT = "output"
    FAILURE = "failure"
    CHANGE = "change"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Setting:
    """One `CRON_…` variable. `secret`: no message shows its value."""

    name: str
    attribute: str
    parse: Callable[[str], Any]
    default: Any
    form: str
    help: str
    secret: bool


def _setting(
    name: str,
    default: Any,
    parse: Callable[[str], Any],
    form: str,
    help: str,
    *,
    secret: bool = False,
) -> Any:
    metadata = {"name": name, "parse": parse, "form": form, "help": help, "secret": secret}
    return field(default=default, metadata=metadata)


_AMOUNT = "a duration such as 90s, 15m or 1h30m"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one Job; equal settings share one object (see `intern`)."""

    name: str | None = _setting(
        "CRON_NAME",
        None,
        values.matching(values.NAME_PATTERN),
        "letters, digits and . _ + -, at most 64",
        "the Job's name in history; unique in its table",
    )
    zone: str | None = _setting(
        "CRON_TZ",
        None,
        values.matching(r"[A-Za-z0-9_+/.-]{1,64}"),
        "a time zone such as Europe/Berlin",
        "zone of the schedule",
    )
    every: Every | None = _setting(
        "CRON_EVERY",
        None,
        parse_every,
        "a number, the unit d, w, mo or y, an @ and a date: 2w@2026-01-05",
        "only every n-th day, week, month or year",
    )
    only: tuple[str, ...] = _setting(
        "CRON_ONLY",
        (),
        values.names,
        "calendars of the configuration, with commas",
        "the calendars on whose days alone the Job is due",
    )
    excepted: tuple[str, ...] = _setting(
        "CRON_EXCEPT",
        (),
        values.names,
        "calendars of the configuration, with commas",
        "the calendars on whose days the Job is never due",
    )
    retries: int = _setting(
        "CRON_RETRIES",
        0,
        values.whole(0, 1000),
        "a number from 0 to 1000",
        "further Attempts after a failed one",
    )
    retry_delay: int = _setting(
        "CRON_RETRY_DELAY",
        30,
        values.duration(1),
        _AMOUNT,
        "delay before the first retry",
    )
    retry_backoff: float = _setting(
        "CRON_RETRY_BACKOFF",
        2.0,
        values.decimal(1, 100),
        "a number from 1 to 100",
        "what each further delay is multiplied by",
    )
    retry_delay_max: int = _setting(
        "CRON_RETRY_DELAY_MAX",
        900,
        values.duration(1),
        _AMOUNT,
        "the longest delay before a retry",
    )
    retry_jitter: float = _setting(
        "CRON_RETRY_JITTER",
        0.5,
        values.decimal(0, 1),
        "a number from 0 to 1",
        "how much longer a delay may be, as a share of it",
    )
    retry_on: tuple[str, ...] = _setting(
        "CRON_RETRY_ON",
        ("any",),
        values.conditions,
        "exit codes, ranges, any, signal, timeout, memory, lost, with commas",
        "which failures are tried again",
    )
    no_retry_on: tuple[str, ...] = _setting(
        "CRON_NO_RETRY_ON",
        ("126", "127"),
        values.conditions,
        "exit codes, ranges, any, signal, timeout, memory, lost, with commas",
        "which failures are not tried again",
    )
    retry_until: str | int = _setting(
        "CRON_RETRY_UNTIL",
        "next",
        values.retry_until,
        "next, never or a duration",
        "when retries are given up",
    )
    concurrency: Concurrency | None = _setting(
        "CRON_CONCURRENCY",
        None,
        Concurrency,
        "allow, forbid, replace or queue",
        "what happens when the last Run still runs",
    )
    max_running: int | None = _setting(
        "CRON_MAX_RUNNING",
        None,
        values.whole(1, 100000),
        "a number from 1 to 100000",
        "how many Attempts of the Job may run at once",
    )
    pool: str | None = _setting(
        "CRON_POOL",
        None,
        values.matching(values.NAME_PATTERN),
        "a name from the configuration",
        "the shared limit that the Job counts against",
    )
    priority: int = _setting(
        "CRON_PRIORITY",
        0,
        values.whole(-1000, 1000),
        "a number from -1000 to 1000",
        "which of a user's Runs starts first when a limit is reached",
    )
    timeout: int | None = _setting(
        "CRON_TIMEOUT", None, values.duration(1), _AMOUNT, "how long an Attempt may run"
    )
    kill_after: int = _setting(
        "CRON_KILL_AFTER",
        10,
        values.duration(),
        _AMOUNT,
        "from TERM to KILL when the time is out",
    )
    memory_max: int | None = _setting(
        "CRON_MEMORY_MAX",
        None,
        values.parse_size,
        "a size such as 512M or 2G",
        "memory of the whole process tree",
    )
    nice: int | None = _setting(
        "CRON_NICE",
        None,
        values.whole(-20, 19),
        "a number from -20 to 19",
        "niceness of the command; below 0 for root only",
    )
    umask: int | None = _setting(
        "CRON_UMASK",
        None,
        values.umask,
        "an octal mask such as 027",
        "umask of the command",
    )
    cwd: str | None = _setting(
        "CRON_CWD",
        None,
        values.matching(r"/[^\0]{0,1023}"),
        "an absolute path",
        "working directory of the command",
    )
    catch_up: CatchUp = _setting(
        "CRON_CATCHUP",
        CatchUp.NONE,
        CatchUp,
        "none, latest or all",
        "missed fire times",
    )
    start_deadline: int | None = _setting(
        "CRON_START_DEADLINE",
        None,
        values.duration(1),
        _AMOUNT,
        "how late a start may be",
    )
    jitter: int = _setting(
        "CRON_JITTER",
        0,
        values.duration(),
        _AMOUNT,
        "a start delay, stable per Job and host",
    )
    mail_on: MailOn = _setting(
        "CRON_MAIL_ON",
        MailOn.OUTPUT,
        MailOn,
        "output, failure, change, always or never",
        "when a Run is mailed",
    )
    on_failure: str | None = _setting(
        "CRON_ON_FAILURE",
        None,
        values.printable_text,
        "a command",
        "run when a Run has used up its retries",
    )
    notify: tuple[str, ...] = _setting(
        "CRON_NOTIFY",
        (),
        values.names,
        "names from the configuration, with commas",
        "the [notify.NAME] sections that tell about its Runs",
    )
    ping_url: str | None = _setting(
        "CRON_PING_URL",
        None,
        values.url,
        "a URL that begins with https:// or http://",
        "the URL that is told of each start and end",
        secret=True,
    )
    ping_output: bool = _setting(
        "CRON_PING_OUTPUT",
        True,
        values.yes_or_no,
        "yes or no",
        "whether the output goes with a ping",
    )
    expect_within: int | None = _setting(
        "CRON_EXPECT_WITHIN",
        None,
        values.duration(1),
        _AMOUNT,
        "how long after its fire time a Run is late",
    )
    runs_on: RunsOn = _setting(
        "CRON_ON",
        EACH,
        parse_runs_on,
        "each, a host, @ and a group, any, any@ and a group, or queue: and a name",
        "where the Job runs",
    )
    send: str | None = _setting(
        "CRON_SEND",
        None,
        values.matching(values.NAME_PATTERN),
        "a name from the configuration",
        "the command is a message for the workers of a sender",
    )


SETTINGS: dict[str, Setting] = {
    f.metadata["name"]: Setting(attribute=f.name, default=f.default, **f.metadata)
    for f in dataclasses.fields(Settings)
}


def value_text(setting: Setting, value: Any) -> str:
    """The text of a value: what a table would say."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, int):
        return values.TEXT_OF_NUMBER.get(setting.parse, str)(value)
    return str(value)


@lru_cache(maxsize=4096)
def intern(attributes: frozenset[tuple[str, Any]]) -> Settings:
    """The one Settings object with these attribute values."""
    return Settings(**dict(attributes))


def replaced(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with other values of some attributes."""
    names = (field.name for field in dataclasses.fields(Settings))
    return intern(
        frozenset({**{name: getattr(settings, name) for name in names}, **values}.items())
    )


def concurrency_of(settings: Settings) -> Concurrency:
    """The policy of CRON_CONCURRENCY; without it, forbid for a Job with retries, else allow.

    Messages are allowed: one that has to be tried again is no reason to leave out the next.
    """
    if settings.concurrency is not None:
        return settings.concurrency
    forbid = settings.retries and settings.send is None
    return Concurrency.FORBID if forbid else Concurrency.ALLOW


def job_limit(settings: Settings) -> int | None:
    """How many Attempts of a Job may run at once; None means any number."""
    if settings.max_running is not None:
        return settings.max_running
    return None if concurrency_of(settings) is Concurrency.ALLOW else 1
