"""The forms of values in pycron.toml: what each form accepts, and how an error names it."""

import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycron.model.hosts import HOST_PATTERN
from pycron.model.setting_values import NAME_PATTERN, parse_size
from pycron.schedule.durations import parse_duration

_DAY = 86_400
_MOST = 2**62
# Seconds of [cluster] lease. A host renews its lease every 5 s, and three tries have to fit in.
# When it is over, commands have 11 s to end, and others take them over 30 s after it, by a clock
# that may be 5 % faster: 11 s + lease + 0.05 * (lease + 30 s) has to be less than lease + 30 s.
_SHORTEST_LEASE, _LONGEST_LEASE = 15, 300
_MOST_SERIES = 5000  # an answer with all their counts is below the largest message
_MOST_DAYS = 1_000_000  # their seconds are a number of SQLite


@dataclass(frozen=True, slots=True)
class Form:
    """`words`: the form in an error message. `parse`: raises ValueError for a bad value."""

    words: str
    parse: Callable[[Any], Any]


def _whole(value: Any) -> int:
    if type(value) is not int or not 1 <= value < _MOST:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if type(value) is not float:
        return _whole(value)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def _size(value: Any) -> int:
    """Bytes: a number, or a text as CRON_MEMORY_MAX has it."""
    return parse_size(value) if type(value) is str else _whole(value)


def _duration(value: Any) -> int:
    """Seconds: a number, or a text as CRON_TIMEOUT has it; 0 is allowed."""
    if type(value) is not str and (type(value) is not int or value < 0):
        raise ValueError
    return parse_duration(str(value))


def _timeout(value: Any) -> int:
    if _duration(value) == 0:
        raise ValueError
    return _duration(value)


def _days(value: Any) -> int:
    """Days: a number, or a duration of whole days."""
    days, rest = divmod(parse_duration(value), _DAY) if type(value) is str else (_whole(value), 0)
    if rest or not 0 < days <= _MOST_DAYS:
        raise ValueError
    return days


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _command(value: Any) -> str:
    """A command line of at least one word, in which each quote has its partner."""
    if not shlex.split(_text(value)):
        raise ValueError
    return _text(value)


def _service(value: Any) -> str:
    if not re.fullmatch(NAME_PATTERN, _text(value), re.ASCII):
        raise ValueError
    return _text(value)


def _path(value: Any) -> Path:
    if not _text(value).startswith("/"):
        raise ValueError
    return Path(value)


def _paths(value: Any) -> tuple[Path, ...]:
    if type(value) is not list:
        raise ValueError
    return tuple(map(_path, value))


def _name(value: Any) -> str:
    if not re.fullmatch(NAME_PATTERN, _text(value), re.ASCII):
        raise ValueError
    return _text(value)


def _host(value: Any) -> str:
    if not re.fullmatch(HOST_PATTERN, _text(value), re.ASCII):
        raise ValueError
    return _text(value)


def _address(value: Any) -> str:
    """A connection string of libpq; only the agent, which has libpq, can read it."""
    if not _text(value).strip() or "\0" in value:
        raise ValueError
    return _text(value)


def _broker(value: Any) -> str:
    """A URL of Celery; only those who have it can read it."""
    if not re.match("[a-z][a-z0-9+]*://", _text(value)) or "\0" in value:
        raise ValueError
    return _text(value)


def _names(value: Any) -> tuple[str, ...]:
    if type(value) is not list:
        raise ValueError
    return tuple(map(_name, value))


def _users(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(map(_text, value)):
        raise ValueError
    return tuple(value)


def _lease(value: Any) -> int:
    if not _SHORTEST_LEASE <= _duration(value) <= _LONGEST_LEASE:
        raise ValueError
    return _duration(value)


def _groups(value: Any) -> dict[str, frozenset[str]]:
    if type(value) is not dict or not all(type(hosts) is list for hosts in value.values()):
        raise ValueError
    return {_name(name): frozenset(map(_host, hosts)) for name, hosts in value.items()}


def _pools(value: Any) -> dict[str, int]:
    if type(value) is not dict:
        raise ValueError
    return {_name(name): _whole(running) for name, running in value.items()}


def _port(value: Any) -> int:
    if _whole(value) >= 65_536:
        raise ValueError
    return _whole(value)


def _few(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_SERIES:
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _one_of(*words: str) -> Form:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError
        return _text(value)

    return Form(f"{', '.join(words[:-1])} or {words[-1]}", parse)


WHOLE = Form("a whole number above 0", _whole)
NUMBER = Form("a number above 0", _number)
SIZE = Form("a number of bytes, or a size such as 512M or 2G", _size)
DURATION = Form("a duration such as 90s, 15m or 1h30m", _duration)
TIMEOUT = Form("a duration above 0 such as 90s, 15m or 1h30m", _timeout)
DAYS = Form("a number of days, or whole days such as 90d or 12w", _days)
TEXT = Form("a text", _text)
COMMAND = Form("a program and its options", _command)
PATH = Form("an absolute path", _path)
PATHS = Form("a list of absolute paths", _paths)
LAYOUT = _one_of("pycron", "debian", "cronie")
SERVICE = Form("the name of a file in /etc/pam.d", _service)
FEW = Form(f"a number from 0 to {_MOST_SERIES}", _few)
FLAG = Form("true or false", _flag)
NAME = Form("letters, digits and . _ + -, at most 64", _name)
HOST = Form("letters, digits and . _ - between them", _host)
ZONE = Form("a time zone such as Europe/Berlin", _text)
ADDRESS = Form("a connection string of libpq", _address)
BROKER = Form("a URL such as redis://broker.example.org/0", _broker)
NAMES = Form("a list of names", _names)
USERS = Form("a list of users", _users)
LEASE = Form("a duration from 15s to 5m", _lease)
GROUPS = Form("names with lists of hosts", _groups)
POOLS = Form("names with whole numbers above 0", _pools)
PORT = Form("a number from 1 to 65535", _port)
TRANSPORT = _one_of("sendmail", "smtp", "none")
SECURITY = _one_of("starttls", "tls", "none")
