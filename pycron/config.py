"""The configuration, pycron.toml: one record for each option.

The reader of the file, the defaults and the manual's test all use the class `Config`.
"""

import dataclasses
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycron.engine.deliveries import DeliveryRules
from pycron.engine.delivery_jobs import DELIVERY_POOLS, MAIL_POOL
from pycron.engine.limits import Limits, PressureLimits
from pycron.engine.notifications import NotificationRule
from pycron.model.delivery import Occasion
from pycron.model.retention import RetentionLimits
from pycron.model.setting_values import NAME_PATTERN
from pycron.model.settings import SETTINGS
from pycron.model.text import hint_at
from pycron.schedule.durations import parse_duration
from pycron.system.zone_data import ZoneData


class ConfigError(Exception):
    """A configuration that cannot be used; the message names the file and the option."""


_WHOLE = "a whole number above 0"
_NUMBER = "a number above 0"
_TEXT = "a text"
_COMMAND = "a program and its options"
_PORT = "a number from 1 to 65535"
_SERVICE = "the name of a file in /etc/pam.d"
_DURATION = "a duration such as 15m"
_TRANSPORTS = ("sendmail", "smtp", "none")
_TRANSPORT = "sendmail, smtp or none"
_SECURITIES = ("starttls", "tls", "none")
_SECURITY = "starttls, tls or none"
# What [notify.NAME] can tell, by the words of its option `on`.
_NOTIFIED = {
    "failure": Occasion.FAILED, "recovery": Occasion.RECOVERED, "late": Occasion.LATE,
}  # fmt: skip
# The settings that [ceilings] can limit: a larger value takes more of the machine.
CAPPED = (
    "CRON_RETRIES", "CRON_MAX_RUNNING", "CRON_PRIORITY", "CRON_TIMEOUT", "CRON_KILL_AFTER",
    "CRON_MEMORY_MAX",
)  # fmt: skip


def _option(key: str, default: Any, help: str, form: str = _WHOLE) -> Any:
    return field(default=default, metadata={"key": key, "help": help, "form": form})


@dataclass(frozen=True, slots=True)
class NotificationOptions:
    """A section [notify.NAME]. `url` is a secret. `users`: those whose tables may use it.

    `cooldown`: seconds between two notifications about one Job.
    """

    url: str = field(repr=False)
    on: frozenset[Occasion] = frozenset(_NOTIFIED.values())
    cooldown: int = 0
    users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Config:
    """The options. Sizes are bytes; None means no limit.

    The retention limit that is reached first decides (see storage/retention.py). `has_mail`:
    whether the file has a section [mail]. `pools`: how many Attempts of each pool may run at once.
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
        "limits.user_waiting", 20_000, "the most Runs of one user that may wait in the queue"
    )
    starts_per_second: int | None = _option(
        "limits.starts_per_second", None, "the most starts in a second"
    )
    load: float | None = _option(
        "limits.load", None, "nothing begins while the load of the last minute is higher", _NUMBER
    )
    free_memory: int | None = _option(
        "limits.free_memory", None, "nothing begins while less memory is free"
    )
    tables: int = _option("limits.tables", 10_000, "the most tables")
    table_bytes: int = _option("limits.table_bytes", 32 * 2**20, "the largest table")
    table_entries: int = _option("limits.table_entries", 100_000, "the most entries of a table")
    user_table_bytes: int = _option(
        "limits.user_table_bytes", 4 * 2**20, "the largest table that a user may install"
    )
    user_table_entries: int = _option(
        "limits.user_table_entries", 10_000, "the most entries of a table that a user may install"
    )
    output_bytes: int = _option(
        "limits.output_bytes", 2**20, "how much of an Attempt's output is kept"
    )
    processes: int = _option(
        "limits.processes", 4096, "the most processes that an Attempt may have at once"
    )
    clients: int = _option("limits.clients", 64, "the most connections to the control socket")
    retention_days: int = _option(
        "retention.days", 90, "how many days a Run and its output are kept"
    )
    retention_runs: int = _option("retention.runs", 1_000_000, "how many Runs are kept")
    retention_job_runs: int = _option(
        "retention.job_runs", 10_000, "how many Runs of one Job are kept"
    )
    retention_dead: int = _option("retention.dead", 100_000, "how many dead letters are kept")
    retention_output_bytes: int = _option(
        "retention.output_bytes", 2**30, "how much output is kept in all"
    )
    retention_job_output_bytes: int = _option(
        "retention.job_output_bytes", 2**27, "how much output of one Job is kept"
    )
    retention_database_bytes: int = _option(
        "retention.database_bytes", 2**30, "how large the database may be"
    )
    operators: str = _option(
        "access.operators", "pycron", "the group whose members see everything", _TEXT
    )
    mail_transport: str = _option("mail.transport", "sendmail", "how mail is sent", _TRANSPORT)
    mail_sendmail: str = _option(
        "mail.sendmail",
        "/usr/sbin/sendmail -i -t",
        "the sendmail program and its options",
        _COMMAND,
    )
    mail_running: int = _option(
        "mail.running", 4, "how many mails, notifications and pings, of each, are sent at once"
    )
    mail_per_minute: int = _option("mail.per_minute", 600, "how many mails are sent in a minute")
    mail_job_hour: int = _option(
        "mail.job_hour", 60, "how many mails of one Job in an hour; the rest is summed up in one"
    )
    mail_bytes: int = _option("mail.bytes", 2**20, "how much output a mail contains")
    mail_smtp_host: str = _option("mail.smtp_host", "localhost", "the mail server", _TEXT)
    mail_smtp_port: int = _option("mail.smtp_port", 587, "the port of the mail server", _PORT)
    mail_smtp_security: str = _option(
        "mail.smtp_security", "starttls", "how the connection is protected", _SECURITY
    )
    mail_smtp_user: str | None = _option("mail.smtp_user", None, "the name to log in with", _TEXT)
    mail_smtp_password_file: str | None = _option(
        "mail.smtp_password_file", None, "a file that contains the password", _TEXT
    )
    pam_service: str | None = _option(
        "pam.service",
        None,
        "the PAM service whose account check and session commands get",
        _SERVICE,
    )
    pam_timeout: int = _option("pam.timeout", 30, "how many seconds a start waits for PAM")
    has_mail: bool = False
    notifications: Mapping[str, NotificationOptions] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    ceilings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        pools = {**self.pools, **dict.fromkeys(DELIVERY_POOLS, self.mail_running)}
        rates = {MAIL_POOL: self.mail_per_minute / 60}
        return Limits(self.running, self.user_running, self.waiting, self.user_waiting,
                      self.starts_per_second, pools, rates)  # fmt: skip

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


OPTIONS: dict[str, "dataclasses.Field[Any]"] = {
    f.metadata["key"]: f for f in dataclasses.fields(Config) if f.metadata
}


def read_config(path: Path, required: bool) -> Config:
    """The configuration in a file; the defaults if there is none. Raises ConfigError.

    `required`: a missing file is an error.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: no such file") from None
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    import tomllib  # 0.1 MB, and most machines have no such file

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    config = Config(**_values(document, path))
    unknown = set(config.default_notifications) - set(config.notifications)
    if unknown:
        raise ConfigError(f"{path}: bad defaults.CRON_NOTIFY: no section [notify.{min(unknown)}]")
    return config


def _values(document: dict[str, Any], path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            raise ConfigError(f'{path}: "{section}" stands outside of a [section]')
        if section == "notify":
            values["notifications"] = _notifications(content, path)
        elif section in OPEN_SECTIONS:
            values[section] = dict(
                OPEN_SECTIONS[section](key, value, path) for key, value in content.items()
            )
        elif section in {key.partition(".")[0] for key in OPTIONS}:
            values |= (_option_value(f"{section}.{key}", content[key], path) for key in content)
            values |= {"has_mail": True} if section == "mail" else {}
        else:
            raise ConfigError(f'{path}: unknown section: "[{section}]" (see pycron.toml(5))')
    return values


def _option_value(key: str, value: Any, path: Path) -> tuple[str, Any]:
    """The attribute of an option, and its value, checked."""
    option = OPTIONS.get(key)
    if option is None:
        hint = hint_at(key, OPTIONS, "pycron.toml(5)")
        raise ConfigError(f'{path}: unknown option: "{key}" ({hint})')
    return option.name, _checked(key, value, option.metadata["form"], path)


def _checked(name: str, value: Any, form: str, path: Path) -> Any:
    whole = type(value) is int and 1 <= value < 2**62
    good = {
        _WHOLE: whole,
        _NUMBER: whole or (type(value) is float and 0 < value < math.inf),
        _TEXT: type(value) is str,
        _SERVICE: type(value) is str and bool(re.fullmatch(NAME_PATTERN, value, re.ASCII)),
        _COMMAND: type(value) is str and _words(value),
        _PORT: whole and value < 65_536,
        _TRANSPORT: value in _TRANSPORTS,
        _SECURITY: value in _SECURITIES,
    }
    if not good[form]:
        raise ConfigError(f"{path}: bad {name}: {value!r} ({form})")
    return value


def _words(text: str) -> list[str]:
    """The words of a command line; none if a quote has no partner."""
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _notifications(sections: dict[str, Any], path: Path) -> dict[str, NotificationOptions]:
    """The sections [notify.NAME]. No message contains the URL. Raises ConfigError."""
    found = {}
    for name, content in sections.items():
        if not re.fullmatch(NAME_PATTERN, name, re.ASCII) or not isinstance(content, dict):
            raise ConfigError(f'{path}: bad section: "[notify.{name}]" (see pycron.toml(5))')
        unknown = set(content) - {"url", "on", "cooldown", "users"}
        if unknown:
            raise ConfigError(f'{path}: unknown option: "notify.{name}.{min(unknown)}"')
        found[name] = _notification(f"notify.{name}", content, path)
    return found


def _notification(section: str, content: dict[str, Any], path: Path) -> NotificationOptions:
    url, on, users = (
        content.get("url"),
        content.get("on", list(_NOTIFIED)),
        content.get("users", []),
    )
    if not isinstance(url, str) or not url:
        raise ConfigError(f"{path}: bad {section}.url: not shown (a URL of apprise)")
    if not isinstance(on, list) or not all(each in _NOTIFIED for each in on):
        raise ConfigError(f"{path}: bad {section}.on: {on!r} (a list of {', '.join(_NOTIFIED)})")
    if not isinstance(users, list) or not all(isinstance(each, str) for each in users):
        raise ConfigError(f"{path}: bad {section}.users: {users!r} (a list of users)")
    cooldown = content.get("cooldown", "0s")
    try:
        seconds = parse_duration(cooldown)
    except (ValueError, TypeError):
        raise ConfigError(f"{path}: bad {section}.cooldown: {cooldown!r} ({_DURATION})") from None
    return NotificationOptions(
        url, frozenset(_NOTIFIED[each] for each in on), seconds, frozenset(users)
    )


def _pool(name: str, running: Any, path: Path) -> tuple[str, int]:
    if not re.fullmatch(NAME_PATTERN, name, re.ASCII):
        raise ConfigError(f'{path}: bad pool: "{name}" (letters, digits and . _ + -, at most 64)')
    return name, _checked(f"pools.{name}", running, _WHOLE, path)


def _default(name: str, value: Any, path: Path) -> tuple[str, Any]:
    default = _setting(f"defaults.{name}", name, value, path, set(SETTINGS) - {"CRON_NAME"})
    if name == "CRON_TZ" and not ZoneData().exists(value):
        raise ConfigError(f"{path}: bad defaults.CRON_TZ: {value!r} (no such time zone)")
    return default


def _ceiling(name: str, value: Any, path: Path) -> tuple[str, Any]:
    return _setting(f"ceilings.{name}", name, value, path, set(CAPPED))


def _setting(option: str, name: str, value: Any, path: Path, known: set[str]) -> tuple[str, Any]:
    """The attribute of a setting, and the value that this text has in a table."""
    if name not in known:
        hint = hint_at(name, known, "pycron.toml(5)")
        raise ConfigError(f'{path}: unknown option: "{option}" ({hint})')
    setting = SETTINGS[name]
    try:
        return setting.attribute, setting.parse(str(value))
    except ValueError:
        raise ConfigError(f"{path}: bad {option}: {value!r} ({setting.form})") from None


# The sections whose keys are names: each function gives the key and value for Config.
OPEN_SECTIONS: dict[str, Callable[[str, Any, Path], tuple[str, Any]]] = {
    "pools": _pool,
    "defaults": _default,
    "ceilings": _ceiling,
}
