"""The log for people at a terminal: a line for each event: the time, the Job, what happened.

    14:03:05 backup         has started: /usr/local/bin/backup
    14:03:05 backup         | 3 files
    14:03:07 backup         failed: exit status 7
    14:03:07 backup         is tried again in 35 s

A line is cut to the width of the terminal, but for warnings, which are continued on further lines,
and for what commands print, which the terminal itself continues. Below the first line of a daemon
in the foreground is the command that asks it. With another stream than a terminal, each event is
one whole line.
"""

import os
import shlex
import shutil
import textwrap
import unicodedata
from datetime import datetime
from typing import TextIO

from pycron.daemon.log_entries import EncodeEvent
from pycron.daemon.log_messages import Priority, console_message, priority
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.run import Outcome
from pycron.model.text import printable
from pycron.system.programs import own_programs

_NAME = 14  # characters of a Job's name, with which the next column stays where it is
_LONGEST_NAME = 24
_TIME = "14:03:05 "
_INDENT = len(_TIME) + _NAME + 1
_NARROWEST = 40  # characters of a line, however narrow the terminal

_RESET = "\x1b[0m"
_FAINT, _BOLD, _GREEN, _YELLOW, _RED = (f"\x1b[{code}m" for code in ("90", "1", "32", "33", "1;31"))


def console_format(stream: TextIO) -> EncodeEvent:
    """A function that turns an event and its time (UTC) into a line for this stream."""
    encoding = stream.encoding or "utf-8"
    colours = stream.isatty() and not os.environ.get("NO_COLOR")

    def to_line(log: Log, at: float) -> bytes:
        job, text = console_message(log)
        lines = _fitted(log, job, text, _width(stream))
        if colours:
            lines[0] = _coloured(log, lines[0])
        stamp = f"{datetime.fromtimestamp(at):%H:%M:%S}"
        line = "\n".join([f"{_in(_FAINT, stamp) if colours else stamp} {lines[0]}", *lines[1:]])
        return f"{line}\n".encode(encoding, "backslashreplace")

    return to_line


def _width(stream: TextIO) -> int | None:
    """The characters of a line; None: no terminal, lines have no limit."""
    try:
        return max(os.get_terminal_size(stream.fileno()).columns, _NARROWEST)
    except (OSError, ValueError):
        return None


def _fitted(log: Log, job: str | None, text: str, width: int | None) -> list[str]:
    """The lines of an event without its time; all but one of them are continuations."""
    head = "" if job is None else _name(printable(job), width) + " "
    if width is None or log.event is Event.OUTPUT:
        return [head + text]
    if priority(log) <= Priority.WARNING:
        return _wrapped(head, text, width)
    return [_cut(head + text, width - len(_TIME)), *_hints(log)]


def _hints(log: Log) -> list[str]:
    """At the start of a daemon in the foreground: how to speak to it from another terminal."""
    if log.event is not Event.DAEMON_STARTED or log.fields.get("mode") != "foreground":
        return []
    own, found = own_programs(), shutil.which("pycron")
    program = "pycron" if own is None or found else os.path.join(own, "pycron")
    asked = shlex.join([program, "--state-dir", str(log.fields.get("state"))])
    return [f"{' ' * len(_TIME)}ask it: {printable(asked)}"]


def _wrapped(head: str, text: str, width: int) -> list[str]:
    """The text in lines that are not longer than the terminal, indented below the first one."""
    indent = " " * min(_INDENT, width // 2)
    lines = textwrap.wrap(
        " " * (len(_TIME) + len(head)) + text, width, subsequent_indent=indent,
        break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip
    return [head + lines[0].lstrip(), *lines[1:]]


def _name(job: str, width: int | None) -> str:
    """The name of a Job in its column."""
    return (job if width is None else _cut(job, _LONGEST_NAME)).ljust(_NAME)


def _cut(text: str, room: int) -> str:
    """The text in at most so many columns of a terminal; the last one says that it was cut."""
    if text.isascii() and len(text) <= room:
        return text
    used = 0
    for at, character in enumerate(text):
        used += _columns(character)
        if used > room:
            return _cut_to(text[:at], room - 1) + "…"
    return text


def _cut_to(text: str, room: int) -> str:
    while text and sum(map(_columns, text)) > room:
        text = text[:-1]
    return text


def _columns(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _coloured(log: Log, line: str) -> str:
    """The whole line in a colour that says how important it is; a usual one has none."""
    if priority(log) <= Priority.ERR:
        return _in(_RED, line)
    if log.bad or priority(log) <= Priority.WARNING:
        return _in(_YELLOW, line)
    if log.event is Event.ATTEMPT_ENDED and log.fields.get("outcome") == Outcome.SUCCEEDED:
        return _in(_GREEN, line)
    return line


def _in(colour: str, text: str) -> str:
    return f"{colour}{text}{_RESET}"
