"""Times on the command line: read as people write them, printed as they read them."""

import argparse
import datetime
import time
import warnings

from pycron.zone import Zone


def parse_instant(text: str, zone: Zone) -> int:
    """The UTC second that a text means: RFC 3339, `now`, or what dateutil makes of it.

    A time without an offset is one of `zone`. Raises argparse.ArgumentTypeError.
    """
    if text == "now":
        return int(time.time())
    try:
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            moment = _loosely(text, zone)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone.tzinfo)
        return -int(-moment.timestamp() // 1)
    except (ValueError, OverflowError, Warning):
        hint = "a time such as 2026-03-08T02:30:00Z, 2026-03-08 or now"
        raise argparse.ArgumentTypeError(f'bad time: "{text}" ({hint})') from None


def _loosely(text: str, zone: Zone) -> datetime.datetime:
    from dateutil import parser  # "Mar 8 2026", "10:30", "8 March 2026 2:30 pm"

    today = datetime.datetime.now(zone.tzinfo).replace(
        hour=0, minute=0, second=0, microsecond=0, tzinfo=None
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a zone that it doesn't know is passed over otherwise
        return parser.parse(text, default=today)


def local_text(instant: int, zone: Zone) -> str:
    """RFC 3339 in a zone, with its offset."""
    return zone.local(instant).isoformat()
