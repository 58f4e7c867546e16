"""Entries: the entries of a table, kept as text; a Job is made of an entry when it is needed.

A million Jobs take more than a gigabyte, and few of them are due in a minute. So `Entries` keeps
the text of the table and, in columns, the facts that are needed without reading an entry: where its
text begins, its id, and its schedule. `read_entry` reads an entry again when its Job is needed.
"""

import re
from array import array
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import overload

from pycron.crontab.day_rules import NO_CALENDARS, SETTINGS_OF_TIMES, day_rules
from pycron.crontab.derived_names import Words, with_digits, with_digits_of
from pycron.crontab.entry_kind import EntryKind
from pycron.crontab.identity import entry_key, job_id, shared_key, twin_key
from pycron.crontab.line import EntryLine, read_entry, schedule_of
from pycron.crontab.special_schedules import SpecialSchedules
from pycron.crontab.telling_word import telling_word
from pycron.model.job import Environment, Job, Source
from pycron.model.settings import Settings, replaced
from pycron.schedule.day_rules import Calendar, DayRules
from pycron.schedule.expressions import After, Schedule, is_random, limited, same_times
from pycron.schedule.fire_times import Times, follows_the_wall, has_fire_times
from pycron.schedule.packed import Packed, is_wildcard, unpack

MOST_ENTRIES = 1 << 25  # of one table: the timetable has 25 bits for the index of an entry
_MOST_SHARING = 101  # entries of one word that are looked at: why(1) answers for 100


def encoded(text: str) -> bytes:
    """The text of a table as it is kept; positions in a table are counted in these bytes."""
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class EntryContext:
    """The user, variables and settings of an entry; many entries share one EntryContext.

    `rules`: what its settings say about the days.
    """

    user: str
    environment: Environment
    settings: Settings
    rules: DayRules | None = None


class Entries(Sequence[Job]):
    """The entries of one table, as a sequence of Jobs: `entries[i]` makes an equal Job each time.

    The reader of the table adds the entries in order; they never change afterwards. `host`: what
    `~` and `H` depend on, besides the entry; `cluster`: the same for shared Jobs.
    """

    def __init__(
        self,
        source: Source,
        text: str = "",
        host: str = "",
        calendars: Mapping[str, Calendar] = NO_CALENDARS,
        cluster: str = "",
    ) -> None:
        self.source = source
        self.host, self.cluster = host, cluster
        self._calendars = calendars
        self._text = encoded(text)
        self._starts, self._lines = array("I"), array("I")
        self._ids = array("Q")
        self._context_numbers = array("I")
        self._contexts: list[EntryContext] = []
        self._numbers: dict[tuple[str, int, int], int] = {}
        self._shared: set[int] = set()  # contexts of shared Jobs
        self._minutes = array("Q")
        self._hours = array("I")
        self._days = array("Q")
        self._special = SpecialSchedules()
        self._names: dict[int, str] = {}
        self._twins: dict[int, int] = {}
        self.words = Words()
        self._leaders: dict[int, tuple[int, ...]] = {}

    def add(
        self,
        start: int,
        line: int,
        number: int,
        context: int,
        schedule: Packed | Schedule,
        name: str | None,
        twin: int,
    ) -> None:
        """Add an entry to the columns; its word is added to `words`.

        `start`: where it begins in the encoded text, behind the settings in front of it. `line`:
        from 1. `number`: its id, from `job_number`. `context`: from `context_number`. `name`: that
        of CRON_NAME. `twin`: how many equal entries are above it.
        """
        if name is not None:
            self._names[len(self)] = name
        if twin:
            self._twins[len(self)] = twin
        self._special.append(None if isinstance(schedule, tuple) else schedule)
        minutes, hours, days = schedule if isinstance(schedule, tuple) else (0, 0, 0)
        self._minutes.append(minutes)
        self._hours.append(hours)
        self._days.append(days)
        self._starts.append(start)
        self._lines.append(line)
        self._context_numbers.append(context)
        self._ids.append(number)

    def context_number(self, user: str, environment: Environment, settings: Settings) -> int:
        """The number of the EntryContext with these objects; it is made if there is none."""
        key = user, id(environment), id(settings)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._contexts)
            rules = day_rules(settings, self._calendars)
            self._contexts.append(EntryContext(user, environment, settings, rules))
            if settings.runs_on.shared:
                self._shared.add(number)
        return number

    @property
    def table_text(self) -> str:
        """The text of the table."""
        return self._text.decode("utf-8", "surrogatepass")

    @property
    def encoded_text(self) -> bytes:
        return self._text

    @property
    def lines(self) -> Sequence[int]:
        """The line of each entry, from 1."""
        return self._lines

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
        entry = read_entry(self.text(index), 0, self.source.owner)
        context = self.context(index)
        return Job(
            id=self.id(index),
            name=self.name(index, entry.command),
            source=self.source,
            line=self._lines[index],
            user=entry.user,
            schedule=self._schedule(index, entry),
            command=entry.command,
            stdin=entry.stdin,
            environment=context.environment,
            settings=context.settings,
            flags=entry.letters,
        )

    def name(self, index: int, command: str) -> str:
        """The name of the Job of an entry with this command."""
        if index in self._names:
            return self._names[index]
        word = telling_word(command)
        return with_digits(word, self.id(index)) if self.words.is_shared(index) else word

    def text(self, index: int) -> str:
        """The text of an entry, without settings in front of it."""
        start = self._starts[index]
        end = self._text.find(b"\n", start)
        return self._text[start : end if end >= 0 else None].decode("utf-8", "surrogatepass")

    def _schedule(self, index: int, entry: EntryLine) -> Schedule:
        if index in self._leaders:
            return self._after(index, entry)
        if special := self._special.of(index):  # thousands of waiting Runs share it with the table
            return limited(special, self.context(index).rules)
        host, key = self.host, ""
        if is_random("".join(entry.words)):
            key = entry_key(entry.user, entry.words, entry.command, entry.stdin)
            key = twin_key(key, self._twins.get(index, 0))
            if self.is_shared(index):
                host, key = self.cluster, shared_key(entry.user, self._names[index])
        return limited(schedule_of(entry.words, host, key), self.context(index).rules)

    def _after(self, index: int, entry: EntryLine) -> Schedule:
        """The schedule of an `@after` entry, with that of the Jobs that it names."""
        root = index
        while root in self._leaders:
            root = self._leaders[root][0]
        when = self._schedule(root, read_entry(self.text(root), 0, self.source.owner))
        after = schedule_of(entry.words, self.host, "")
        assert isinstance(after, After)
        assert not isinstance(when, After)
        ids = tuple(self.id(leader) for leader in self._leaders[index])
        return replace(after, job_ids=ids, when=when)

    # ---- without reading the text

    def context(self, index: int) -> EntryContext:
        return self._contexts[self._context_numbers[index]]

    def times(self, index: int) -> Times:
        """When an entry is due: its schedule without the text."""
        times = self._special.of(index) or unpack(*self.packed(index))
        return limited(times, self.context(index).rules)

    def key_of_times(self, index: int) -> Hashable:
        """Entries of this table with one key have the same schedule and the same context."""
        return self._special.of(index) or self.packed(index), self._context_numbers[index]

    def same_times(self, index: int, other: int) -> bool:
        """Whether two entries have the same fire times, by their schedules, zones and days."""
        zones = [self.context(each).settings.zone for each in (index, other)]
        unpacked = [self._special.of(each) for each in (index, other)]
        same_fields = self.packed(index) == self.packed(other) and same_times(*unpacked)
        rules = [self.context(each).rules for each in (index, other)]
        return same_fields and zones[0] == zones[1] and rules[0] == rules[1]

    # ---- @after

    def follow(self, index: int, leaders: tuple[int, ...]) -> None:
        """Let an entry with `@after` follow others, which have the same times.

        From then on it has their schedule, zone and days.
        """
        first = leaders[0]
        self._leaders[index] = leaders
        self._minutes[index], self._hours[index], self._days[index] = self.packed(first)
        self._special.copy(index, first)
        own, settings = self.context(index), self.context(first).settings
        times = {name: getattr(settings, name) for name in SETTINGS_OF_TIMES}
        number = self.context_number(own.user, own.environment, replaced(own.settings, times))
        self._context_numbers[index] = number

    def leaders(self, index: int) -> tuple[int, ...]:
        """The entries that an `@after` entry names; none for any other entry."""
        return self._leaders.get(index, ())

    def followers_in_order(self) -> list[int]:
        """The `@after` entries, each behind those that it names."""
        return list(self._leaders)

    def following(self, job_id: str) -> list[int]:
        """The `@after` entries that follow the Job with this id, also through others, in order."""
        number = int(job_id, 16)
        if not self._leaders or number not in self._ids:
            return []
        found = {self._ids.index(number)}
        for index, leaders in self._leaders.items():
            if not found.isdisjoint(leaders):
                found.add(index)
        return [index for index in self._leaders if index in found]

    def named(self) -> dict[str, int]:
        """The entries with CRON_NAME, by name."""
        return {name: index for index, name in self._names.items()}

    def without(self, indexes: Collection[int]) -> "Entries":
        """The same entries without some; no other entry follows one of these."""
        kept = Entries(self.source, self.table_text, self.host, self._calendars, self.cluster)
        moved: dict[int, int] = {}
        for index in range(len(self)):
            if index not in indexes:
                moved[index] = len(kept)
                context = self.context(index)
                number = kept.context_number(context.user, context.environment, context.settings)
                schedule = self._special.of(index) or self.packed(index)
                kept.add(self._starts[index], self._lines[index], self._ids[index], number,
                         schedule, self._names.get(index), self._twins.get(index, 0))  # fmt: skip
        kept.words = self.words.without(indexes)
        kept._leaders = {
            moved[index]: tuple(map(moved.__getitem__, leaders))
            for index, leaders in self._leaders.items()
        }
        return kept

    def packed(self, index: int) -> Packed:
        """The packed schedule of an entry; (0, 0, 0) if the schedule cannot be packed.

        Equal other values mean equal schedules, apart from the day rules.
        """
        return self._minutes[index], self._hours[index], self._days[index]

    def reboots(self) -> list[int]:
        """The entries with @reboot."""
        return self._special.reboots()

    def of_kind(self, kind: EntryKind) -> Iterator[int]:
        """The entries of a kind; those without fire times (@reboot) are of none."""
        if kind is EntryKind.SHARED and not self._shared:
            return iter(())
        return (index for index in range(len(self)) if self.kind_of(index) is kind)

    def kind_of(self, index: int) -> EntryKind | None:
        """The kind of an entry; None if it has no fire times."""
        if self._shared and self.is_shared(index):
            return EntryKind.SHARED
        if minutes := self._minutes[index]:
            return EntryKind.WALL if is_wildcard(minutes) else EntryKind.FIXED
        schedule = self._special.of(index)
        assert schedule is not None
        if not has_fire_times(schedule):
            return None
        return EntryKind.WALL if follows_the_wall(schedule) else EntryKind.FIXED

    @property
    def has_shared(self) -> bool:
        return bool(self._shared)

    def is_shared(self, index: int) -> bool:
        """Whether the Job of an entry runs once among several hosts."""
        return self._context_numbers[index] in self._shared

    def by_priority(self) -> Sequence[int]:
        """All entries; of those with one priority, the first line first."""
        every = range(len(self))
        priorities = [context.settings.priority for context in self._contexts]
        if len(set(priorities)) <= 1:
            return every
        numbers = self._context_numbers
        return array("L", sorted(every, key=lambda index: -priorities[numbers[index]]))

    def where(self, holds: Callable[[EntryContext], bool], first: int = 0) -> Iterator[int]:
        """The entries from `first` on with an EntryContext for which `holds` is true."""
        wanted = [holds(context) for context in self._contexts]
        if not any(wanted):
            return iter(())
        return (i for i in range(first, len(self)) if wanted[self._context_numbers[i]])

    def users(self) -> dict[str, int]:
        """The users of the entries, each with the line of its first entry."""
        lines = dict(zip(reversed(self._context_numbers), reversed(self._lines), strict=True))
        first: dict[str, int] = {}
        for number, line in sorted(lines.items(), key=itemgetter(1)):
            first.setdefault(self._contexts[number].user, line)
        return first

    def users_of_pools(self) -> set[tuple[str | None, str]]:
        """The pools of the entries (None: without a pool), each with the users of its entries."""
        return {(context.settings.pool, context.user) for context in self._contexts}

    def id(self, index: int) -> str:
        """The id of an entry's Job."""
        return job_id(self._ids[index])

    def find(self, job_ids: Collection[str]) -> dict[str, Job]:
        """The Jobs that have one of these ids, by id."""
        wanted = {int(job_id, 16) for job_id in job_ids}
        found = [i for i, number in enumerate(self._ids) if number in wanted] if wanted else []
        return {job.id: job for job in map(self._job, found)}

    def index_of(self, job_id: str) -> int | None:
        """The entry whose Job has this id; None if there is none."""
        number = int(job_id, 16)
        return self._ids.index(number) if number in self._ids else None

    def called(self, name: str) -> list[Job]:
        """The Jobs with this name or id; if there are none, the first of those with this word."""
        found = {i for i, given in self._names.items() if given == name}
        found |= self._with_id(name) | with_digits_of(name, self._ids)
        found |= set(islice(self.words.with_word(name), _MOST_SHARING))
        jobs = [self._job(i) for i in sorted(found) if name in self._all_names(i)]
        return [job for job in jobs if name in (job.name, job.id)] or jobs

    def _all_names(self, index: int) -> tuple[str, ...]:
        """What a Job may be called by. Without CRON_NAME that is also its word, and with digits."""
        identifier = self.id(index)
        if index in self._names:
            return identifier, self._names[index]
        entry = read_entry(self.text(index), 0, self.source.owner)
        word = telling_word(entry.command)
        return identifier, word, with_digits(word, identifier)

    def _with_id(self, text: str) -> set[int]:
        wanted = int(text, 16) if re.fullmatch("[0-9a-f]{16}", text) else None
        return {i for i, number in enumerate(self._ids) if number == wanted}


def nothing() -> Entries:
    """No entries."""
    return Entries(Source("", None))
