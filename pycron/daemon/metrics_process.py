"""The process that serves metrics for `pycrond --foreground --metrics ADDRESS`.

It is a client of the control socket. What becomes of it never concerns the daemon's work: if it
ends, the log says so, and it is started again within a minute.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pycron.engine.actions import Log
from pycron.engine.log_events import Event

_MODULE = "pycron.web.metrics_server"
_LONGEST_REASON = 4096  # bytes


class MetricsProcess:
    """`address`: None if no metrics are to be served. `socket`: the daemon's control socket."""

    def __init__(self, address: str | None, socket: Path, log: Callable[[Log], None]) -> None:
        self._address = address
        self._socket = socket
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Start the process, unless it runs."""
        self.look()
        if self._address is None or self._process is not None:
            return
        command = [sys.executable, "-P", "-m", _MODULE, str(self._socket), self._address]
        try:
            # It ends with its standard input, so also when this daemon is killed. It is not meant
            # by the Ctrl-C of the daemon's terminal: until its end the daemon serves metrics.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._say(str(error.strerror))
            return
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)

    def look(self) -> None:
        """Note whether the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            process, self._process = self._process, None
            reason = self._last_words(process) or f"exit status {process.returncode}"
            _close_pipes(process)
            self._say(reason)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            process.kill()
        process.wait()
        _close_pipes(process)

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stderr is not None
        with suppress(OSError):
            said = os.read(process.stderr.fileno(), _LONGEST_REASON).decode("utf-8", "replace")
            return said.strip().rpartition("\n")[2]
        return ""

    def _say(self, reason: str) -> None:
        fields = {"address": self._address, "reason": reason}
        self._log(Log(Event.METRICS_ENDED, fields, bad=True))


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            pipe.close()
