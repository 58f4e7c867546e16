"""`@after`: the entries that follow others of their table are given the Jobs that they name."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pycron.crontab.day_rules import SETTINGS_OF_TIMES
from pycron.crontab.entries import Entries
from pycron.crontab.line import LineError
from pycron.model.hosts import RunsOn
from pycron.model.settings import Setting
from pycron.model.steps import Steps

_STEP = 500  # entries that are looked at at a time


@dataclass(frozen=True, slots=True)
class AfterEntry:
    """An entry with `@after`. `index`: in its table. `column`: of its schedule, from 0."""

    index: int
    line: int
    column: int
    names: tuple[str, ...]


Errors = dict[int, tuple[AfterEntry, str]]
"""By index: the entries that cannot follow, and why."""


def resolve(entries: Entries, after: Sequence[AfterEntry]) -> Steps[Errors]:
    """Let these entries follow the Jobs that they name. Takes time that is linear in the names.

    An entry that an error belongs to follows nothing.
    """
    named = entries.named()
    waiting = {each.index: each for each in after}
    errors: Errors = {}
    for number, each in enumerate(_in_order(waiting, named)):
        del waiting[each.index]
        reason = _why_not(entries, each, named, errors)
        if reason is None:
            entries.follow(each.index, tuple(named[name] for name in each.names))
        else:
            errors[each.index] = each, reason
        if number % _STEP == 0:
            yield
    for each in waiting.values():
        awaited = next(name for name in each.names if named.get(name) in waiting)
        reason = f'"{awaited}" is in a circle of jobs that wait for each other, or behind one'
        errors[each.index] = each, reason
    return errors


def _in_order(waiting: dict[int, AfterEntry], named: dict[str, int]) -> Iterator[AfterEntry]:
    """The entries, each behind those that it names; what is in a circle, or behind one, is not."""
    missing: dict[int, int] = {}
    behind: dict[int, list[AfterEntry]] = defaultdict(list)
    for each in waiting.values():
        found = [named[name] for name in each.names if named.get(name) in waiting]
        missing[each.index] = len(found)
        for index in found:
            behind[index].append(each)
    ready = deque(each for each in waiting.values() if not missing[each.index])
    while ready:
        first = ready.popleft()
        for each in behind[first.index]:
            missing[each.index] -= 1
            if not missing[each.index]:
                ready.append(each)
        yield first


def _why_not(
    entries: Entries, each: AfterEntry, named: dict[str, int], errors: Errors
) -> str | None:
    """Why an entry cannot follow the Jobs that it names; None if it can."""
    for name in each.names:
        if name not in named:
            return f'no entry of this table has the CRON_NAME "{name}"'
        if named[name] in errors:
            return f'the entry of "{name}" has an error'
        if _runs_on(entries, named[name]) != _runs_on(entries, each.index):
            return f'"{name}" has another CRON_ON'
    first, *others = each.names
    for name in others:
        if not entries.same_times(named[first], named[name]):
            return f'"{first}" and "{name}" are not due at the same times'
    return None


def _runs_on(entries: Entries, index: int) -> RunsOn:
    return entries.context(index).settings.runs_on


def error_of(each: AfterEntry, reason: str) -> LineError:
    """The error of an entry that cannot follow."""
    text = f'bad time specifier: "@after {",".join(each.names)}" ({reason})'
    return LineError("bad-time-specifier", text, each.column)


def refuse_times(own: Iterable[tuple[Setting, int]]) -> None:
    """Raise LineError for a setting in front of @after that would say when the entry is due.

    `own`: the settings in front of the entry, with their columns.
    """
    for setting, column in own:
        if setting.attribute in SETTINGS_OF_TIMES:
            reason = "the entry is due when the named jobs are"
            raise LineError("bad-setting", f"{setting.name} in front of @after: {reason}", column)
