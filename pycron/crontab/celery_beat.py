"""A schedule of Celery Beat as a table: each of its entries becomes one with CRON_SEND.

Beat                        entry                     difference
crontab()                   five fields, CRON_TZ      none
a number, a timedelta       @every                    counted from 1970, not from Beat's start
solar, clocked, others      none                      left out, with the reason
args, kwargs                a list, an object         none; other values than JSON are refused
options: queue              a sender of its own       none
other options               none                      a Finding names them
not enabled                 a comment                 none
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pycron.crontab.celery_fields import CannotConvert, CeleryFields, five_fields
from pycron.crontab.comparison import Finding, Verdict
from pycron.crontab.messages import read_message
from pycron.crontab.reader import ReaderContext, parse
from pycron.model.job import Source
from pycron.model.text import printable

SENDER = "celery"  # of the tasks that name no queue
_LONGEST_NAME = 64
_UNITS = ((604_800, "w"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_HEAD = """\
# The schedule of {origin}, for pycron in place of Celery Beat.
# pycron.toml(5) has to have: {sections}.
# For several hosts of a cluster, which send each message once: CRON_ON=any, on a line of its own.
CRON_SEND={sender}
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """So many seconds between two messages."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """A schedule that no entry can have, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class BeatEntry:
    """An entry of Beat. `zone`: None if it is not known. `queue`: None for the default one.

    `left_out`: options that an entry of a table does not have. `arguments` and `named` are values
    of JSON.
    """

    name: str
    task: str
    schedule: CeleryFields | Interval | Unknown
    arguments: list[Any] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)
    zone: str | None = None
    queue: str | None = None
    left_out: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Converted:
    """A table, and what became of each entry; the lines of the Findings are those of the table."""

    text: str
    findings: tuple[Finding, ...]


def convert(entries: Sequence[BeatEntry], origin: str, context: ReaderContext) -> Converted:
    """The table for a schedule. `origin`: where it comes from. `context`: knows the zones."""
    return _Converter(origin, context).converted(entries)


class _Converter:
    """Writes the table line by line."""

    def __init__(self, origin: str, context: ReaderContext) -> None:
        self._origin = printable(origin)
        self._context = context
        self._names: set[str] = set()

    def converted(self, entries: Sequence[BeatEntry]) -> Converted:
        senders = [SENDER, *sorted({each.queue for each in entries if each.queue})]
        sections = " and ".join(f"[senders.{_name(each)}]" for each in senders)
        head = _HEAD.format(origin=self._origin, sections=sections, sender=SENDER)
        lines = head.splitlines()
        findings: list[Finding] = []
        for entry in entries:
            line, found = self._line(entry)
            lines.append(line)
            number = 0 if line.startswith("#") else len(lines)
            findings += (
                Finding(self._origin, number, verdict, code, f"{printable(entry.name)}: {message}")
                for verdict, code, message in found
            )
        return Converted("\n".join(lines) + "\n", tuple(findings))

    def _line(self, entry: BeatEntry) -> tuple[str, list[tuple[Verdict, str, str]]]:
        """The line of an entry, and what is to be said about it."""
        name = printable(entry.name)
        try:
            text = self._entry(entry)
        except CannotConvert as error:
            reason = printable(str(error))
            return f"# left out: {name}: {reason}", [(Verdict.REFUSED, "beat-entry", reason)]
        if not entry.enabled:
            return f"# not enabled: {text}", [(Verdict.IGNORED, "beat-disabled", "not enabled")]
        found = list(_differences(entry))
        return text, found or [(Verdict.SAME, "same", "means the same")]

    def _entry(self, entry: BeatEntry) -> str:
        """Raises CannotConvert, also if the reader of tables does not take the entry."""
        settings = {"CRON_NAME": self._unique(_name(entry.name))}
        if entry.queue:
            settings["CRON_SEND"] = _name(entry.queue)
        if entry.zone and isinstance(entry.schedule, CeleryFields):
            settings["CRON_TZ"] = _zone(entry.zone)
        before = " ".join(f"{key}={value}" for key, value in settings.items())
        text = f"{before} {_schedule(entry)}  {_message(entry)}"
        table = parse(f"CRON_SEND={SENDER}\n{text}\n", Source("beat", "beat"), self._context)
        if table.errors:
            raise CannotConvert(table.errors[0].message)
        self._names.add(settings["CRON_NAME"])
        return text

    def _unique(self, name: str) -> str:
        names = [name, *(f"{name[: _LONGEST_NAME - 4]}-{number}" for number in range(2, 1000))]
        return next((each for each in names if each not in self._names), name)


def _name(text: str) -> str:
    """A name that CRON_NAME and CRON_SEND take."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-_.+")[:_LONGEST_NAME] or "task"


def _zone(name: str) -> str:
    """A zone, whose name must not go on as an entry."""
    if not re.fullmatch(r"[A-Za-z0-9_+/.-]{1,64}", name, re.ASCII):
        raise CannotConvert(f'no such time zone: "{name[:80]}"')
    return name


def _schedule(entry: BeatEntry) -> str:
    match entry.schedule:
        case CeleryFields() as fields:
            return five_fields(fields)
        case Interval(seconds):
            return f"@every {_duration(seconds)}"
        case Unknown(reason):
            raise CannotConvert(reason)


def _duration(seconds: float) -> str:
    if seconds < 1 or seconds != int(seconds):
        raise CannotConvert(f"an interval of {seconds:g} s: pycron has whole seconds")
    size, letter = next(unit for unit in _UNITS if seconds % unit[0] == 0)
    return f"{int(seconds) // size}{letter}"


def _message(entry: BeatEntry) -> str:
    parts = [entry.task]
    try:
        values = (entry.arguments, entry.named)
        parts += (json.dumps(each, allow_nan=False) for each in values if each)
        text = " ".join(parts)
        read_message(text, None)
    except ValueError as error:
        raise CannotConvert(str(error)) from None
    return text.replace("%", "\\%")


def _differences(entry: BeatEntry) -> Iterator[tuple[Verdict, str, str]]:
    """What is not the same as with Beat."""
    if isinstance(entry.schedule, Interval):
        message = "due at fixed instants, counted from 1970; Beat counts from its last message"
        yield Verdict.CHANGED, "beat-interval", message
    elif entry.zone is None:
        message = "its zone is not known: it is due by the clock of the machine"
        yield Verdict.CHANGED, "beat-zone", message
    if entry.queue:
        message = f'goes to the queue "{printable(entry.queue)}": [senders.{_name(entry.queue)}]'
        yield Verdict.SAME, "beat-queue", message
    if entry.left_out:
        names = ", ".join(map(printable, entry.left_out))
        yield Verdict.CHANGED, "beat-options", f"without what Beat adds: {names}"


# The options of apply_async() that change nothing for a message of a sender.
HARMLESS = frozenset({"queue", "relative", "periodic_task_name", "retry", "retry_policy"})


def left_out(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of a Beat entry that an entry of a table does not have."""
    return tuple(sorted(name for name, value in options.items() if name not in HARMLESS and value))
