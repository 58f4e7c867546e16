"""Entries of the log as bytes: events in their format; output as events, or as it is."""

from collections.abc import Callable, Iterator

from pycron.daemon.log_queue import Encode
from pycron.engine.actions import Log, LogEntry, Printed
from pycron.engine.log_events import Event


def encoder(encode: Callable[[Log, float], bytes], *, raw: bool) -> Encode:
    """What a queue encodes its entries with. `encode`: an event and its time (UTC) as bytes.

    `raw`: output is written as it is. The lines of an entry end with a newline in any case, so that
    no line is continued by another command.
    """

    def encoded(entry: LogEntry, at: float) -> Iterator[bytes]:
        if isinstance(entry, Log):
            yield encode(entry, at)
        elif raw:
            yield entry.lines + b"\n"
        else:
            for event in _events(entry):
                yield encode(event, at)

    return encoded


def _events(printed: Printed) -> Iterator[Log]:
    """An event for each line."""
    for line in printed.lines.split(b"\n"):
        fields: dict[str, object] = {
            "job": printed.job,
            "run_id": printed.run_id,
            "stream": printed.stream,
            "line": line.decode("utf-8", "backslashreplace"),
        }
        if printed.partial:
            fields["partial"] = True
        yield Log(Event.OUTPUT, fields)
