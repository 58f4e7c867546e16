"""The programs of this machine."""

import os
import sys
from functools import lru_cache

DEFAULT_PATH = "/usr/bin:/bin"  # of commands, as in Debian's cron


@lru_cache(maxsize=4096)
def is_program(path: str) -> bool:
    """Whether this process may run the file at a path."""
    return os.path.isfile(path) and os.access(path, os.X_OK)


def name_of_sh() -> str:
    """What /bin/sh is, such as `dash` or `bash`."""
    return os.path.basename(os.path.realpath("/bin/sh"))


def own_programs() -> str | None:
    """The directory with the program pycron of the installation that this process belongs to.

    None if there is none, as in a checkout. A virtual environment has the interpreter beside it; of
    another installation, the running program itself stands there.
    """
    beside = (os.path.abspath(path) for path in (sys.argv[0], sys.executable))
    directories = map(os.path.dirname, beside)
    return next((each for each in directories if is_program(os.path.join(each, "pycron"))), None)
