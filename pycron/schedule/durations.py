"""Durations as tables and the command line write them: `90s`, `1h30m`."""

import re

_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+|[0-9]{1,9}", re.ASCII)
LONGEST_DURATION = 10 * 365 * 86400  # seconds


def parse_duration(text: str) -> int:
    """The seconds of `90`, `90s`, `15m`, `1h30m`, `2d` or `1w`. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError
    seconds = sum(
        int(number) * _UNIT_SECONDS[unit]
        for number, unit in re.findall(r"([0-9]+)([smhdw]?)", text)
    )
    if seconds > LONGEST_DURATION:
        raise ValueError
    return seconds
