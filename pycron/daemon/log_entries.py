"""What commands print, as bytes for the log: as events, or as it is."""

from collections.abc import Callable, Iterator

from pycron.engine.actions import Log, Printed
from pycron.engine.log_events import Event

EncodeEvent = Callable[[Log, float], bytes]
EncodeOutput = Callable[[Printed, float], Iterator[bytes]]


def output_as_it_is(printed: Printed, _at: float) -> Iterator[bytes]:
    """With a newline at the end in any case, so that no line is continued by another command."""
    yield printed.lines + b"\n"


def output_as_events(encode: EncodeEvent) -> EncodeOutput:
    """An event for each line. `encode`: an event and its time (UTC) as bytes."""

    def encoded(printed: Printed, at: float) -> Iterator[bytes]:
        facts = facts_of(printed)
        for line in lines_of(printed):
            yield encode(Log(Event.OUTPUT, {**facts, "line": line}), at)

    return encoded


def facts_of(printed: Printed) -> dict[str, object]:
    """The keys that the events of all its lines have in common."""
    facts: dict[str, object] = {
        "job": printed.job,
        "run_id": printed.run_id,
        "stream": printed.stream,
    }
    return {**facts, "partial": True} if printed.partial else facts


def lines_of(printed: Printed) -> Iterator[str]:
    """Bytes that are no UTF-8 are escaped."""
    for line in printed.lines.split(b"\n"):
        yield line.decode("utf-8", "backslashreplace")
