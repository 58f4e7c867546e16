"""Memory that a starter shares with the runner: how far each command of its batch has come.

Imported by the runner: it stays small.
"""

import mmap
import struct
import time

UNTOUCHED, BEGUN, STARTED = range(3)
NO_PROCESS = -1  # instead of a pid: no process could be forked for the command

# The pid of a command, when it was started (UTC), and UNTOUCHED, BEGUN or STARTED.
Progress = tuple[int, float, int]
_RECORD = struct.Struct("qdq")


class BatchProgress:
    """One Progress for each command of a batch. The starter writes, the runner reads."""

    def __init__(self, count: int) -> None:
        """Raises OSError if the memory cannot be had."""
        self._records = mmap.mmap(-1, count * _RECORD.size)

    def write(self, index: int, pid: int, state: int) -> None:
        _RECORD.pack_into(self._records, index * _RECORD.size, pid, time.time(), state)

    def read(self, index: int) -> Progress:
        record: Progress = _RECORD.unpack_from(self._records, index * _RECORD.size)
        if record[2] == STARTED and not record[0]:
            # The starter wrote it from the first byte to the last during this read: read again.
            record = _RECORD.unpack_from(self._records, index * _RECORD.size)
        return record
