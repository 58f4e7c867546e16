"""The text of a table to Jobs and problems: crontab(5) of Vixie cron and cronie, and `CRON_…`.

Nothing here opens a file. A line is one of

    blank, or a comment (its first character is `#`)
    NAME = VALUE                                   a variable of the commands below
    CRON_X=VALUE … [entry]                         settings: of that entry, or of all below
    [-] (five fields | @nickname) [USER] [-nqs] COMMAND[%stdin]

A table with an error still yields the Jobs of its good lines; what to do with them is not decided
here.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pycron.crontab.entries import (
    BLANKS,
    MOST_ENTRIES,
    Entries,
    LineError,
    Words,
    base_identity,
    encoded,
    flag_words,
    leading_flag,
    schedule_of,
    schedule_words,
    split_command,
    twin_identity,
    user_word,
)
from pycron.crontab.table import Table
from pycron.model.job import Environment, Source, digest
from pycron.model.problem import Problem, Severity
from pycron.model.settings import SETTINGS, Concurrency, Setting, Settings, intern, job_limit
from pycron.model.text import hint_at, printable
from pycron.schedule.expressions import (
    Packed,
    Schedule,
    ScheduleError,
    is_random,
    pack,
    pack_schedule,
)
from pycron.schedule.fields import FIELDS, FieldError

LONGEST_LINE = 131_072  # characters; cronie's limit of a command
LARGEST_ENVIRONMENT = 65_536  # characters; every command of a minute gets a copy
MOST_PROBLEMS = 100  # errors, and as many warnings


@dataclass(frozen=True, slots=True)
class ReaderContext:
    """What the parser has to be told, because it looks at nothing but the text.

    `host`: what `~` and `H` depend on beside the entry. `user_exists` is None where nobody can
    know yet. `pools`: those that the configuration names; None where nobody knows. `defaults` and
    `ceilings`: values of settings, by attribute, from the configuration.
    """

    host: str = ""
    zone_exists: Callable[[str], bool] = lambda _: True
    user_exists: Callable[[str], bool] | None = None
    most_entries: int = 1_000_000
    pools: Collection[str] | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ceilings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def parse(text: str, source: Source, context: ReaderContext) -> Table:
    """The table that a text stands for. Never raises for what the text says."""
    reader = _Reader(text, source, context)
    reader.read(text)
    return Table(source, reader.entries, tuple(reader.problems))


_LONGEST_MESSAGE = 500
_NAME_AND_VALUE = re.compile(
    r"""[ \t]*(?:"([^"]*)"|'([^']*)'|([^ \t="']?[^ \t=]*))[ \t]*=[ \t]*(.*)""", re.DOTALL
)
_SETTING = re.compile(
    r"""[ \t]*(CRON_[A-Za-z0-9_]*)[ \t]*=[ \t]*("[^"]*"|'[^']*'|[^ \t"'][^ \t]*|)(?=[ \t]|$)"""
)
_SETTING_START = re.compile(r"[ \t]*CRON_[A-Za-z0-9_]*[ \t]*=")
# The beginning of an entry as nearly all are: no comment, no variable, no setting.
_PLAIN_START = re.compile(r"""[^ \t="'#][^ \t=]*[ \t]+[^ \t=]""")


class _Reader:
    """Goes through the lines of one table with what holds at each of them."""

    def __init__(self, text: str, source: Source, context: ReaderContext) -> None:
        self.source = source
        self.context = context
        self.entries = Entries(source, text, context.host)
        self.problems: list[Problem] = []
        self._most = min(context.most_entries, MOST_ENTRIES)
        self._line = 0
        self._offset = 0  # of the line, in the encoded text
        self._environment: dict[str, str] = {}
        self._snapshot: Environment | None = ()
        self._ceilings = context.ceilings if source.owner is not None else {}
        self._values: dict[str, Any] = dict(context.defaults)
        self._settings = self._settled(self._values)
        self._twins: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._ids: set[int] = set()
        self._errors = 0
        self._warnings = 0

    def read(self, text: str) -> None:
        lines = text.split("\n")
        if lines[-1]:
            self._line = len(lines)
            self._warn("unterminated", "the last line has no newline at its end; taken as it is")
        for number, line in enumerate(lines, 1):
            self._line = number
            try:
                self._take(line)
            except LineError as error:
                self._error(error.code, str(error), error.column)
                if error.code == "too-many-entries":
                    break
            self._offset += 1 + (len(line) if line.isascii() else len(encoded(line)))
            if self._errors > MOST_PROBLEMS:
                self._error("too-many-problems", "too many errors; the rest was not read")
                break
        self.problems.sort(key=lambda problem: problem.line)

    def _take(self, line: str) -> None:
        start = len(line) - len(line.lstrip(BLANKS))
        if start == len(line) or line[start] == "#":
            return
        if len(line) > LONGEST_LINE:
            raise LineError("long-line", f"longer than {LONGEST_LINE} characters", LONGEST_LINE)
        if "\0" in line:
            raise LineError("binary", "a NUL byte: this is no text", line.index("\0"))
        if line.endswith("\r"):
            self._warn("carriage-return", "ends with a carriage return, which cron takes as part "
                       "of the line: write Unix line ends")  # fmt: skip
        if _PLAIN_START.match(line, start):
            self._take_entry(line, start, self._values)
        elif _SETTING_START.match(line):
            self._take_settings(line)
        elif not self._take_variable(line):
            self._take_entry(line, start, self._values)

    # ---- variables and settings

    def _take_variable(self, line: str) -> bool:
        """A NAME=VALUE line by cronie's env.c; False when it isn't one."""
        match = _NAME_AND_VALUE.fullmatch(line)
        if not match:
            return False
        value = match[4].rstrip(BLANKS)
        if value[:1] in ("'", '"'):
            if len(value) < 2 or value.find(value[0], 1) != len(value) - 1:
                return False  # text after the closing quote, or no closing quote
            value = value[1:-1]
        name = next(group for group in match.groups()[:3] if group is not None)
        if not name:
            raise LineError("bad-variable", "bad variable: no name before the =", 0)
        if name == "RANDOM_DELAY":
            self._take_random_delay(value, match.start(4))
        self._set_variable(name, value)
        return True

    def _take_random_delay(self, value: str, column: int) -> None:
        if not re.fullmatch("[0-9]{1,4}", value, re.ASCII) or int(value) > 1440:
            message = f'bad RANDOM_DELAY: "{value}" (minutes, 0-1440)'
            raise LineError("bad-setting", message, column)
        self._set_value("jitter", int(value) * 60)

    def _set_variable(self, name: str, value: str) -> None:
        environment = {**self._environment, name: value}
        size = sum(len(key) + len(text) for key, text in environment.items())
        if size > LARGEST_ENVIRONMENT:
            message = f"more than {LARGEST_ENVIRONMENT} characters of variables"
            raise LineError("too-many-variables", message, 0)
        self._environment = environment
        self._snapshot = None

    def _set_value(self, attribute: str, value: Any) -> None:
        self._values = {**self._values, attribute: value}
        self._settings = self._settled(self._values)

    def _settled(self, values: dict[str, Any]) -> Settings:
        """The settings with these values, none of them above what the configuration allows.

        Without the name, which is one Job's: the rest is shared by many.
        """
        values = {attribute: value for attribute, value in values.items() if attribute != "name"}
        settings = intern(frozenset(values.items()))
        wanted = {attribute: getattr(settings, attribute) for attribute in self._ceilings}
        if "max_running" in wanted:  # without it, a policy may allow one only
            wanted["max_running"] = job_limit(settings)
        capped = {
            attribute: self._ceilings[attribute]
            for attribute, value in wanted.items()
            if value is None or value > self._ceilings[attribute]
        }
        return intern(frozenset({**values, **capped}.items())) if capped else settings

    def _take_settings(self, line: str) -> None:
        """Settings alone on their line hold from here on, in front of an entry for it alone."""
        found: list[tuple[Setting, Any, int]] = []
        position = 0
        while _SETTING_START.match(line, position):
            match = _SETTING.match(line, position)
            if not match:
                column = position + line[position:].index("=") + 1
                raise LineError("bad-setting", "bad value: a quote has no partner", column)
            setting = self._known_setting(match[1], match.start(1))
            found.append((setting, self._setting_value(setting, match[2], match.start(2)),
                          match.start(1)))  # fmt: skip
            position = match.end()
        rest = len(line) - len(line[position:].lstrip(BLANKS))
        if rest < len(line):
            values = {**self._values, **{s.attribute: value for s, value, _ in found}}
            self._take_entry(line, rest, values)
            return
        for setting, value, column in found:
            if setting.attribute == "name":
                raise LineError("bad-setting", "CRON_NAME belongs in front of its entry", column)
            self._set_value(setting.attribute, value)
            if setting.name == "CRON_TZ":  # cronie leaves it in the command's environment
                self._set_variable(setting.name, value or "")

    def _known_setting(self, name: str, column: int) -> Setting:
        if name not in SETTINGS:
            hint = hint_at(name, SETTINGS, "pycrontab(5)")
            raise LineError("unknown-setting", f'unknown setting: "{name}" ({hint})', column)
        setting = SETTINGS[name]
        if not setting.works:
            self._warn("no-effect", f"{name} has no effect in this version", column)
        return setting

    def _setting_value(self, setting: Setting, text: str, column: int) -> Any:
        if text[:1] in ("'", '"'):
            text = text[1:-1]
        if not text:
            return setting.default
        try:
            value = setting.parse(text)
        except ValueError:
            message = f'bad {setting.name}: "{text}" ({setting.form})'
            raise LineError("bad-setting", message, column) from None
        if setting.name == "CRON_TZ" and not self.context.zone_exists(text):
            message = f'bad CRON_TZ: "{text}" (no such time zone; {setting.form})'
            raise LineError("unknown-zone", message, column)
        if setting.name == "CRON_POOL" and self.context.pools is not None:
            self._check_pool(text, self.context.pools, column)
        most = self._ceilings.get(setting.attribute)
        if most is not None and value > most:
            message = f'{setting.name}: "{text}" is above the ceiling of this system, {most}'
            self._warn("above-ceiling", message, column)
        return value

    def _check_pool(self, name: str, known: Collection[str], column: int) -> None:
        if name not in known:
            message = f'CRON_POOL: "{name}" is not in the configuration, and has no limit'
            self._warn("unknown-pool", message, column)

    # ---- entries

    def _take_entry(self, line: str, start: int, values: dict[str, Any]) -> None:
        if len(self.entries) >= self._most:
            message = f"more than {self._most} entries; this one was not taken"
            raise LineError("too-many-entries", message, start)
        begin = start
        flags, words = leading_flag(line, start, self.source.owner)
        start = words.position
        fields = schedule_words(words)
        try:
            user, more_flags, command, stdin = self._user_and_command(words)
        except LineError:
            self._schedule(fields, "", start, line)  # what is wrong further left is said first
            raise
        name = values.get("name")
        base = base_identity(user, fields, command, stdin)
        twin = self._twins.get(base, 0)
        self._twins[base] = twin + 1
        identity = twin_identity(base, twin)
        schedule = self._schedule(fields, identity, start, line)
        if name is not None:
            self._claim_name(name, start)
        if (values.get("nice") or 0) < 0 and user != "root":
            message = f'bad CRON_NICE: "{values["nice"]}" (below 0 is for root)'
            raise LineError("bad-setting", message, start)
        job_id = self._id_of(user, name, identity)
        if job_id in self._ids:
            other = self.entries.line_of(job_id)
            message = f"the same id as line {other}: change the command a little"
            raise LineError("same-id", message, start)
        self._ids.add(job_id)
        settings = self._settings_of(values, flags + more_flags)
        context = self.entries.context_number(user, self._environment_now(), settings)
        begin = self._offset + (len(encoded(line[:begin])) if begin else 0)
        self.entries.add(begin, self._line, job_id, context, schedule, name, twin)

    def _id_of(self, user: str, name: str | None, identity: str) -> int:
        """What has a name keeps its id whatever it becomes, but not as another user's.

        Else that user would have the Runs of the one before, to see and to end.
        """
        if name is None:
            return int(digest(self.source.name, "entry", identity), 16)
        owner = () if self.source.owner else (user,)
        return int(digest(self.source.name, "name", name, *owner), 16)

    def _settings_of(self, values: dict[str, Any], flags: str) -> Settings:
        """-s of OpenBSD is CRON_CONCURRENCY=forbid, unless the table says otherwise."""
        if "s" in flags and values.get("concurrency") is None:
            return self._settled({**values, "concurrency": Concurrency.FORBID})
        return self._settings if values is self._values else self._settled(values)

    def _user_and_command(self, words: Words) -> tuple[str, str, str, str | None]:
        """What follows the schedule: user, flags, command and its standard input."""
        if words.rest().startswith("*"):  # Vixie's entry.c: somebody meant a sixth field
            message = 'bad command: "*" (an entry has five fields, then the command)'
            raise LineError("bad-command", message, len(words.line) - len(words.rest()))
        flags = ""
        user = self.source.owner
        if user is None:
            flags = self._flags(words)
            user = self._user(words)
        flags += self._flags(words)
        command, stdin = split_command(words.rest())
        if not command:
            message = 'bad command: "" (no command)'
            raise LineError("bad-command", message, len(words.line))
        return user, flags, command, stdin

    def _schedule(
        self, words: tuple[str, ...], identity: str, start: int, line: str
    ) -> Packed | Schedule:
        """The schedule, in as little as it fits."""
        try:
            packed = None if words[0].startswith("@") or is_random("".join(words)) else pack(words)
            return packed or pack_schedule(schedule_of(words, self.context.host, identity))
        except FieldError as error:
            column = _word_start(line, start, FIELDS.index(error.field)) + error.offset
            raise LineError(f"bad-{error.field.name}", str(error), column) from None
        except ScheduleError as error:
            index = 2 if error.code == "never-fires" else 0
            raise LineError(error.code, str(error), _word_start(line, start, index)) from None

    def _user(self, words: Words) -> str:
        user = user_word(words)
        if self.context.user_exists and not self.context.user_exists(user):
            message = f'bad username: "{user}" (no such user)'
            raise LineError("unknown-user", message, words.column)
        return user

    def _flags(self, words: Words) -> str:
        flags = ""
        for more, column in flag_words(words):
            flags += more
            if "n" in more:
                self._warn("no-effect", "-n has no effect in this version", column)
        return flags

    def _claim_name(self, name: str, column: int) -> None:
        if name in self._names:
            message = f'bad CRON_NAME: "{name}" (line {self._names[name]} has it, too)'
            raise LineError("bad-setting", message, column)
        self._names[name] = self._line

    def _environment_now(self) -> Environment:
        if self._snapshot is None:
            self._snapshot = tuple(self._environment.items())
        return self._snapshot

    # ---- problems

    def _warn(self, code: str, message: str, column: int = 0) -> None:
        self._warnings += 1
        if self._warnings <= MOST_PROBLEMS:
            self._report(Severity.WARNING, code, message, column)

    def _error(self, code: str, message: str, column: int = 0) -> None:
        self._errors += 1
        self._report(Severity.ERROR, code, message, column)

    def _report(self, severity: Severity, code: str, message: str, column: int) -> None:
        self.problems.append(
            Problem(self.source.name, self._line, column + 1, severity, code, _shown(message))
        )


def _word_start(line: str, start: int, index: int) -> int:
    words = Words(line, start)
    for _ in range(index + 1):
        words.next()
    return words.column


def _shown(message: str) -> str:
    """A message as it may be printed, without the middle of what is too long to read."""
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:200]}…{message[-200:]}"
    return printable(message)
