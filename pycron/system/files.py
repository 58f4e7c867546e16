"""Files and directories: what POSIX leaves to the caller."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """What is in it now is there after a power cut, and nothing else. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
