"""Durations as tables (`90s`, `1h30m`) and people at the command line (`2 hours`) write them."""

import re

# The words for a unit, and its letter.
UNITS = {
    word: words[0]
    for words in (
        ("s", "sec", "secs", "second", "seconds"), ("m", "min", "mins", "minute", "minutes"),
        ("h", "hr", "hrs", "hour", "hours"), ("d", "day", "days"), ("w", "week", "weeks"),
    )
    for word in words
}  # fmt: skip
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+|[0-9]{1,9}", re.ASCII)
_SPOKEN = re.compile(r"([0-9]{1,9}) ?([a-z]+) ?", re.ASCII)
LONGEST_DURATION = 10 * 365 * 86400  # seconds


def parse_duration(text: str) -> int:
    """The seconds of `90`, `90s`, `15m`, `1h30m`, `2d` or `1w`. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError
    return _sum(re.findall(r"([0-9]+)([smhdw]?)", text))


def spoken_duration(text: str) -> int:
    """The seconds of `15m`, `1h30m`, `2 hours` or `1 h 5 min`; each number needs its unit.

    Raises ValueError.
    """
    parts = _SPOKEN.findall(text)
    if not parts or _SPOKEN.sub("", text):
        raise ValueError
    return _sum([(number, UNITS.get(word, "?")) for number, word in parts])


def _sum(parts: list[tuple[str, str]]) -> int:
    if any(unit not in _UNIT_SECONDS for _, unit in parts):
        raise ValueError
    seconds = sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST_DURATION:
        raise ValueError
    return seconds
