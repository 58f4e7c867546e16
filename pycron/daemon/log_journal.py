"""The log in the journal of systemd: an entry for each event, with a field for each of its keys."""

import json
import os
import re
import select
from collections.abc import Callable, Iterator
from typing import TextIO

from pycron.daemon.log_messages import message, priority
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.text import printable
from pycron.system.journal import Journal, encode

# People search for the name of the unit and of the program: `journalctl -t pycron`. The name is
# never a Job's, because programs such as fail2ban trust an identifier.
_IDENTIFIER = "pycron"
_CRON, _USER = 9, 1  # facilities of syslog(3); the output of a command is not a message of cron


def journal_writer(stream: TextIO, journal: Journal | None = None) -> Callable[[Log], None]:
    """A function that writes one Log action to the journal.

    `stream`: where the message goes if the journal does not take the entry.
    """
    return _JournalLog(stream, journal or Journal()).write


class _JournalLog:
    """Neither a journal that is slow or gone nor a stream that nobody reads holds the daemon up.

    What the journal does not take is written to the stream, which in a service leads to the journal
    too, and has room of its own. What neither takes is dropped, and the number is logged later.
    """

    def __init__(self, stream: TextIO, journal: Journal) -> None:
        self._stream = stream
        self._journal = journal
        self._dropped = 0

    def write(self, log: Log) -> None:
        if log.quiet:
            return
        if self._dropped and self._deliver(_dropped(self._dropped)):
            self._dropped = 0
        if not self._deliver(log):
            self._dropped += 1

    def _deliver(self, log: Log) -> bool:
        try:
            self._journal.send(encode(fields_of(log)))
        except OSError:
            return _write_line(self._stream, f"<{priority(log).value}>{message(log)}")
        return True


def _dropped(number: int) -> Log:
    return Log(Event.LOG_DROPPED, {"dropped": number}, bad=True)


def fields_of(log: Log) -> Iterator[tuple[str, str]]:
    """The fields of the entry of an event. Those of the event have no value that is null."""
    yield "MESSAGE", message(log)
    yield "PRIORITY", str(priority(log).value)
    yield "SYSLOG_IDENTIFIER", _IDENTIFIER
    yield "SYSLOG_FACILITY", str(_USER if log.event is Event.OUTPUT else _CRON)
    yield "SYSLOG_PID", str(os.getpid())
    yield "PYCRON_EVENT", log.event.value
    for key, value in log.fields.items():
        if value is not None:
            yield _name(key), _text(value)
    if log.entry is not None:
        yield "PYCRON_TABLE", printable(log.entry.table)
        yield "PYCRON_LINE", str(log.entry.line)


def _name(key: str) -> str:
    return "PYCRON_" + re.sub(r"[^A-Z0-9_]", "_", key.upper())


def _text(value: object) -> str:
    return printable(value) if isinstance(value, str) else json.dumps(value, default=repr)


def _write_line(stream: TextIO, text: str) -> bool:
    """Write a line if the stream takes it at once; of a long line only the beginning.

    A pipe or a socket that can be written to has room for PIPE_BUF bytes (4096).
    """
    try:
        poll = select.poll()
        poll.register(stream, select.POLLOUT)
        if not any(event == select.POLLOUT for _, event in poll.poll(0)):
            return False
        line = text.encode("utf-8", "backslashreplace")[: select.PIPE_BUF - 1] + b"\n"
        return os.write(stream.fileno(), line) == len(line)
    except (OSError, ValueError):  # nobody reads it, or it was closed
        return False
