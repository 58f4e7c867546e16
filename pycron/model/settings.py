"""The settings of a Job: one record for each `CRON_…` variable of a table.

The reader of tables, the defaults, the manual's test and the tests all use the class `Settings`.
Durations are seconds, sizes are bytes.
"""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pycron.schedule.durations import parse_duration


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
    ALWAYS = "always"
    NEVER = "never"


_UNIT_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"([0-9]{1,12})([KMGT]?)(?:i?B)?", re.ASCII)
LARGEST_SIZE = 2**60  # bytes


def parse_size(text: str) -> int:
    """The bytes of `1048576`, `512K`, `512M` or `2G` (powers of 1024). Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError
    size = int(match[1]) * _UNIT_BYTES[match[2]]
    if not 0 < size <= LARGEST_SIZE:
        raise ValueError
    return size


def _duration(least: int = 0) -> Callable[[str], int]:
    def parse(text: str) -> int:
        seconds = parse_duration(text)
        if seconds < least:
            raise ValueError
        return seconds

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def _decimal(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = r"[0-9]{1,6}(\.[0-9]{1,6})?"
        if not re.fullmatch(number, text, re.ASCII) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return parse


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError
        return text

    return parse


def _umask(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{1,3}", text, re.ASCII):
        raise ValueError
    return int(text, 8)


def _retry_until(text: str) -> str | int:
    return text if text in ("next", "never") else parse_duration(text)


RETRY_WORDS = ("any", "signal", "timeout", "memory", "lost")


def _conditions(text: str) -> tuple[str, ...]:
    """A list of exit codes, ranges of them, and RETRY_WORDS."""
    parts = tuple(text.split(","))
    for part in parts:
        first, dash, last = part.partition("-")
        codes = [first, last] if dash else [first]
        in_range = all(re.fullmatch("[0-9]{1,3}", c, re.ASCII) and int(c) <= 255 for c in codes)
        if part not in RETRY_WORDS and not (in_range and int(codes[0]) <= int(codes[-1])):
            raise ValueError
    return parts


def _text(text: str) -> str:
    if not text or len(text) > 4096 or not text.isprintable():
        raise ValueError
    return text


NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One `CRON_…` variable.

    `works`: False if this version reads and checks the variable, but does not act on it.
    """

    name: str
    attribute: str
    parse: Callable[[str], Any]
    default: Any
    form: str
    help: str
    works: bool


def _setting(
    name: str,
    default: Any,
    parse: Callable[[str], Any],
    form: str,
    help: str,
    *,
    works: bool = False,
) -> Any:
    metadata = {"name": name, "parse": parse, "form": form, "help": help, "works": works}
    return field(default=default, metadata=metadata)


_AMOUNT = "a duration such as 90s, 15m or 1h30m"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one Job; equal settings share one object (see `intern`)."""

    name: str | None = _setting(
        "CRON_NAME",
        None,
        _matching(NAME_PATTERN),
        "letters, digits and . _ + -, at most 64",
        "the Job's name in history; unique in its table",
        works=True,
    )
    zone: str | None = _setting(
        "CRON_TZ",
        None,
        _matching(r"[A-Za-z0-9_+/.-]{1,64}"),
        "a time zone such as Europe/Berlin",
        "zone of the schedule",
        works=True,
    )
    retries: int = _setting(
        "CRON_RETRIES",
        0,
        _whole(0, 1000),
        "a number from 0 to 1000",
        "further Attempts after a failed one",
        works=True,
    )
    retry_delay: int = _setting(
        "CRON_RETRY_DELAY",
        30,
        _duration(1),
        _AMOUNT,
        "delay before the first retry",
        works=True,
    )
    retry_backoff: float = _setting(
        "CRON_RETRY_BACKOFF",
        2.0,
        _decimal(1, 100),
        "a number from 1 to 100",
        "what each further delay is multiplied by",
        works=True,
    )
    retry_delay_max: int = _setting(
        "CRON_RETRY_DELAY_MAX",
        900,
        _duration(1),
        _AMOUNT,
        "the longest delay before a retry",
        works=True,
    )
    retry_jitter: float = _setting(
        "CRON_RETRY_JITTER",
        0.5,
        _decimal(0, 1),
        "a number from 0 to 1",
        "share of the delay that is random",
        works=True,
    )
    retry_on: tuple[str, ...] = _setting(
        "CRON_RETRY_ON",
        ("any",),
        _conditions,
        "exit codes, ranges, any, signal, timeout, memory, lost, with commas",
        "which failures are tried again",
        works=True,
    )
    no_retry_on: tuple[str, ...] = _setting(
        "CRON_NO_RETRY_ON",
        ("126", "127"),
        _conditions,
        "exit codes, ranges, any, signal, timeout, memory, lost, with commas",
        "which failures are not tried again",
        works=True,
    )
    retry_until: str | int = _setting(
        "CRON_RETRY_UNTIL",
        "next",
        _retry_until,
        "next, never or a duration",
        "when retries are given up",
        works=True,
    )
    concurrency: Concurrency | None = _setting(
        "CRON_CONCURRENCY",
        None,
        Concurrency,
        "allow, forbid, replace or queue",
        "what happens when the last Run still runs",
        works=True,
    )
    max_running: int | None = _setting(
        "CRON_MAX_RUNNING",
        None,
        _whole(1, 100000),
        "a number from 1 to 100000",
        "how many Attempts of the Job may run at once",
        works=True,
    )
    pool: str | None = _setting(
        "CRON_POOL",
        None,
        _matching(NAME_PATTERN),
        "a name from the configuration",
        "the shared limit that the Job counts against",
        works=True,
    )
    priority: int = _setting(
        "CRON_PRIORITY",
        0,
        _whole(-1000, 1000),
        "a number from -1000 to 1000",
        "who starts first when a limit is reached",
        works=True,
    )
    timeout: int | None = _setting(
        "CRON_TIMEOUT", None, _duration(1), _AMOUNT, "how long an Attempt may run", works=True
    )
    kill_after: int = _setting(
        "CRON_KILL_AFTER",
        10,
        _duration(),
        _AMOUNT,
        "from TERM to KILL when the time is out",
        works=True,
    )
    memory_max: int | None = _setting(
        "CRON_MEMORY_MAX",
        None,
        parse_size,
        "a size such as 512M or 2G",
        "memory of the whole process tree",
        works=True,
    )
    nice: int | None = _setting(
        "CRON_NICE",
        None,
        _whole(-20, 19),
        "a number from -20 to 19",
        "niceness of the command; below 0 for root only",
        works=True,
    )
    umask: int | None = _setting(
        "CRON_UMASK",
        None,
        _umask,
        "an octal mask such as 027",
        "umask of the command",
        works=True,
    )
    cwd: str | None = _setting(
        "CRON_CWD",
        None,
        _matching(r"/[^\0]{0,1023}"),
        "an absolute path",
        "working directory of the command",
        works=True,
    )
    catch_up: CatchUp = _setting(
        "CRON_CATCHUP",
        CatchUp.NONE,
        CatchUp,
        "none, latest or all",
        "missed fire times",
        works=True,
    )
    start_deadline: int | None = _setting(
        "CRON_START_DEADLINE",
        None,
        _duration(1),
        _AMOUNT,
        "how late a start may be",
        works=True,
    )
    jitter: int = _setting(
        "CRON_JITTER",
        0,
        _duration(),
        _AMOUNT,
        "a start delay, stable per Job and host",
        works=True,
    )
    mail_on: MailOn = _setting(
        "CRON_MAIL_ON",
        MailOn.OUTPUT,
        MailOn,
        "output, failure, always or never",
        "when output is mailed",
    )
    on_failure: str | None = _setting(
        "CRON_ON_FAILURE",
        None,
        _text,
        "a command",
        "run when a Run has used up its retries",
        works=True,
    )


SETTINGS: dict[str, Setting] = {
    f.metadata["name"]: Setting(attribute=f.name, default=f.default, **f.metadata)
    for f in dataclasses.fields(Settings)
}


@lru_cache(maxsize=4096)
def intern(values: frozenset[tuple[str, Any]]) -> Settings:
    """The one Settings object with these attribute values."""
    return Settings(**dict(values))


def concurrency_of(settings: Settings) -> Concurrency:
    """The policy of CRON_CONCURRENCY; without it, forbid for a Job with retries, else allow."""
    if settings.concurrency is not None:
        return settings.concurrency
    return Concurrency.FORBID if settings.retries else Concurrency.ALLOW


def job_limit(settings: Settings) -> int | None:
    """How many Attempts of a Job may run at once; None means any number."""
    if settings.max_running is not None:
        return settings.max_running
    return None if concurrency_of(settings) is Concurrency.ALLOW else 1
