"""Reads pycron.toml: each section and option is checked, and an error names both."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pycron.config import calendars, forms, senders
from pycron.config.forms import Form
from pycron.config.options import NOTIFIED, OPTIONS, Config, NotificationOptions, PoolOptions
from pycron.model.problem import Problem, Severity
from pycron.model.setting_values import NAME_PATTERN
from pycron.model.settings import SETTINGS
from pycron.model.text import hint_at, printable
from pycron.schedule.day_rules import Calendar
from pycron.system.files import FileRules, Unreadable, own_rules, read_checked
from pycron.system.zone_data import ZoneData

# The settings that [ceilings] can limit: a larger value takes more of the machine.
CAPPED = (
    "CRON_RETRIES", "CRON_MAX_RUNNING", "CRON_PRIORITY", "CRON_TIMEOUT", "CRON_KILL_AFTER",
    "CRON_MEMORY_MAX",
)  # fmt: skip


# The settings without a default: what they say concerns single entries.
_OF_ENTRIES = {"CRON_NAME", "CRON_ON", "CRON_SEND"}
_MOST_BYTES = 2**20  # of the file


class ConfigError(Exception):
    """A configuration that cannot be used; the message names the file and the option.

    `reason`: the message without the file.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    @property
    def problem(self) -> Problem:
        """The same as a Problem, which `check` shows."""
        file = str(self.path)
        return Problem(file, 0, 1, Severity.ERROR, "bad-configuration", printable(self.reason))


class ConfigUnreadable(ConfigError):
    """The file cannot be read, perhaps only by this user."""


def read_config(
    path: Path,
    required: bool,
    zone_exists: Callable[[str], bool] | None = None,
    rules: FileRules | None = None,
) -> Config:
    """The configuration in a file; the defaults if there is none. Raises ConfigError.

    `required`: a missing file is an error. `zone_exists`: by default, that of the files. `rules`:
    whose file it must be; by default, that of this process's user.
    """
    text = _read(path, required, rules or own_rules())
    if text is None:
        return Config()
    import tomllib  # 0.1 MB, and most machines have no such file

    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(path, str(error)) from None
    values = _values(document, path)
    named = values.get("calendars", {})
    values["calendars"] = _calendars(named, path, rules or own_rules())
    config = Config(**values)
    unknown = set(config.default_notifications) - set(config.notifications)
    if unknown:
        raise ConfigError(path, f"bad defaults.CRON_NOTIFY: no section [notify.{min(unknown)}]")
    for attribute in ("only", "excepted"):
        unknown = set(config.defaults.get(attribute, ())) - set(config.calendars)
        if unknown:
            raise ConfigError(path, f"bad defaults: no calendar {min(unknown)} in [calendars]")
    zone = config.defaults.get("zone")
    if zone is not None and not (zone_exists or ZoneData().exists)(zone):
        raise ConfigError(path, f"bad defaults.CRON_TZ: {zone!r} (no such time zone)")
    zone = values.get("cluster_zone")
    if zone is not None and not (zone_exists or ZoneData().exists)(zone):
        raise ConfigError(path, f"bad cluster.zone: {zone!r} (no such time zone)")
    if (config.cluster_name is None) != (config.cluster_database is None):
        raise ConfigError(path, "cluster.name and cluster.database go together")
    if config.cluster_broker is not None and config.cluster_database is None:
        raise ConfigError(path, "cluster.broker needs cluster.database")
    return config


def _read(path: Path, required: bool, rules: FileRules) -> str | None:
    """The text of the file; None if there is no file and none is required."""
    try:
        if rules.trusted:  # it may be a pipe of the shell
            return path.read_text(encoding="utf-8")
        return read_checked(str(path), rules, _MOST_BYTES).data.decode()
    except FileNotFoundError:
        if required:
            raise ConfigError(path, "no such file") from None
        return None
    except Unreadable as error:
        failure = ConfigUnreadable if error.code == "unreadable" else ConfigError
        raise failure(path, str(error)) from None
    except OSError as error:
        raise ConfigUnreadable(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(path, f"cannot be read: {error}") from None


def _values(document: dict[str, Any], path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            raise ConfigError(path, f'"{section}" stands outside of a [section]')
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
            known = {key.partition(".")[0] for key in OPTIONS} | {*OPEN_SECTIONS, "notify"}
            hint = hint_at(section, sorted(known), "pycron.toml(5)")
            raise ConfigError(path, f'unknown section: "[{section}]" ({hint})')
    return values


def _option_value(key: str, value: Any, path: Path) -> tuple[str, Any]:
    """The attribute of an option, and its value, checked."""
    option = OPTIONS.get(key)
    if option is None:
        hint = hint_at(key, OPTIONS, "pycron.toml(5)")
        raise ConfigError(path, f'unknown option: "{key}" ({hint})')
    metadata = option.metadata
    return option.name, _checked(key, value, metadata["form"], path, secret=metadata["secret"])


def _checked(name: str, value: Any, form: Form, path: Path, *, secret: bool = False) -> Any:
    try:
        return form.parse(value)
    except ValueError:
        shown = "not shown" if secret else repr(value)
        raise ConfigError(path, f"bad {name}: {shown} ({form.words})") from None


def _notifications(sections: dict[str, Any], path: Path) -> dict[str, NotificationOptions]:
    """The sections [notify.NAME]. No message contains the URL. Raises ConfigError."""
    found = {}
    for name, content in sections.items():
        if not re.fullmatch(NAME_PATTERN, name, re.ASCII) or not isinstance(content, dict):
            raise ConfigError(path, f'bad section: "[notify.{name}]" (see pycron.toml(5))')
        unknown = set(content) - {"url", "on", "cooldown", "users"}
        if unknown:
            raise ConfigError(path, f'unknown option: "notify.{name}.{min(unknown)}"')
        found[name] = _notification(f"notify.{name}", content, path)
    return found


def _notification(section: str, content: dict[str, Any], path: Path) -> NotificationOptions:
    url, on, users = (
        content.get("url"),
        content.get("on", list(NOTIFIED)),
        content.get("users", []),
    )
    if not isinstance(url, str) or not url:
        raise ConfigError(path, f"bad {section}.url: not shown (a URL of apprise)")
    if not isinstance(on, list) or not all(each in list(NOTIFIED) for each in on):
        raise ConfigError(path, f"bad {section}.on: {on!r} (a list of {', '.join(NOTIFIED)})")
    cooldown = content.get("cooldown", 0)
    seconds = _checked(f"{section}.cooldown", cooldown, forms.DURATION, path)
    return NotificationOptions(
        url, frozenset(NOTIFIED[each] for each in on), seconds, _users(section, users, path)
    )


def _pool(name: str, value: Any, path: Path) -> tuple[str, PoolOptions]:
    """A pool: a number, or a table with `running` and `users`. Raises ConfigError."""
    if not re.fullmatch(NAME_PATTERN, name, re.ASCII):
        raise ConfigError(path, f'bad pool: "{name}" (letters, digits and . _ + -, at most 64)')
    if not isinstance(value, dict):
        return name, PoolOptions(_checked(f"pools.{name}", value, forms.WHOLE, path))
    unknown = set(value) - {"running", "users"}
    if unknown:
        raise ConfigError(path, f'unknown option: "pools.{name}.{min(unknown)}"')
    running = _checked(f"pools.{name}.running", value.get("running"), forms.WHOLE, path)
    return name, PoolOptions(running, _users(f"pools.{name}", value["users"], path)
                             if "users" in value else None)  # fmt: skip


def _calendar(name: str, value: Any, path: Path) -> tuple[str, Any]:
    """A calendar, not read yet. Raises ConfigError."""
    if not re.fullmatch(NAME_PATTERN, name, re.ASCII):
        raise ConfigError(path, f'bad calendar: "{name}" (letters, digits and . _ + -, at most 64)')
    return name, value


def _calendars(values: dict[str, Any], path: Path, rules: FileRules) -> dict[str, Calendar]:
    """The calendars of the section; their files are read. Raises ConfigError."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = calendars.calendar(name, value, rules, time.gmtime().tm_year)
        except calendars.CalendarError as error:
            failure = ConfigUnreadable if error.unreadable else ConfigError
            raise failure(path, f"bad calendars.{name}: {error}") from None
    return found


def _users(section: str, users: Any, path: Path) -> frozenset[str]:
    if not isinstance(users, list) or not all(isinstance(each, str) for each in users):
        raise ConfigError(path, f"bad {section}.users: {users!r} (a list of users)")
    return frozenset(users)


def _sender(name: str, value: Any, path: Path) -> tuple[str, senders.SenderOptions]:
    """A section [senders.NAME]. No message contains the URL. Raises ConfigError."""
    try:
        options = senders.sender(name, value)
    except senders.BadSender as error:
        raise ConfigError(path, str(error)) from None
    return name, options


def _default(name: str, value: Any, path: Path) -> tuple[str, Any]:
    return _setting(f"defaults.{name}", name, value, path, set(SETTINGS) - _OF_ENTRIES)


def _ceiling(name: str, value: Any, path: Path) -> tuple[str, Any]:
    return _setting(f"ceilings.{name}", name, value, path, set(CAPPED))


def _setting(option: str, name: str, value: Any, path: Path, known: set[str]) -> tuple[str, Any]:
    """The attribute of a setting, and the value that this text has in a table."""
    if name not in known:
        hint = hint_at(name, known, "pycron.toml(5)")
        raise ConfigError(path, f'unknown option: "{option}" ({hint})')
    setting = SETTINGS[name]
    try:
        return setting.attribute, setting.parse(str(value))
    except ValueError:
        shown = "not shown" if setting.secret else repr(value)
        raise ConfigError(path, f"bad {option}: {shown} ({setting.form})") from None


# The sections whose keys are names: each function gives the key and value for Config.
OPEN_SECTIONS: dict[str, Callable[[str, Any, Path], tuple[str, Any]]] = {
    "pools": _pool,
    "calendars": _calendar,
    "senders": _sender,
    "defaults": _default,
    "ceilings": _ceiling,
}
