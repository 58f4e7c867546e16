"""anacrontab(5) as entries of a system table: `period delay id command` with CRON_CATCHUP=latest.

Anacron runs a job once in its period, on the first day on which the machine is on, from the time at
which anacron is started (Debian: 7:30, by anacron.timer or /etc/cron.d/anacron; cronie: minute 1 of
the first hour of START_HOURS_RANGE) plus the delay. As entries:

    period              entry                        difference
    1, @daily           every day at that time       after a boot before that time twice that day
    7, @weekly          the weekday of the stamp     a late week does not move the next one
    30, 31, @monthly    the first of each month      30 days become a month
    365, @yearly        1 January                    365 days become a year
    2 to 15, but 7      */N in day-of-month          the count begins anew each month
    another             none                         to be written by hand

CRON_CATCHUP=latest runs what was missed while the machine was off. New entries have no past, so
nothing runs at the import; a Finding names the job whose stamp (/var/spool/anacron/ID) says that it
is overdue. Anacron does not start on battery power (Debian's unit); an entry does.

The directories /etc/cron.{daily,weekly,monthly} are run after an import by:

    anacron           /etc/crontab has            what runs them afterwards
    not installed     run-parts                   that line; anacrontab is left out
    by its own timer  test -x anacron || …        these entries, while the program anacron is there;
                                                  that line, when anacron was removed
    by its own timer  run-parts, without a test   both, as before: a Finding says so
    by its own timer  nothing                     these entries
    by 0anacron       nothing (cronie)            anacron itself, which /etc/cron.hourly starts
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from pycron.crontab.comparison import Finding, Verdict
from pycron.crontab.other_cron import DEBIAN, OtherRules
from pycron.model.settings import SETTINGS
from pycron.model.text import printable

FILE = "/etc/anacrontab"

_JOB = re.compile(
    r"[ \t]*+(@?[A-Za-z0-9]++)[ \t]++([0-9]{1,5}+)[ \t]++([^ \t/]++)[ \t]++(.+)", re.ASCII
)
_VARIABLE = re.compile(r"[ \t]*+([A-Za-z_][A-Za-z0-9_]*+)[ \t]*+=[ \t]*+(.*)", re.ASCII)
_DIRECTORY = re.compile(r"/etc/cron\.[A-Za-z]+", re.ASCII)
_GUARD = re.compile(r"(?:test|\[)[ \t]++-x[ \t]++/usr/sbin/anacron[ \t]*+\]?+[ \t]*+\|\|")
_STARTS = re.compile(
    r"(?:invoke-rc\.d|service)[ \t]+anacron[ \t]+start"
    r"|(?:^|[;&|({])[ \t]*(?:/usr/sbin/)?anacron(?:[ \t;]|$)"
)
_NAMED_PERIODS = {"@daily": 1, "@weekly": 7, "@monthly": 30, "@yearly": 365, "@annually": 365}
_LAST_MINUTE = 24 * 60 - 1  # of a day
_OF_ANACRON = ("START_HOURS_RANGE", "PREFERRED_HOUR", "NO_MAIL_OUTPUT")
_SHORTEST_UNEVEN, _LONGEST_UNEVEN = 2, 15  # days of a period that `*/N` comes close to


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else the machine runs. `last_runs`: the day of each stamp, by the id of its job.

    `guarded`: the directories that a table runs if anacron is not installed. `unguarded`: those
    that a table runs in any case.
    """

    rules: OtherRules
    today: date
    last_runs: Mapping[str, date] = field(default_factory=dict)
    guarded: Collection[str] = ()
    unguarded: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Converted:
    """The text of the system table, and a Finding for each job."""

    text: str
    findings: tuple[Finding, ...]


def directories_run(command: str) -> tuple[set[str], bool]:
    """The directories /etc/cron.X that a command names, and whether only without anacron."""
    if "run-parts" not in command:
        return set(), False
    return set(_DIRECTORY.findall(command)), _GUARD.search(command) is not None


def starts_anacron(command: str) -> bool:
    """Whether a command starts anacron, as /etc/cron.d/anacron does."""
    return _STARTS.search(command) is not None


def convert(text: str, surroundings: Surroundings) -> Converted:
    """The system table that stands for an anacrontab. A line that is bad for anacron is refused."""
    conversion = _Conversion(surroundings)
    for number, line in _logical_lines(text):
        conversion.read(number, line)
    return Converted("\n".join([*conversion.lines, ""]), tuple(conversion.findings))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines, with the number of the first where a `\\` at the end continues them."""
    start, parts = 1, []
    for number, line in enumerate(text.split("\n"), 1):
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield start, "".join(parts)
            start, parts = number + 1, []
    if any(parts):
        yield start, "".join(parts)


class _Conversion:
    """The conversion of one anacrontab, line by line."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._start = 7 * 60 + 30 if surroundings.rules is DEBIAN else 1  # minute of the day
        self.lines = ["# The jobs of /etc/anacrontab, made by pycron import.",
                      "CRON_CATCHUP=latest", "CRON_CWD=/"]  # fmt: skip
        self.findings: list[Finding] = []

    def _found(self, line: int, verdict: Verdict, code: str, message: str) -> None:
        self.findings.append(Finding(FILE, line, verdict, code, printable(message)))

    def read(self, number: int, line: str) -> None:
        if not line.strip() or line.lstrip().startswith("#"):
            return
        if variable := _VARIABLE.fullmatch(line):
            self._read_variable(number, variable[1], variable[2])
        elif job := _JOB.fullmatch(line):
            self._read_job(number, job)
        else:
            message = f'no job of anacron: "{line[:80]}" (period, delay, id, command)'
            self._found(number, Verdict.REFUSED, "anacron-line", message)

    def _read_variable(self, number: int, name: str, value: str) -> None:
        of_cronie = self._surroundings.rules is not DEBIAN
        if name == "START_HOURS_RANGE" and of_cronie and (hours := re.match("[0-9]{1,2}", value)):
            self._start = min(int(hours[0]), 23) * 60 + 1
        elif name == "RANDOM_DELAY" and not of_cronie:
            message = "RANDOM_DELAY has no effect for Debian's anacron; left out"
            self._found(number, Verdict.SAME, "anacron-variable", message)
        elif name not in _OF_ANACRON:
            self.lines.append(f"{name}={value}")
        else:
            message = f"{name} is for anacron alone; left out"
            self._found(number, Verdict.CHANGED, "anacron-variable", message)

    def _read_job(self, number: int, job: re.Match[str]) -> None:
        period, delay, name, command = job.groups()
        days = _NAMED_PERIODS.get(period) or (int(period) if period.isdecimal() else 0)
        fields = self._days(days, name)
        if fields is None:
            message = f"{name}: five fields cannot say a period of {period} days: write it by hand"
            self._found(number, Verdict.REFUSED, "anacron-period", message)
            return
        hour, minute = divmod(min(self._start + int(delay), _LAST_MINUTE), 60)
        schedule = f"{minute} {hour} {fields}"
        self.lines.append(f"{_name_setting(name)}{schedule} root {self._command(command)}")
        code, note = self._note(days, name, command)
        message = f'{name}: becomes "{schedule}" with CRON_CATCHUP=latest{note}'
        self._found(number, Verdict.CHANGED, code, message)

    def _days(self, days: int, name: str) -> str | None:
        """The last three fields for a period of so many days."""
        if days == 1:
            return "* * *"
        if days == 7:
            last = self._surroundings.last_runs.get(name)
            return f"* * {last.isoweekday() if last else 7}"
        if _SHORTEST_UNEVEN <= days <= _LONGEST_UNEVEN:
            return f"*/{days} * *"
        return {30: "1 * *", 31: "1 * *", 365: "1 1 *"}.get(days)

    def _note(self, days: int, name: str, command: str) -> tuple[str, str]:
        """The code of a Finding, and what is to be said besides the schedule."""
        found = self._surroundings
        code, note = "anacron-job", ""
        if _SHORTEST_UNEVEN <= days <= _LONGEST_UNEVEN and days != 7:
            code, note = "anacron-period", "; the days are counted anew each month"
        last = found.last_runs.get(name)
        if last is not None and last + timedelta(days) < found.today:
            note += f"; it last ran on {last} and is overdue: it runs when it is due next"
        if both := set(_DIRECTORY.findall(command)) & set(found.unguarded):
            code = "runs-twice"
            note += f"; another table runs {min(both)}, too, as before"
        return code, note

    def _command(self, command: str) -> str:
        """The command as a table has it: `%` is plain, and one of two tables runs a directory."""
        command = re.sub(r"(?<!\\)%", r"\\%", command)
        if set(_DIRECTORY.findall(command)) & set(self._surroundings.guarded):
            return f"test ! -x /usr/sbin/anacron || {{ {command.rstrip('; ')}; }}"
        return command


def _name_setting(name: str) -> str:
    """CRON_NAME for the id of a job, if it can be the name of a Job."""
    try:
        SETTINGS["CRON_NAME"].parse(name)
    except ValueError:
        return ""
    return f"CRON_NAME={name} "
