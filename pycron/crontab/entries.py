"""The entries of a table, kept as its text: a Job is made of an entry when somebody looks at it.

A table of a million entries would be a gigabyte of Jobs, of which a few are due in a minute. So
`Entries` keeps the text and, in columns, what has to be known of an entry without reading it: where
it stands, who it is, and when it is due. The functions that take an entry's text apart are the same
for the reader of tables (crontab.py) and for whoever looks at a Job.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import overload

from pycron.model.job import Environment, Job, Source, digest
from pycron.model.settings import Settings
from pycron.schedule.expressions import (
    Packed,
    Reboot,
    Schedule,
    is_random,
    is_wildcard,
    parse_cron,
    parse_nickname,
    unpack,
)
from pycron.schedule.fields import FIELDS, Pick
from pycron.schedule.fire_times import Times, follows_the_wall

MOST_ENTRIES = 1 << 25  # of one table; the timetable has so many bits for the index of one
LONGEST_FIELD = 512  # characters; every minute of the hour takes 169
BLANKS = " \t"

# What useradd, LDAP and Active Directory give out; a path or an option is no user.
USER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,255}\$?", re.ASCII)

_FIVE_FIELDS = re.compile(
    r"[ \t]*([^ \t@][^ \t]{0,511})" + r"[ \t]+([^ \t]{1,512})" * 4 + r"(?=[ \t]|$)"
)
_WORD = re.compile(r"[ \t]*([^ \t]*)")
_FLAGS = re.compile(r"[ \t]*-([A-Za-z]*)(?=[ \t]|$)")
_COMMAND = re.compile(r"(?:[^\\%]|\\.|\\$)*", re.DOTALL)
_UNESCAPED_PERCENT = re.compile(r"(?<!\\)%")


class LineError(Exception):
    """A line that can't be taken: why, and where in it (a column from 0)."""

    def __init__(self, code: str, message: str, column: int) -> None:
        super().__init__(message)
        self.code = code
        self.column = column


def encoded(text: str) -> bytes:
    """The text as it is kept; where a part of it stands is counted in these bytes."""
    return text.encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


# ---- an entry taken apart


class Words:
    """The words of a line, one after the other; `column` is where the last one began."""

    def __init__(self, line: str, position: int) -> None:
        self.line = line
        self.position = position
        self.column = position

    def next(self) -> str:
        match = _WORD.match(self.line, self.position)
        assert match
        self.column, self.position = match.span(1)
        return match[1]

    def rest(self) -> str:
        return self.line[self.position :].lstrip(BLANKS)


def leading_flag(line: str, start: int, owner: str | None) -> tuple[str, Words]:
    """cronie's `-` for "don't log", and the words behind it."""
    if line[start] == "-" and owner in (None, "root"):
        return "q", Words(line, start + 1)
    return "", Words(line, start)


def schedule_words(words: Words) -> tuple[str, ...]:
    """The words that make the schedule: one, two for @every, or five."""
    match = _FIVE_FIELDS.match(words.line, words.position)
    if match:
        words.position = match.end()
        return match.groups()
    first = words.next()
    if first == "@every":
        return first, words.next()
    if first.startswith("@"):
        return (first,)
    fields = [first]
    for column in FIELDS[1:]:
        fields.append(words.next())
        if not fields[-1]:
            message = f'bad {column}: "" (an entry has five fields and a command)'
            raise LineError(f"bad-{column}", message, words.column)
    for column, text in zip(FIELDS, fields, strict=True):
        if len(text) > LONGEST_FIELD:
            message = f'bad {column}: "{text}" (longer than {LONGEST_FIELD} characters)'
            raise LineError(f"bad-{column}", message, words.column)
    return tuple(fields)


def user_word(words: Words) -> str:
    """The user column of a system table."""
    user = words.next()
    if not USER_NAME.fullmatch(user):
        reason = "a system table has a user before the command"
        raise LineError("bad-username", f'bad username: "{user}" ({reason})', words.column)
    return user


def flag_words(words: Words) -> Iterator[tuple[str, int]]:
    """OpenBSD's -n (mail only on failure), -q (don't log), -s (one at a time); their columns."""
    while match := _FLAGS.match(words.line, words.position):
        column = match.start(1) - 1
        if not match[1] or set(match[1]) - set("nqs"):
            raise LineError("bad-option", f'bad option: "-{match[1]}" (-n, -q, -s)', column)
        words.position = match.end()
        yield match[1], column


def split_command(text: str) -> tuple[str, str | None]:
    """The command, and what follows its first `%`: its standard input, a `%` being a newline.

    `\\%` is a plain percent sign on both sides. In the command backslashes go in pairs, so `\\\\%`
    ends it; in the input they don't (Vixie's do_command.c). A newline is added where it is missing.
    """
    if "%" not in text:
        return text, None
    match = _COMMAND.match(text)
    assert match
    command = re.sub(r"\\(.)", lambda pair: "%" if pair[1] == "%" else pair[0], match[0])
    lines = _UNESCAPED_PERCENT.split(text[match.end() + 1 :])
    stdin = "\n".join(lines).replace("\\%", "%")
    if not stdin:
        return command, None
    return command, stdin if stdin.endswith("\n") else stdin + "\n"


def schedule_of(words: tuple[str, ...], host: str, identity: str) -> Schedule:
    """What the words of a schedule come to. Raises FieldError or ScheduleError."""
    if words[0].startswith("@"):
        return parse_nickname(*words)
    return parse_cron(words, picker(host, identity))


def base_identity(user: str, words: tuple[str, ...], command: str, stdin: str | None) -> str:
    """What tells an entry from all others of its table but its twins."""
    return digest(user, " ".join(words), command, stdin or "")


def twin_identity(base: str, twin: int) -> str:
    """Equal entries go by their order."""
    return f"{base}.{twin}"


def picker(host: str, identity: str) -> Pick:
    """What `~` and `H` stand for: fixed for this entry on this host, without anything stored."""
    turns: Iterator[int] = iter(range(1_000_000))

    def pick(field: str) -> int:
        return int(digest(host, identity, field, str(next(turns))), 16)

    return pick


def _derived_name(command: str, job_id: str) -> str:
    first, *_ = command.split(maxsplit=1) or [""]  # control characters are blank to split()
    word = first.rpartition("/")[2]
    word = re.sub(r"[^A-Za-z0-9._+-]", "", word)[:32].lstrip(".-+_")
    return f"{word or 'job'}-{job_id[:_DERIVED]}"


_DERIVED = 6  # digits of the id in a derived name


# ---- all entries of a table


@dataclass(frozen=True, slots=True)
class Context:
    """What a table says of an entry outside its own words; many entries share one."""

    user: str
    environment: Environment
    settings: Settings


class Entries(Sequence[Job]):
    """The entries of one table. `entries[i]` reads the Job anew each time, and always the same.

    Filled by the reader of the table (`add`, in order), and then left as it is.
    """

    def __init__(self, source: Source, text: str = "", host: str = "") -> None:
        self.source = source
        self._host = host
        self._text = encoded(text)
        self._starts = array("I")
        self._lines = array("I")
        self._ids = array("Q")
        self._context_numbers = array("I")
        self._contexts: list[Context] = []
        self._numbers: dict[tuple[str, int, int], int] = {}
        self._minutes = array("Q")
        self._hours = array("I")
        self._days = array("Q")
        self._unpacked: dict[int, Schedule] = {}
        self._names: dict[int, str] = {}
        self._twins: dict[int, int] = {}

    def add(
        self,
        start: int,
        line: int,
        job_id: int,
        context: int,
        schedule: Packed | Schedule,
        name: str | None,
        twin: int,
    ) -> None:
        """`start`: where the entry begins in the encoded text, behind its settings.

        `context`: from `context_number`. `name`: that of CRON_NAME. `twin`: how many entries above
        are the same.
        """
        if name is not None:
            self._names[len(self)] = name
        if twin:
            self._twins[len(self)] = twin
        if not isinstance(schedule, tuple):
            self._unpacked[len(self)] = schedule
            schedule = 0, 0, 0
        minutes, hours, days = schedule
        self._minutes.append(minutes)
        self._hours.append(hours)
        self._days.append(days)
        self._starts.append(start)
        self._lines.append(line)
        self._context_numbers.append(context)
        self._ids.append(job_id)

    def context_number(self, user: str, environment: Environment, settings: Settings) -> int:
        """The number of the Context of these very objects."""
        key = user, id(environment), id(settings)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._contexts)
            self._contexts.append(Context(user, environment, settings))
        return number

    # ---- as Jobs

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | Sequence[Job]:
        found = range(len(self))[index]
        return self._job(found) if isinstance(found, int) else [self._job(i) for i in found]

    def __iter__(self) -> Iterator[Job]:
        return map(self._job, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entries) and list(self) == list(other)

    def _job(self, index: int) -> Job:
        start = self._starts[index]
        end = self._text.find(b"\n", start)
        line = _decoded(self._text[start:] if end < 0 else self._text[start:end])
        context = self.context(index)
        flags, words = leading_flag(line, 0, self.source.owner)
        fields = schedule_words(words)
        if self.source.owner is None:
            flags += "".join(flag for flag, _ in flag_words(words))
            user_word(words)
        flags += "".join(flag for flag, _ in flag_words(words))
        command, stdin = split_command(words.rest())
        job_id = f"{self._ids[index]:016x}"
        return Job(
            id=job_id,
            name=self._names.get(index) or _derived_name(command, job_id),
            source=self.source,
            line=self._lines[index],
            user=context.user,
            schedule=self._schedule(index, context.user, fields, command, stdin),
            command=command,
            stdin=stdin,
            environment=context.environment,
            settings=context.settings,
            flags=flags,
        )

    def _schedule(
        self, index: int, user: str, fields: tuple[str, ...], command: str, stdin: str | None
    ) -> Schedule:
        identity = ""
        if is_random("".join(fields)):
            base = base_identity(user, fields, command, stdin)
            identity = twin_identity(base, self._twins.get(index, 0))
        return schedule_of(fields, self._host, identity)

    # ---- without reading

    def context(self, index: int) -> Context:
        return self._contexts[self._context_numbers[index]]

    def times(self, index: int) -> Times:
        """When an entry is due: its schedule without the words."""
        return self._unpacked.get(index) or unpack(*self.packed(index))

    def packed(self, index: int) -> Packed:
        """Equal ones stand for equal schedules; (0, 0, 0) for one that doesn't fit."""
        return self._minutes[index], self._hours[index], self._days[index]

    def reboots(self) -> list[int]:
        """The entries of @reboot."""
        return [i for i, schedule in self._unpacked.items() if isinstance(schedule, Reboot)]

    def followers(self, *, wall: bool) -> Iterator[int]:
        """The entries that follow the wall clock, or the others; @reboot is among neither."""
        for index, minutes in enumerate(self._minutes):
            if minutes:
                if is_wildcard(minutes) is wall:
                    yield index
                continue
            schedule = self._unpacked[index]
            if not isinstance(schedule, Reboot) and follows_the_wall(schedule) is wall:
                yield index

    def where(self, holds: Callable[[Context], bool]) -> Iterator[int]:
        """The entries of whose context this holds."""
        wanted = [holds(context) for context in self._contexts]
        if not any(wanted):
            return iter(())
        return (index for index, number in enumerate(self._context_numbers) if wanted[number])

    def users(self) -> dict[str, int]:
        """The users of the entries, and the line of the first one of each."""
        first: dict[str, int] = {}
        for number, line in zip(self._context_numbers, self._lines, strict=True):
            first.setdefault(self._contexts[number].user, line)
        return first

    def id(self, index: int) -> str:
        return f"{self._ids[index]:016x}"

    def find(self, job_ids: Collection[str]) -> dict[str, Job]:
        """The Jobs that have one of these ids, by id."""
        wanted = {int(job_id, 16) for job_id in job_ids}
        found = [i for i, number in enumerate(self._ids) if number in wanted] if wanted else []
        return {job.id: job for job in map(self._job, found)}

    def line_of(self, job_id: int) -> int | None:
        """The line of the entry of this id, as a number."""
        return self._lines[self._ids.index(job_id)] if job_id in self._ids else None

    def called(self, name: str) -> list[Job]:
        """The Jobs of this name or id."""
        end = name[-_DERIVED:]
        prefix = int(end, 16) if re.fullmatch("[0-9a-f]{6}", end) else None
        whole = int(name, 16) if re.fullmatch("[0-9a-f]{16}", name) else None
        found = {i for i, given in self._names.items() if given == name}
        found |= {
            i for i, number in enumerate(self._ids) if number >> 40 == prefix or number == whole
        }
        return [job for job in map(self._job, sorted(found)) if name in (job.name, job.id)]


def nothing() -> Entries:
    return Entries(Source("", None))


class Jobs(Sequence[Job]):
    """The Jobs of several tables, one table after the other; each is read when it is looked at."""

    def __init__(self, tables: Sequence[Entries]) -> None:
        self._tables = tables
        self._ends = list(accumulate(map(len, tables)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | Sequence[Job]:
        found = range(len(self))[index]
        if not isinstance(found, int):
            return [self[i] for i in found]
        number = bisect_right(self._ends, found)
        entries = self._tables[number]
        return entries[found - self._ends[number] + len(entries)]

    def __iter__(self) -> Iterator[Job]:
        return chain.from_iterable(self._tables)

    def where(self, holds: Callable[[Context], bool]) -> Iterator[tuple[Entries, int]]:
        """The entries of whose context this holds; none of them is read."""
        return ((entries, index) for entries in self._tables for index in entries.where(holds))

    def find(self, job_ids: Collection[str]) -> dict[str, Job]:
        """The Jobs that have one of these ids, by id."""
        return {
            job_id: job for entries in self._tables for job_id, job in entries.find(job_ids).items()
        }

    def called(self, name: str) -> list[Job]:
        """The Jobs of this name or id."""
        return [job for entries in self._tables for job in entries.called(name)]
