"""Compares two versions of a table: how many entries were added, changed and removed."""

from collections import Counter
from dataclasses import dataclass

from pycron.crontab.entries import Entries


@dataclass(frozen=True, slots=True)
class TableChanges:
    """How many entries were added, changed and removed."""

    added: int
    changed: int
    removed: int


def compare(old: Entries, new: Entries) -> TableChanges:
    """The changes from one version of a table to the next.

    An entry is the same one if its Job has the same id. It has changed if its text, its variables
    or its settings have. A Job gets another id if the schedule of its entry changes: an entry that
    is gone and a new one with the same command count as one entry that has changed.
    """
    before, after = _by_id(old), _by_id(new)
    changed = sum(
        not _is_same(old, before[identifier], new, after[identifier])
        for identifier in before.keys() & after.keys()
    )
    gone = Counter(_command(old.text(before[each])) for each in before.keys() - after.keys())
    come = Counter(_command(new.text(after[each])) for each in after.keys() - before.keys())
    moved = (gone & come).total()
    return TableChanges(come.total() - moved, changed + moved, gone.total() - moved)


def _by_id(entries: Entries) -> dict[str, int]:
    return {entries.id(index): index for index in range(len(entries))}


def _is_same(old: Entries, before: int, new: Entries, after: int) -> bool:
    return (
        old.text(before).split() == new.text(after).split()
        and old.context(before) == new.context(after)
    )  # fmt: skip


def _command(text: str) -> str:
    """The words after the schedule; in a system table, the user is the first of them."""
    first = text.split(maxsplit=1)[0]
    schedule = 2 if first == "@every" else 1 if first.startswith("@") else 5
    return text.split(maxsplit=schedule)[-1].strip()
