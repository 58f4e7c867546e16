"""Runs a program on a terminal of a given size, and reads what it shows there."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]")
_PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Shown:
    """`raw`: what the program wrote, with escape sequences and its terminal's line ends."""

    status: int
    raw: str

    @property
    def text(self) -> str:
        return _ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def show(
    command: list[str],
    columns: int = 80,
    rows: int = 24,
    keys: Callable[[str], bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Shown:
    """Run a command on a terminal until it ends; its streams are that terminal.

    `keys`: gets all that was shown so far, and returns what is typed now.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=env | {"TERM": "xterm", "PYTHONUTF8": "1"} | dict(environment or {}),
    )  # fmt: skip
    os.close(theirs)
    try:
        shown = _read_all(ours, keys)
    finally:
        os.close(ours)
        if process.poll() is None and process.wait(5) is None:
            process.kill()
    return Shown(process.wait(_PATIENCE), shown)


def _read_all(terminal: int, keys: Callable[[str], bytes] | None) -> str:
    shown, end = b"", time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # the program has closed the other end
                data = b""
            if not data:
                return shown.decode(errors="replace")
            shown += data
        if keys and (typed := keys(shown.decode(errors="replace"))):
            os.write(terminal, typed)
    raise TimeoutError(shown.decode(errors="replace"))
