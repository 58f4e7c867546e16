"""Times whose local days can be computed."""

from pycron.cli.errors import WrongUse
from pycron.schedule.zone import END_OF_TIME

_YEAR = 366 * 86_400  # seconds


def in_reach(instant: int) -> int:
    """The same UTC second. Raises WrongUse if the days around it cannot be computed."""
    if not 0 <= instant < END_OF_TIME - _YEAR:
        raise WrongUse("bad time: from 1970 to 9998")
    return instant
