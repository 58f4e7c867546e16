"""What is known of an Attempt that has ended, for people who ask on another host of the cluster."""

from binascii import b2a_base64
from pathlib import Path

from pycron.model.history import AttemptRecord
from pycron.model.run import AttemptKey
from pycron.ports import StoreFailure
from pycron.protocol.cluster_messages import FinishMessage, ResultPart
from pycron.storage.store import Store
from pycron.system.output_names import output_name

_MOST_OUTPUT = 64 * 1024  # bytes, the last ones


class AttemptResults:
    """`output`: the directory of output files."""

    def __init__(self, store: Store, output: Path) -> None:
        self._store = store
        self._output = output

    def add_to(self, message: FinishMessage, attempt: AttemptKey) -> FinishMessage:
        """The message with what is known; as it is if the store cannot be read."""
        try:
            run = self._store.run(attempt.run)
            found = run.attempt(attempt.number) if run else None
            if found is None:
                return message
            data, begin = self._tail(attempt)
        except (StoreFailure, OSError):
            return message
        output = b2a_base64(data, newline=False).decode()
        return {**message, "result": _result(found, begin), "output": output}

    def _tail(self, attempt: AttemptKey) -> tuple[bytes, int]:
        """The end of what an Attempt has printed, and where it begins. Raises OSError."""
        data = self._store.short_output(attempt)
        if data is not None:
            begin = max(0, len(data) - _MOST_OUTPUT)
            return data[begin:], begin
        path = self._output / output_name(attempt)
        try:
            with path.open("rb") as file:
                begin = max(0, file.seek(0, 2) - _MOST_OUTPUT)
                file.seek(begin)
                return file.read(_MOST_OUTPUT), begin
        except FileNotFoundError:
            return b"", 0  # the Attempt has printed nothing


def _result(attempt: AttemptRecord, begin: int) -> ResultPart:
    return {
        "started": attempt.started,
        "ended": attempt.ended,
        "exit_status": attempt.exit_status,
        "signal": attempt.signal,
        "cpu_seconds": attempt.cpu_seconds,
        "memory_peak_bytes": attempt.memory_peak,
        "output_bytes": attempt.output_bytes,
        "output_begin": begin,
    }
