"""The Jobs of all tables."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate, chain
from typing import overload

from pycron.crontab.entries import Entries, EntryContext
from pycron.model.job import Job


class Jobs(Sequence[Job]):
    """The Jobs of several tables, one table after the other; each is made when it is needed."""

    def __init__(self, tables: Sequence[Entries]) -> None:
        self.tables = tables
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
        entries = self.tables[number]
        return entries[found - self._ends[number] + len(entries)]

    def __iter__(self) -> Iterator[Job]:
        return chain.from_iterable(self.tables)

    def where(self, holds: Callable[[EntryContext], bool]) -> Iterator[tuple[Entries, int]]:
        """The entries with an EntryContext for which `holds` is true; none of them is read."""
        return ((entries, index) for entries in self.tables for index in entries.where(holds))

    def named(self) -> Iterator[tuple[Entries, int, str]]:
        """The entries with CRON_NAME, and that name; none of them is read."""
        for entries in self.tables:
            for name, index in entries.named().items():
                yield entries, index, name

    def find(self, job_ids: Collection[str]) -> dict[str, Job]:
        """The Jobs that have one of these ids, by id."""
        return {
            job_id: job for entries in self.tables for job_id, job in entries.find(job_ids).items()
        }

    def following(self, job_id: str) -> list[Job]:
        """The `@after` Jobs that follow a Job, also through others; each behind those it names."""
        return [entries[index] for entries in self.tables for index in entries.following(job_id)]

    def called(self, name: str) -> list[Job]:
        """The Jobs with this name or id; else the first of those that share this word."""
        return [job for entries in self.tables for job in entries.called(name)]
