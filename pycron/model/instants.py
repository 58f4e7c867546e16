"""UTC seconds as text (RFC 3339)."""

import datetime
from functools import lru_cache


def rfc3339(instant: float) -> str:
    """A UTC second as text: `2026-03-08T07:00:00Z`."""
    return _rfc3339(int(instant))


# A thousand Runs of one minute have the same fire time, and a thousand Jobs the same next one.
@lru_cache(maxsize=2048)
def _rfc3339(second: int) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_milliseconds(instant: float) -> str:
    """The same with the milliseconds, for what was measured."""
    return f"{rfc3339(instant)[:-1]}.{int(instant * 1000) % 1000:03d}Z"


@lru_cache(maxsize=256)
def compact(second: int) -> str:
    """A UTC second as in the id of a Run: `20260308T070000Z`."""
    return _rfc3339(second).replace("-", "").replace(":", "")


@lru_cache(maxsize=256)
def parse_compact(stamp: str) -> int:
    """The UTC second of a compact text. Raises ValueError."""
    moment = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
    return int(moment.replace(tzinfo=datetime.UTC).timestamp())


def parse_rfc3339(text: str) -> float:
    """The UTC second of a text with an offset, as it stands in JSON. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp()
