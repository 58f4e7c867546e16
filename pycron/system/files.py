"""Files and directories."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make the entries of a directory survive a power cut (fsync(2)). Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
