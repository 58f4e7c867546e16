"""The programs of this machine."""

import os
from functools import lru_cache


@lru_cache(maxsize=4096)
def is_program(path: str) -> bool:
    """Whether this process may run the file at a path."""
    return os.path.isfile(path) and os.access(path, os.X_OK)


def name_of_sh() -> str:
    """What /bin/sh is, such as `dash` or `bash`."""
    return os.path.basename(os.path.realpath("/bin/sh"))
