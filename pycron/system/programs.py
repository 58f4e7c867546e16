"""The programs of this machine."""

import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

DEFAULT_PATH = "/usr/bin:/bin"  # of commands, as in Debian's cron


def environment_of_own(names: Iterable[str]) -> dict[str, str]:
    """The environment in which the daemon starts another process of pycron.

    Such a process finds this installation. Of the daemon's own environment, it gets these variables
    and those of the dynamic linker and of faketime.
    """
    passed = [*names, *(name for name in os.environ if name.startswith(("LD_", "FAKETIME")))]
    return {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONUTF8": "1",
        "PATH": DEFAULT_PATH,
        **{name: os.environ[name] for name in passed if name in os.environ},
    }


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
