"""Reads the text of a table: crontab(5) of Vixie cron and cronie, and the settings `CRON_…`.

No file is opened here. A line is one of

    blank, or a comment (its first character is `#`)
    NAME = VALUE              a variable of the commands below
    CRON_X=VALUE … [entry]    settings: of this entry, or else of all entries below
    entry                     line.py has its grammar

A table with an error still gives the Jobs of its good lines; tables/loaded.py decides whether they
run. A text with a NUL byte, or with more bad entries than good ones, is no table: it gives none.
Any other byte may be in a table, because cron takes it: classic tables are in Latin-1, and a
command may contain a control character.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pycron.crontab.after import AfterEntry, error_of, refuse_times, resolve
from pycron.crontab.assignment import read_variable
from pycron.crontab.day_rules import NO_CALENDARS, refuse_never
from pycron.crontab.entries import MOST_ENTRIES, Entries, encoded
from pycron.crontab.identity import entry_key, job_id, twin_key
from pycron.crontab.junk import why_junk
from pycron.crontab.known_names import KnownNames
from pycron.crontab.line import BLANKS, EntryLine, LineError, read_entry, read_schedule
from pycron.crontab.mail_addresses import unsafe_addresses
from pycron.crontab.placement import placed, refuse_reboot
from pycron.crontab.problem_list import MOST_PROBLEMS, ProblemList
from pycron.crontab.table import Table
from pycron.crontab.telling_word import telling_word
from pycron.crontab.users import unknown_users
from pycron.crontab.variables import Variables
from pycron.model.hosts import Cluster
from pycron.model.job import Source
from pycron.model.settings import SETTINGS, Setting
from pycron.model.steps import Steps, finish
from pycron.model.text import hint_at
from pycron.schedule.day_rules import Calendar
from pycron.schedule.expressions import After

LONGEST_LINE = 131_072  # characters; cronie's limit of a command
LONGEST_VALUE = 4096  # characters of a setting
_BYTE_ORDER_MARK = "\ufeff"  # Windows editors write it in front of UTF-8
_STEP = 16_384  # characters that are read at a time: 1 to 10 ms
_WORK_OF_A_LINE = 200  # characters whose reading takes as long as a short line's


@dataclass(frozen=True, slots=True)
class ReaderContext:
    """Facts about the machine and the configuration, against which a text is checked.

    `host`: decides `~` and `H`, together with the entry. `user_exists`: None if users are not to be
    checked yet. `pools`: those of the configuration, with the users that may use each (None: all
    users); None if they are not known. `notifications`, `senders` and `calendars`: the same.
    `no_mail`: why this machine can send no mail. `defaults` and `ceilings`: values of settings, by
    attribute, from the configuration. `cluster`: None if it is not known.
    """

    host: str = ""
    zone_exists: Callable[[str], bool] = lambda _: True
    user_exists: Callable[[str], bool] | None = None
    most_entries: int = 1_000_000
    pools: Mapping[str, Collection[str] | None] | None = None
    notifications: Mapping[str, Collection[str] | None] | None = None
    calendars: Mapping[str, Calendar] | None = None
    senders: Mapping[str, Collection[str] | None] | None = None
    no_mail: str | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ceilings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cluster: Cluster | None = None


def parse(text: str, source: Source, context: ReaderContext) -> Table:
    """The table that a text describes. Mistakes in the text are problems of the table.

    In a text that is no table (`Table.is_junk`) there are no entries.
    """
    return finish(parsing(text, source, context))


def parsing(text: str, source: Source, context: ReaderContext) -> Steps[Table]:
    """The same in steps of a few milliseconds, so that the caller can do other work in between."""
    plain = text.removeprefix(_BYTE_ORDER_MARK)
    reader = _Reader(plain, source, context)
    if plain != text:
        message = "a byte order mark, which other crons read as text: save the file without it"
        reader.problems.warn(1, "byte-order-mark", message)
    yield from reader.read(plain)
    reader.entries.words.end()
    yield from reader.resolve_after()
    reader.check_users()
    problems = reader.problems.sorted()
    junk = why_junk(text, source, len(reader.entries), reader.bad_entries)
    if junk is None:
        return Table(source, reader.entries, problems)
    return Table(source, Entries(source, text), (junk, *problems), is_junk=True)


# No repetition in these patterns gives anything back (`++`), so each takes time that is linear in
# the line.
_SETTING = re.compile(
    r"""[ \t]*+(CRON_[A-Za-z0-9_]*+)[ \t]*+=[ \t]*+"""
    r"""("[^"]*+"|'[^']*+'|[^ \t"'][^ \t]*+|)(?=[ \t]|$)"""
)
_SETTING_START = re.compile(r"[ \t]*+CRON_[A-Za-z0-9_]*+[ \t]*+=")
# The beginning of nearly every entry: no comment, no variable, no setting.
_PLAIN_START = re.compile(r"""[^ \t="'#][^ \t=]*+[ \t]++[^ \t=]""")


@dataclass(frozen=True, slots=True)
class _Assignment:
    """A setting of a line: its new value, and the column of its name."""

    setting: Setting
    value: Any
    column: int


class _Reader:
    """Reads the lines of one table from top to bottom."""

    def __init__(self, text: str, source: Source, context: ReaderContext) -> None:
        self.source = source
        self.context = context
        cluster = context.cluster.name if context.cluster else None
        calendars = context.calendars or NO_CALENDARS
        self.entries = Entries(source, text, context.host, calendars, cluster or "")
        self.problems = ProblemList(source.name)
        self._most = min(context.most_entries, MOST_ENTRIES)
        self._line = 0  # its number, from 1
        self._offset = 0  # of the line, in the encoded text
        self.bad_entries = 0
        self._known = KnownNames(source.owner, context.zone_exists, context.pools,
                                 context.notifications, context.calendars,
                                 context.senders)  # fmt: skip
        ceilings = context.ceilings if source.owner is not None else {}
        self._variables = Variables(context.defaults, ceilings)
        self._twins: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._ids: set[int] = set()
        self._after: list[AfterEntry] = []

    def read(self, text: str) -> Steps[None]:
        """Read all lines, unless there are too many mistakes or the text is none."""
        if "\0" in text:
            return
        if text and text[-1] != "\n":
            self._line = text.count("\n") + 1
            self._warn("unterminated", "the last line has no newline at its end; taken as it is")
        work, before = 0, ""
        for number, line in enumerate(_lines(text), 1):
            self._line = number
            try:
                self._read_line(line)
            except LineError as error:
                self._explain(error, line, before)
                if error.code == "too-many-entries":
                    break
            before = line
            self._offset += 1 + _size(line)
            if self.problems.errors > MOST_PROBLEMS:
                message = "too many errors; the rest was not read"
                self.problems.error(number, "too-many-problems", message)
                break
            work += _WORK_OF_A_LINE + len(line)
            if work >= _STEP:
                work = 0
                yield

    def _explain(self, error: LineError, line: str, before: str) -> None:
        from pycron.crontab.mistakes import explained  # only a mistake asks for it

        better = explained(error, line, before)
        self.problems.error(self._line, better.code, str(better), better.column)

    def check_users(self) -> None:
        """Warn of users in a system table whom the machine does not know."""
        if (exists := self.context.user_exists) is not None and self.source.owner is None:
            for problem in unknown_users(self.entries, exists):
                self.problems.warn(problem.line, problem.code, problem.message)

    def resolve_after(self) -> Steps[None]:
        """Look for the Jobs that entries with @after name."""
        if not self._after:
            return
        errors = yield from resolve(self.entries, self._after)
        for each, reason in errors.values():
            error = error_of(each, reason)
            self.problems.error(each.line, error.code, str(error), error.column)
            self.bad_entries += 1
        if errors:
            self.entries = self.entries.without(errors)

    def _read_line(self, line: str) -> None:
        start = _first_column(line)
        if start == len(line) or line[start] == "#":
            return
        self._check_characters(line)
        if _PLAIN_START.match(line, start):
            self._add_entry(line, start, self._variables.values)
        elif _SETTING_START.match(line):
            self._read_settings(line)
        elif not self._read_variable(line):
            self._add_entry(line, start, self._variables.values)

    def _check_characters(self, line: str) -> None:
        if len(line) > LONGEST_LINE:
            raise LineError("long-line", f"longer than {LONGEST_LINE} characters", LONGEST_LINE)
        if line.endswith("\r"):
            self._warn("carriage-return", "ends with a carriage return, which cron takes as part "
                       "of the line: write Unix line ends")  # fmt: skip

    # ---- variables

    def _read_variable(self, line: str) -> bool:
        """Set the variable of a line; False if the line is not NAME=VALUE."""
        assignment = read_variable(line)
        if assignment is None:
            return False
        name, value, column = assignment
        if not name:
            raise LineError("bad-variable", "bad variable: no name before the =", 0)
        if name == "RANDOM_DELAY":
            self._set_random_delay(value, column)
        if name in ("MAILTO", "MAILFROM"):
            self._check_mail(name, value, column)
        self._variables.set(name, value)
        return True

    def _check_mail(self, name: str, value: str, column: int) -> None:
        """Warn of an address that is none, and of mail that nobody will get."""
        for text in unsafe_addresses(value):
            message = f'{name}: "{text}" is no address; the name of the user is taken'
            self._warn("mail-unsafe", message, column)
        if value and self.context.no_mail is not None:
            message = f"{name} has no effect on this machine: {self.context.no_mail}"
            self._warn("mail-nowhere", message, column)

    def _set_random_delay(self, value: str, column: int) -> None:
        """RANDOM_DELAY of cronie: CRON_JITTER in minutes."""
        if not re.fullmatch("[0-9]{1,4}", value, re.ASCII) or int(value) > 1440:
            message = f'bad RANDOM_DELAY: "{value}" (minutes, 0-1440)'
            raise LineError("bad-setting", message, column)
        self._variables.set_setting("jitter", int(value) * 60)

    # ---- settings

    def _read_settings(self, line: str) -> None:
        """Settings in front of an entry are its own; alone on a line, those of all below."""
        assignments, end = self._assignments(line)
        rest = end + _first_column(line[end:])
        if rest == len(line):
            self._set_for_all_below(assignments)
            return
        own = {each.setting.attribute: each.value for each in assignments}
        if line.startswith("@after", rest):
            refuse_times((each.setting, each.column) for each in assignments)
        self._add_entry(line, rest, {**self._variables.values, **own})

    def _assignments(self, line: str) -> tuple[list[_Assignment], int]:
        """The settings at the beginning of a line, and the column behind them."""
        found = []
        position = 0
        while _SETTING_START.match(line, position):
            match = _SETTING.match(line, position)
            if not match:
                column = line.index("=", position) + 1
                raise LineError("bad-setting", "bad value: a quote has no partner", column)
            setting = self._known_setting(match[1], match.start(1))
            value = self._setting_value(setting, match[2], match.start(2))
            found.append(_Assignment(setting, value, match.start(1)))
            position = match.end()
        return found, position

    def _set_for_all_below(self, assignments: list[_Assignment]) -> None:
        for each in assignments:
            if each.setting.attribute == "name":
                message = "CRON_NAME belongs in front of its entry"
                raise LineError("bad-setting", message, each.column)
            self._variables.set_setting(each.setting.attribute, each.value)
            if each.setting.name == "CRON_TZ":  # cronie leaves it in the command's environment
                self._variables.set("CRON_TZ", each.value or "")

    def _known_setting(self, name: str, column: int) -> Setting:
        if name not in SETTINGS:
            hint = hint_at(name, SETTINGS, "pycrontab(5)")
            raise LineError("unknown-setting", f'unknown setting: "{name}" ({hint})', column)
        return SETTINGS[name]

    def _setting_value(self, setting: Setting, text: str, column: int) -> Any:
        if text[:1] in ("'", '"'):
            text = text[1:-1]
        if not text:
            return setting.default
        try:
            if len(text) > LONGEST_VALUE:  # a list of thousands of names takes long to check
                raise ValueError
            value = setting.parse(text)
        except ValueError:
            shown = "not shown" if setting.secret else f'"{text}"'
            message = f"bad {setting.name}: {shown} ({setting.form})"
            raise LineError("bad-setting", message, column) from None
        for code, message in self._known.warnings(setting, text, column):
            self._warn(code, message, column)
        if setting.name == "CRON_POOL" and self._known.denies_pool(text):
            return setting.default
        most = self._variables.ceilings.get(setting.attribute)
        if most is not None and value > most:
            message = f'{setting.name}: "{text}" is above the ceiling of this system, {most}'
            self._warn("above-ceiling", message, column)
        return value

    # ---- entries

    def _add_entry(self, line: str, start: int, values: dict[str, Any]) -> None:
        """Check the entry that begins at column `start`, and add it. `values`: of its settings."""
        try:
            self._add_checked(line, start, values)
        except LineError:
            self.bad_entries += 1
            raise

    def _add_checked(self, line: str, start: int, values: dict[str, Any]) -> None:
        if len(self.entries) >= self._most:
            message = f"more than {self._most} entries; this one was not taken"
            raise LineError("too-many-entries", message, start)
        entry = read_entry(line, start, self.source.owner)
        key = entry_key(entry.user, entry.words, entry.command, entry.stdin)
        twin = self._twins.get(key, 0)
        self._twins[key] = twin + 1
        own = placed(values, self.source, entry.user, twin_key(key, twin), entry.column,
                     self.context.host, self.context.cluster)  # fmt: skip
        schedule = read_schedule(line, entry.column, entry.words, own.host, own.key)
        refuse_never(schedule, values.get("every"), entry.column)
        if own.values is not values:
            refuse_reboot(schedule, values["runs_on"], entry.column)
        name = values.get("name")
        if name is not None:
            self._claim_name(name, entry.column)
        self._check_nice(values.get("nice"), entry)
        self._known.check_message(values.get("send"), entry)
        if not own.here:
            return
        if isinstance(schedule, After):
            after = AfterEntry(len(self.entries), self._line, entry.column, schedule.jobs)
            self._after.append(after)
        self._check_number(own.number, entry.column)
        settings = self._variables.settings_of(own.values, entry.letters)
        environment = self._variables.environment()
        context = self.entries.context_number(entry.user, environment, settings)
        begin = self._offset + (_size(line[:start]) if start else 0)
        self.entries.add(begin, self._line, own.number, context, schedule, name, twin)
        self.entries.words.add(name or telling_word(entry.command))

    def _claim_name(self, name: str, column: int) -> None:
        """Two entries of a table cannot have one CRON_NAME."""
        if name in self._names:
            message = f'bad CRON_NAME: "{name}" (line {self._names[name]} has it, too)'
            raise LineError("bad-setting", message, column)
        self._names[name] = self._line

    def _check_nice(self, nice: int | None, entry: EntryLine) -> None:
        if nice is not None and nice < 0 and entry.user != "root":
            message = f'bad CRON_NICE: "{nice}" (below 0 is for root)'
            raise LineError("bad-setting", message, entry.column)

    def _check_number(self, number: int, column: int) -> None:
        """Two entries of a table cannot have one id; 64 bits of a digest may be the same."""
        if number in self._ids:
            other = self.entries.index_of(job_id(number))
            line = None if other is None else self.entries.lines[other]
            message = f"the same id as line {line}: change the command a little"
            raise LineError("same-id", message, column)
        self._ids.add(number)

    def _warn(self, code: str, message: str, column: int = 0) -> None:
        self.problems.warn(self._line, code, message, column)


def _lines(text: str) -> Iterator[str]:
    """The lines of a text. A list of them would take more memory than the text."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _first_column(line: str) -> int:
    """Where the first character stands that is no blank; the length of a blank line."""
    return len(line) - len(line.lstrip(BLANKS))


def _size(text: str) -> int:
    """The bytes that a text takes in the encoded table."""
    return len(text) if text.isascii() else len(encoded(text))
