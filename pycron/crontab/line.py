"""The grammar of an entry's line. `read_entry` is the only function that takes such a line apart.

[-] (five fields | @nickname) [USER] [-nqs] COMMAND[%stdin]
"""

import re
from typing import NamedTuple

from pycron.crontab.identity import picker
from pycron.schedule.durations import UNITS
from pycron.schedule.expressions import (
    Schedule,
    ScheduleError,
    is_random,
    parse_cron,
    parse_nickname,
)
from pycron.schedule.fields import FIELDS, Field, FieldError
from pycron.schedule.packed import Packed, pack, pack_schedule

LONGEST_FIELD = 512  # characters; every minute of the hour takes 169
BLANKS = " \t"
_MOST_FLAGS = 100  # groups of flags before a command

# User names as useradd, LDAP and Active Directory make them. No path or option is one.
# The names of files that run-parts(8) takes: backups and copies have other names.
RUN_PARTS_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
USER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,255}\$?", re.ASCII)

# Each of these patterns also takes the blanks behind, so that the next word begins at its end. No
# repetition gives anything back (`++`), so each takes time that is linear in the line.
_FIVE_FIELDS = re.compile(
    r"[ \t]*+([^ \t@][^ \t]{0,511}+)" + r"[ \t]++([^ \t]{1,512}+)" * 4 + r"(?:[ \t]++|$)"
)
_WORD = re.compile(r"[ \t]*+([^ \t]*+)[ \t]*+")
_FLAGS = re.compile(r"-([A-Za-z]*+)(?:[ \t]++|$)")
_COMMAND = re.compile(r"(?:[^\\%]++|\\.|\\$)*+", re.DOTALL)
_UNESCAPED_PERCENT = re.compile(r"(?<!\\)%")


class LineError(Exception):
    """A line that cannot be read: a code, the reason, and the column where it is (from 0)."""

    def __init__(self, code: str, message: str, column: int) -> None:
        super().__init__(message)
        self.code = code
        self.column = column


class Flags(NamedTuple):
    """A group of flags, such as `-nq`: its letters, and the column of its dash."""

    letters: str
    column: int


class EntryLine(NamedTuple):
    """An entry, taken apart. `column`: where its schedule begins, from 0.

    `words`: the schedule as one word (`@daily`), two (`@every 90s`) or five fields. `user`: the
    table's owner, or the user column of a system table. `flags`: OpenBSD's -n (mail only on
    failure), -q (don't log) and -s (one at a time); cronie's leading `-` (don't log) is a `q`.
    `command_column`: where its command begins.
    """

    column: int
    words: tuple[str, ...]
    user: str
    flags: tuple[Flags, ...]
    command: str
    stdin: str | None
    command_column: int

    @property
    def letters(self) -> str:
        """All flags, without dashes."""
        return "".join([flags.letters for flags in self.flags]) if self.flags else ""


def read_entry(line: str, start: int, owner: str | None) -> EntryLine:
    """Take an entry apart that begins at column `start`, which is not blank.

    `owner`: the user whose table it is; None for a system table, which has a user column. Raises
    LineError for the leftmost mistake in the text, but a mistake in the schedule alone is left to
    `read_schedule`.
    """
    flags: tuple[Flags, ...] = ()
    column = start
    if line[start] == "-" and owner in (None, "root"):
        flags = (Flags("q", start),)
        column += 1
    words, position = _schedule_words(line, column)
    try:
        if line.startswith("*", position):  # Vixie's entry.c: a sixth field by mistake
            message = 'bad command: "*" (an entry has five fields, then the command)'
            raise LineError("bad-command", message, position)
        user = owner
        if user is None:
            more, position = _read_flags(line, position)
            flags += more
            user, position = _read_user(line, position)
        more, position = _read_flags(line, position)
        command, stdin = _read_command(line, position)
    except LineError:
        read_schedule(line, column, words, "", "")  # raises for a mistake further left
        raise
    return EntryLine(column, words, user, flags + more, command, stdin, position)


# ---- the schedule


def _schedule_words(line: str, column: int) -> tuple[tuple[str, ...], int]:
    """The words of the schedule, and the column behind them."""
    match = _FIVE_FIELDS.match(line, column)
    if match:
        return match.groups(), match.end()
    first, _, position = _next_word(line, column)
    if first == "@every":
        argument, _, position = _next_word(line, position)
        _check_unit(line, column, argument, position)
        return (first, argument), position
    if first == "@after":
        argument, _, position = _next_word(line, position)
        return (first, argument), position
    if first.startswith("@"):
        return (first,), position
    raise _field_error(line, column)


_CLOCK_TIME = re.compile(r"[0-9]{1,2}(?::[0-9]{2})?(?:am|pm)?", re.ASCII | re.IGNORECASE)


def _check_unit(line: str, column: int, argument: str, position: int) -> None:
    """Raise LineError if the duration lacks its unit, or goes on as a sentence does.

    The rest of the sentence would be the command: `minutes /usr/local/bin/x`.
    """
    word, _, behind = _next_word(line, position)
    if argument.isdecimal():
        unit = UNITS.get(word.lower())
        what = f"@every {argument} {word}" if unit else f"@every {argument}"
        hint = f"write @every {argument}{unit}" if unit else "a unit is missing: 90s, 10m, 1h, 2d"
        raise LineError("every-unit", f'bad time specifier: "{what}" ({hint})', column)
    after, _, _ = _next_word(line, behind)
    if word == "at" and _CLOCK_TIME.fullmatch(after):
        what = f"@every {argument} at {after}"
        hint = "@every counts from 1970; five fields say a time of day: 0 3 * * *"
        raise LineError("every-unit", f'bad time specifier: "{what}" ({hint})', column)


def _field_error(line: str, column: int) -> LineError:
    """The error for five fields of which one is missing or too long."""
    fields: list[tuple[Field, str, int]] = []
    position = column
    for field in FIELDS:
        text, column, position = _next_word(line, position)
        if not text and fields:
            message = f'bad {field}: "" (an entry has five fields and a command)'
            return LineError(f"bad-{field}", message, column)
        fields.append((field, text, column))
    field, text, column = next(each for each in fields if len(each[1]) > LONGEST_FIELD)
    message = f'bad {field}: "{text}" (longer than {LONGEST_FIELD} characters)'
    return LineError(f"bad-{field}", message, column)


def schedule_of(words: tuple[str, ...], host: str, key: str) -> Schedule:
    """The schedule of an entry's words. Raises FieldError or ScheduleError.

    `host` and `key` (from `twin_key`) decide `~` and `H`.
    """
    if words[0].startswith("@"):
        return parse_nickname(*words)
    return parse_cron(words, picker(host, key))


def read_schedule(
    line: str, column: int, words: tuple[str, ...], host: str, key: str
) -> Packed | Schedule:
    """The schedule at a column of a line, packed if that is possible. Raises LineError."""
    try:
        packed = None if words[0].startswith("@") or is_random("".join(words)) else pack(words)
        return packed or pack_schedule(schedule_of(words, host, key))
    except FieldError as error:
        column = _column_of_word(line, column, FIELDS.index(error.field)) + error.offset
        raise LineError(f"bad-{error.field}", str(error), column) from None
    except ScheduleError as error:
        column = _column_of_word(line, column, 2 if error.code == "never-fires" else 0)
        raise LineError(error.code, str(error), column) from None


# ---- behind the schedule


def _read_flags(line: str, position: int) -> tuple[tuple[Flags, ...], int]:
    """The groups of flags that begin here, and the column behind them."""
    found: list[Flags] = []
    while match := _FLAGS.match(line, position):
        if not match[1] or set(match[1]) - set("nqs"):
            raise LineError("bad-option", f'bad option: "-{match[1]}" (-n, -q, -s)', position)
        found.append(Flags(match[1], position))
        position = match.end()
        if len(found) > _MOST_FLAGS:
            message = f"more than {_MOST_FLAGS} groups of options"
            raise LineError("bad-option", message, position)
    return tuple(found), position


def _read_user(line: str, position: int) -> tuple[str, int]:
    """The user column of a system table, and the column behind it."""
    user, column, position = _next_word(line, position)
    if not USER_NAME.fullmatch(user):
        reason = "a system table has a user before the command"
        raise LineError("bad-username", f'bad username: "{user}" ({reason})', column)
    return user, position


def _read_command(line: str, position: int) -> tuple[str, str | None]:
    command, stdin = split_command(line[position:])
    if not command:
        raise LineError("bad-command", 'bad command: "" (no command)', len(line))
    return command, stdin


def split_command(text: str) -> tuple[str, str | None]:
    """The command, and its standard input: what follows the first `%`, each `%` being a newline.

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


# ---- words


def _next_word(line: str, position: int) -> tuple[str, int, int]:
    """The next word (empty at the end of the line), its column, and the column behind it."""
    match = _WORD.match(line, position)
    assert match
    return match[1], match.start(1), match.end()


def _column_of_word(line: str, column: int, index: int) -> int:
    """Where the word of this index begins, counted from a column on."""
    for _ in range(index):
        _, _, column = _next_word(line, column)
    return _next_word(line, column)[1]
