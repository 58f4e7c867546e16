"""Times on the command line: parsed from the forms that people write, and printed."""

import argparse
import datetime
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pycron.schedule.zone import Zone


def parse_instant(text: str, zone: Zone) -> int:
    """The UTC second that a text means: RFC 3339, `now`, or any form that dateutil knows.

    A time without an offset is in `zone`. Raises argparse.ArgumentTypeError.
    """
    moment = _moment(text, zone)
    return _second(text, moment if moment.tzinfo else moment.replace(tzinfo=zone.tzinfo))


def parse_asked(text: str, zone: Zone) -> tuple[int, bool]:
    """The second that a text means, and whether it is a wall second: one without an offset.

    The caller applies the zone of the Job to a wall second. `zone` says which day is today. Raises
    argparse.ArgumentTypeError.
    """
    moment = _moment(text, zone)
    wall = moment.tzinfo is None
    return _second(text, moment.replace(tzinfo=datetime.UTC) if wall else moment), wall


def _moment(text: str, zone: Zone) -> datetime.datetime:
    """The datetime in a text; it is aware if the text has an offset."""
    if text == "now":
        return datetime.datetime.fromtimestamp(int(time.time()), datetime.UTC)
    with _errors_about(text):
        try:
            return datetime.datetime.fromisoformat(text)
        except ValueError:
            return _parse_freely(text, zone)


def _second(text: str, moment: datetime.datetime) -> int:
    """The first whole UTC second that is not before an aware moment."""
    with _errors_about(text):
        return -int(-moment.timestamp() // 1)


@contextmanager
def _errors_about(text: str) -> Iterator[None]:
    """Raise any error as an ArgumentTypeError about the text."""
    try:
        yield
    except (ValueError, OverflowError, Warning):
        hint = "a time such as 2026-03-08T02:30:00Z, 2026-03-08 or now"
        raise argparse.ArgumentTypeError(f'bad time: "{text}" ({hint})') from None


def _parse_freely(text: str, zone: Zone) -> datetime.datetime:
    from dateutil import parser  # "Mar 8 2026", "10:30", "8 March 2026 2:30 pm"

    today = datetime.datetime.now(zone.tzinfo).replace(
        hour=0, minute=0, second=0, microsecond=0, tzinfo=None
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # dateutil only warns of a zone that it does not know
        return parser.parse(text, default=today)


def local_text(instant: int, zone: Zone) -> str:
    """RFC 3339 in a zone, with its offset."""
    return zone.local(instant).isoformat()
