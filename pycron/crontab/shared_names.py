"""Shared Jobs of several tables that have one name, and so are one Job for the cluster."""

from collections.abc import Iterable, Iterator

from pycron.crontab.entries import Entries
from pycron.crontab.entry_kind import EntryKind
from pycron.model.problem import Problem, Severity

CODE = "shared-name-twice"


def same_shared_jobs(tables: Iterable[Entries]) -> Iterator[Problem]:
    """A problem for each entry whose shared Job another table has, too."""
    first: dict[str, tuple[str, int]] = {}
    for entries in tables:
        for index in entries.of_kind(EntryKind.SHARED):
            table, line = first.setdefault(
                entries.id(index), (entries.source.name, entries.lines[index])
            )
            if table != entries.source.name:
                user = entries.context(index).user
                message = (
                    f"{table}:{line} has a shared job of {user} with this CRON_NAME, too: "
                    "for the cluster both are one job"
                )
                yield Problem(
                    entries.source.name, entries.lines[index], 1, Severity.ERROR, CODE, message
                )
