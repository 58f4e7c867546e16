"""Memory that a starter shares with the runner: how far each command of its batch has come.

Imported by the runner: it stays small.
"""

import mmap
import struct
import time

UNTOUCHED, BEGUN, STARTED, DIRECT = range(4)  # DIRECT: started, without a shell that would wait
NO_PROCESS = -1  # instead of a pid: no process could be forked for the command

# The pid of a command, when it was started (UTC), and one of these four.
Progress = tuple[int, float, int]
_VALUES = struct.Struct("qd")  # pid, time
_SIZE = _VALUES.size + 8  # then the state, in one byte; 8 keeps the next record aligned


class BatchProgress:
    """One Progress for each command of a batch. The starter writes, the runner reads."""

    def __init__(self, count: int) -> None:
        """Raises OSError if the memory cannot be had."""
        self._records = mmap.mmap(-1, count * _SIZE)

    def write(self, index: int, pid: int, state: int) -> None:
        at = index * _SIZE
        # The state comes last, in one byte. struct fills a record with zeros before it writes,
        # and zero is UNTOUCHED: the command of a starter that is killed meanwhile would run twice.
        _VALUES.pack_into(self._records, at, pid, time.time())
        self._records[at + _VALUES.size] = state

    def read(self, index: int) -> Progress:
        at = index * _SIZE
        # The state is read first: the values of a started command are written by then.
        state = self._records[at + _VALUES.size]
        pid, started = _VALUES.unpack_from(self._records, at)
        return pid, started, state
