"""The values of settings: functions that read each kind of value from a text.

Each function raises ValueError for a text that is no such value. Durations are seconds, sizes are
bytes.
"""

import re
from collections.abc import Callable
from typing import Any

from pycron.schedule.durations import parse_duration
from pycron.schedule.expressions import JOB_NAME

_UNIT_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"([0-9]{1,19})([KMGT]?)(?:i?B)?", re.ASCII)
LARGEST_SIZE = 2**60  # bytes
NAME_PATTERN = JOB_NAME


def parse_size(text: str) -> int:
    """The bytes of `1048576`, `512K`, `512M` or `2G` (powers of 1024)."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError
    size = int(match[1]) * _UNIT_BYTES[match[2]]
    if not 0 < size <= LARGEST_SIZE:
        raise ValueError
    return size


def size_text(size: int) -> str:
    """The text of so many bytes."""
    count, unit = max((each, unit) for unit, each in _UNIT_BYTES.items() if size % each == 0)
    return f"{size // count}{unit}"


def duration(least: int = 0) -> Callable[[str], int]:
    """Durations of at least so many seconds."""

    def parse(text: str) -> int:
        seconds = parse_duration(text)
        if seconds < least:
            raise ValueError
        return seconds

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """Whole numbers of this range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def decimal(low: float, high: float) -> Callable[[str], float]:
    """Numbers of this range, with up to six decimal places."""

    def parse(text: str) -> float:
        number = r"[0-9]{1,6}(\.[0-9]{1,6})?"
        if not re.fullmatch(number, text, re.ASCII) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return parse


def matching(pattern: str) -> Callable[[str], str]:
    """Texts that match a regular expression as a whole."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError
        return text

    return parse


def umask(text: str) -> int:
    """An octal mask."""
    if not re.fullmatch(r"0?[0-7]{1,3}", text, re.ASCII):
        raise ValueError
    return int(text, 8)


def umask_text(mask: int) -> str:
    return f"{mask:o}"


def retry_until(text: str) -> str | int:
    """`next`, `never` or a duration."""
    return text if text in ("next", "never") else parse_duration(text)


RETRY_WORDS = ("any", "signal", "timeout", "memory", "lost")


def conditions(text: str) -> tuple[str, ...]:
    """A list of exit codes, ranges of them, and RETRY_WORDS, with commas."""
    parts = tuple(text.split(","))
    for part in parts:
        first, dash, last = part.partition("-")
        codes = [first, last] if dash else [first]
        in_range = all(re.fullmatch("[0-9]{1,3}", c, re.ASCII) and int(c) <= 255 for c in codes)
        if part not in RETRY_WORDS and not (in_range and int(codes[0]) <= int(codes[-1])):
            raise ValueError
    return parts


def printable_text(text: str) -> str:
    """A text without control characters."""
    if not text or len(text) > 4096 or not text.isprintable():
        raise ValueError
    return text


def url(text: str) -> str:
    """A URL of the schemes http and https."""
    if not re.fullmatch(r"https?://[!-~]{1,2000}", text, re.ASCII):
        raise ValueError
    return text


def yes_or_no(text: str) -> bool:
    """`yes` or `no`."""
    if text not in ("yes", "no"):
        raise ValueError
    return text == "yes"


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    names = tuple(text.split(","))
    if not all(re.fullmatch(NAME_PATTERN, name, re.ASCII) for name in names):
        raise ValueError
    return names


# How a whole number is written that these functions read, if not in decimal digits.
TEXT_OF_NUMBER: dict[Callable[[str], Any], Callable[[int], str]] = {
    parse_size: size_text,
    umask: umask_text,
}
