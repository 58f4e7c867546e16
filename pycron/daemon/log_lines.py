"""The log as lines, written by structlog: `console`, `json` or `logfmt`."""

import json
from collections.abc import Callable
from typing import Any, TextIO

from pycron.daemon.deferred_import import deferred_import
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.text import printable

# structlog imports both for loggers that pycron does not use (deferred_import.py has the figures).
with deferred_import("asyncio"), deferred_import("uuid"):
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

_to_json = json.JSONEncoder(default=repr).encode  # made once, not for each line


class _Sink:
    """A stream whose errors are ignored: the daemon goes on when its log cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):  # ValueError: the stream was closed
            pass

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            pass


def line_writer(form: str, stream: TextIO) -> Callable[[Log], None]:
    """A function that writes one Log action as a line of this format."""
    processors: list[Any] = [structlog.processors.add_log_level]
    if form == "console":
        processors += [
            structlog.processors.TimeStamper("%H:%M:%S", utc=False),
            _escape,
            _for_people,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=16, sort_keys=False),
        ]
    else:
        processors += [structlog.processors.TimeStamper("iso"), _escape, _first_keys]
        processors += [
            structlog.processors.JSONRenderer(lambda event, **_: _to_json(event))
            if form == "json"
            else structlog.processors.LogfmtRenderer()
        ]
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(_Sink(stream)),  # type: ignore[arg-type]
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    ).bind()

    def write(log: Log) -> None:
        if not log.quiet:
            level = logger.warning if log.bad else logger.info
            level(log.event.value, **log.fields)

    return write


def _escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value)
    return event


def _first_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: event.pop(key) for key in ("timestamp", "level", "event")} | dict(event)


def _for_people(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """On the console: output is `name | line`, and fields without a value are left out."""
    if event["event"] == Event.OUTPUT.value:
        text = f"{event['job']} | {event['line']}"
        return {"timestamp": event["timestamp"], "level": event["level"], "event": text}
    return {key: value for key, value in event.items() if value is not None}
