"""Checks that compare the entries of a table with each other."""

from collections import Counter
from collections.abc import Iterator

from pycron.crontab.identity import entry_key
from pycron.lint.code import note, warning
from pycron.lint.found import Entry, Found
from pycron.schedule.expressions import WallTimes

DUPLICATE = warning(
    "duplicate",
    "An entry above has the same schedule, user and command: the command starts twice at once.",
    "0 5 * * * /usr/local/bin/backup\n0 5 * * * /usr/local/bin/backup",
    "0 5 * * * /usr/local/bin/backup",
)
STAMPEDE = note(
    "stampede",
    "Many entries are due in one minute each day, so the machine does everything at once. `H` in a"
    " field chooses a value for each entry, and CRON_JITTER delays each start by a fixed amount.",
    "\n".join(f"0 0 * * * /usr/local/bin/job-{number}" for number in range(1, 11)),
    "\n".join(f"H 0 * * * /usr/local/bin/job-{number}" for number in range(1, 11)),
)
_MANY = 10  # entries that are due in one minute
_ALL = 0xFFFFFFFE, 0x7F, 0x1FFE  # days of the month, days of the week, months


class TableChecks:
    """Gathers the entries of one table from top to bottom."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._daily: Counter[tuple[int, int]] = Counter()
        self._first: dict[tuple[int, int], Entry] = {}

    def duplicates(self, entry: Entry) -> Iterator[Found]:
        read = entry.read
        key = entry_key(read.user, read.words, read.command, read.stdin)
        line = self._lines.setdefault(key, entry.number)
        if line != entry.number and entry.settings.zone is None:
            message = f"the same entry as in line {line}: the command starts twice at once"
            yield Found(DUPLICATE, entry.start, len(entry.text), message, "delete one of them")

    def gather(self, entry: Entry) -> None:
        """Count an entry that is due every day without a delay."""
        times = entry.times
        if not isinstance(times, WallTimes) or entry.settings.jitter:
            return
        days = times.days
        if (days.of_month, days.of_week, times.months) == _ALL:
            key = times.minutes, times.hours
            self._daily[key] += 1
            self._first.setdefault(key, entry)

    def stampede(self) -> Iterator[tuple[Entry, Found]]:
        """The minute of the day in which most entries are due, if they are many."""
        due = [0] * 1440
        for (minutes, hours), count in self._daily.items():
            for minute in _minutes_of_day(minutes, hours):
                due[minute] += count
        most = max(due)
        if most < _MANY:
            return
        minute = due.index(most)
        entry = next(
            each
            for (minutes, hours), each in sorted(
                self._first.items(), key=lambda item: item[1].number
            )
            if hours >> minute // 60 & 1 and minutes >> minute % 60 & 1
        )
        message = f"{most} entries are due at {minute // 60:02}:{minute % 60:02} each day"
        remedy = "H in place of the minute, or CRON_JITTER, spreads them"
        yield entry, Found(STAMPEDE, entry.start, entry.command_start, message, remedy)


def _minutes_of_day(minutes: int, hours: int) -> Iterator[int]:
    chosen = [minute for minute in range(60) if minutes >> minute & 1]
    for hour in range(24):
        if hours >> hour & 1:
            yield from (hour * 60 + minute for minute in chosen)
