"""The log in the journal of systemd: an entry for each event, with a field for each of its keys."""

import json
import os
import re
import select
from collections.abc import Iterator
from typing import TextIO

from pycron.daemon.log_messages import message, priority
from pycron.daemon.log_queue import Transport
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.text import printable
from pycron.system.journal import Journal, encode
from pycron.system.log_stream import LogStream

# People search for the name of the unit and of the program: `journalctl -t pycron`. The name is
# never a Job's, because programs such as fail2ban trust an identifier.
_IDENTIFIER = "pycron"
_CRON, _USER = 9, 1  # facilities of syslog(3); the output of a command is not a message of cron


def journal_transport(stream: TextIO, journal: Journal | None = None) -> Transport:
    """`stream`: where the message goes if the journal does not take the entry."""
    return _JournalTransport(LogStream(stream.fileno()), journal or Journal())


class _JournalTransport:
    """Neither a journal that is slow or gone nor a stream that nobody reads holds the daemon up.

    What the journal does not take is written to the stream, which in a service leads to the journal
    too, and has room of its own.
    """

    def __init__(self, stream: LogStream, journal: Journal) -> None:
        self._stream = stream
        self._journal = journal

    def write(self, data: bytes) -> int:
        """Raises OSError if neither takes the entry; it is never divided."""
        try:
            self._journal.send(data)
        except OSError:
            self._stream.write(_line(data))
        return len(data)

    def close(self) -> None:
        self._journal.close()
        self._stream.close()


def _line(entry: bytes) -> bytes:
    """The message of an entry with its priority; of a long one, only the beginning."""
    message, priority, _ = entry.split(b"\n", 2)  # fields_of() begins with these two
    text = b"<%b>%b" % (priority.partition(b"=")[2], message.partition(b"=")[2])
    return text[: select.PIPE_BUF - 1] + b"\n"


def to_journal(log: Log, _at: float) -> bytes:
    """The entry of an event; the journal notes the time."""
    return encode(fields_of(log))


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
