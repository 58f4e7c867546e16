"""Checks of the lines that set variables."""

import re
from collections.abc import Callable, Iterator

from pycron.crontab.assignment import Assignment
from pycron.crontab.odd_characters import ODD, described, without_odd
from pycron.lint import commands, shell_text
from pycron.lint.code import Code, note, warning
from pycron.lint.found import Found, Line
from pycron.schedule.expressions import NICKNAMES, ScheduleError, parse_cron
from pycron.schedule.fields import FieldError

TZ_NOT_SCHEDULE = note(
    "tz-not-schedule",
    "TZ is a variable of the commands: they print times of that zone. The fire times stay in the"
    " machine's zone. CRON_TZ sets the zone of the schedule.",
    "TZ=Asia/Tokyo\n30 4 * * * /usr/local/bin/report",
    "CRON_TZ=Asia/Tokyo\n30 4 * * * /usr/local/bin/report",
)
VARIABLE_SWALLOWS_ENTRY = warning(
    "variable-swallows-entry",
    "A variable has the rest of its line as its value. So this line is no entry, and nothing runs."
    " Only settings, whose names begin with CRON_, may stand in front of an entry.",
    "TZ=Asia/Tokyo 30 4 * * * /usr/local/bin/report",
    "CRON_TZ=Asia/Tokyo 30 4 * * * /usr/local/bin/report",
)
SHELL_NOT_PATH = warning(
    "shell-not-path",
    "SHELL must be a whole path, because cron does not look for the shell in PATH: every command"
    " below fails.",
    "SHELL=bash\n0 5 * * * /usr/local/bin/backup",
    "SHELL=/bin/bash\n0 5 * * * /usr/local/bin/backup",
)
SHELL_MISSING = warning(
    "shell-missing",
    "This machine has no such shell, so every command below fails. Checked for tables of this"
    " machine only.",
)
SUSPICIOUS_VARIABLE = warning(
    "suspicious-variable",
    "A variable whose name is no name of the shell, is a word of another program, or is one letter"
    " away from a variable that cron knows.",
    "MAILT0=ops@example.org\n0 5 * * * /usr/local/bin/backup",
    "MAILTO=ops@example.org\n0 5 * * * /usr/local/bin/backup",
)
NOT_EXPANDED = warning(
    "not-expanded",
    "cron does not expand variables, nor `~`, in the value of a variable: the commands get the text"
    " as it stands here.",
    "PATH=$PATH:/opt/bin\n0 5 * * * backup",
    "PATH=/usr/bin:/bin:/opt/bin\n0 5 * * * backup",
)
VALUE_COMMENT = warning(
    "value-comment",
    "A comment must have a line of its own: behind a value it becomes a part of the value.",
    "MAILTO=ops@example.org # the night shift\n0 5 * * * /usr/local/bin/backup",
    "MAILTO=ops@example.org\n0 5 * * * /usr/local/bin/backup",
)
FIXED_VARIABLE = warning(
    "fixed-variable",
    "USER and LOGNAME are always those of the user as whom the command runs: the line has no"
    " effect.",
    "USER=deploy\n0 5 * * * /usr/local/bin/backup",
    "0 5 * * * /usr/local/bin/backup",
)

_KNOWN = ("MAILTO", "MAILFROM", "SHELL", "PATH", "HOME", "LOGNAME", "CRON_TZ", "RANDOM_DELAY",
          "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING")  # fmt: skip
_ORDINARY = frozenset((*_KNOWN, "USER", "TZ"))
_OF_SYSTEMD = frozenset(("OnCalendar", "OnBootSec", "OnUnitActiveSec", "ExecStart", "WantedBy",
                         "Persistent", "Description", "AccuracySec"))  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_EXPANSION = re.compile(r"\$(?:[A-Za-z_]\w*|\{\w+\}|\()|`")
_OF_USER = re.compile(r"\$(?:\{(?:USER|LOGNAME)\}|(?:USER|LOGNAME)\b)")
_TILDE = re.compile(r"(?:^|:)~(?:/|$|:)")
_COMMENT = re.compile(r"[ \t]++#.*")
_SHELLS = {"bash": "/bin/bash", "sh": "/bin/sh", "dash": "/bin/dash"}
_ZONE = re.compile(r":?(?:[A-Z][A-Za-z_]+(?:/[A-Za-z_+0-9-]+)+|UTC|GMT|[A-Z]{3,4}[-+0-9].*)")


def checks(
    line: Line,
    assignment: Assignment,
    is_program: Callable[[str], bool] | None,
    has_zone: bool,
) -> Iterator[Found]:
    """What is wrong with a line that sets a variable.

    `is_program`: see CheckContext. `has_zone`: the table has a CRON_TZ.
    """
    name, value, _ = assignment
    swallowed = _swallowed(line, assignment)
    if swallowed:
        yield swallowed
        return
    if name == "TZ" and not has_zone and _ZONE.fullmatch(value):
        yield _found(TZ_NOT_SCHEDULE, line, assignment, "TZ does not change when the entries are"
                     " due, only what commands print", "write CRON_TZ for that")  # fmt: skip
    elif name == "SHELL":
        yield from _shell(line, assignment, is_program)
    elif name in ("USER", "LOGNAME"):
        message = f"{name} is always that of the user: the line has no effect"
        yield _found(FIXED_VARIABLE, line, assignment, message, "delete the line")
    elif name not in _ORDINARY:
        yield from _name(line, assignment)
    yield from _value(line, assignment)


def _found(
    code: Code, line: Line, at: Assignment, message: str, remedy: str, fix: str | None = None
) -> Found:
    """What is wrong with the whole assignment."""
    start = len(line.text) - len(line.text.lstrip(" \t"))
    return Found(code, start, len(line.text.rstrip(" \t")), message, remedy, fix)


def _swallowed(line: Line, at: Assignment) -> Found | None:
    """An entry in the value."""
    words = at.value.split()
    for first in range(min(3, len(words))):
        if words[first] in NICKNAMES or _are_fields(words[first : first + 5]):
            break
    else:
        return None
    if len(words) < first + (2 if words[first] in NICKNAMES else 6):
        return None
    fix = None
    remedy = "write the variable on a line of its own, above the entry"
    if at.name == "TZ" and first == 1:
        fix = line.text.replace("TZ", "CRON_TZ", 1)
        remedy = f"write CRON_TZ={words[0]} for the zone of the schedule"
    message = f"the value of {at.name} is the rest of the line: this is no entry, nothing runs"
    return _found(VARIABLE_SWALLOWS_ENTRY, line, at, message, remedy, fix)


def _are_fields(words: list[str]) -> bool:
    if len(words) < 5 or not all(word[0] in "*0123456789" for word in words[:3]):
        return False
    try:
        parse_cron(tuple(words))
    except (FieldError, ScheduleError):
        return False
    return True


def _shell(line: Line, at: Assignment, is_program: Callable[[str], bool] | None) -> Iterator[Found]:
    if not at.value.startswith("/"):
        path = _SHELLS.get(at.value)
        fix = f"SHELL={path}" if path else None
        message = f'"{at.value}" is no whole path: every command below fails'
        yield _found(SHELL_NOT_PATH, line, at, message, f"write {path or 'the path'}", fix)
    elif is_program is not None and not is_program(at.value):
        message = f"there is no {at.value} on this machine: every command below fails"
        yield _found(SHELL_MISSING, line, at, message, "install it, or choose another shell")


def _name(line: Line, at: Assignment) -> Iterator[Found]:
    name = at.name
    if name in _OF_SYSTEMD:
        message = f"{name} is a word of systemd, and a variable without effect here"
        yield _found(SUSPICIOUS_VARIABLE, line, at, message, "write an entry: five fields")
    elif not _NAME.fullmatch(name):
        message = f'"{name}" is no name of a variable'
        remedy = "names have letters, digits and _; a comment begins with #"
        yield _found(SUSPICIOUS_VARIABLE, line, at, message, remedy)
    elif meant := next((known for known in _KNOWN if _is_near(name, known)), None):
        message = f"{name} is a variable without a meaning for cron"
        yield _found(SUSPICIOUS_VARIABLE, line, at, message, f"did you mean {meant}?")


def _is_near(name: str, known: str) -> bool:
    """Whether a name is another one but for one letter, or for its case."""
    if abs(len(name) - len(known)) > 1 or len(name) < 4:
        return name.upper() == known
    if name.upper() == known:
        return True
    if len(name) == len(known):
        different = [i for i in range(len(name)) if name[i] != known[i]]
        swapped = len(different) == 2 and sorted(name) == sorted(known)
        return len(different) == 1 or (swapped and different[1] - different[0] == 1)
    short, long = sorted((name, known), key=len)
    if long[-1].isdigit():
        return False  # PATH2
    return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


def _value(line: Line, at: Assignment) -> Iterator[Found]:
    """What is wrong with a value, whatever its name is."""
    text, is_quoted = line.text, line.text[at.column : at.column + 1] in ("'", '"')
    value = _OF_USER.sub("", at.value) if at.name in ("MAILTO", "MAILFROM") else at.value
    comment = None if is_quoted else _COMMENT.search(text, at.column)
    if comment:
        message = f'"{comment[0].strip()[:40]}" is a part of the value, and no comment'
        yield Found(VALUE_COMMENT, comment.start(), comment.end(), message,
                    "write the comment on a line of its own", text[: comment.start()])  # fmt: skip
    elif "$" in value or "`" in value or "~" in value:
        # A value with blanks may be a command that an entry gives to a shell, which expands it.
        match = _EXPANSION.search(value) or _TILDE.search(value)
        if match and (at.name == "PATH" or not re.search("[ \t]", value)):
            message = f'"{match[0].strip(":")}" is not expanded: the value is the text as it stands'
            yield _found(NOT_EXPANDED, line, at, message, "write out what it stands for")
    if not text.isascii() and not is_quoted and (odd := ODD.search(at.value)):
        message, _, remedy = f"the value has {described(odd[0])}".partition(": ")
        start = at.column + odd.start()
        yield Found(shell_text.ODD_CHARACTER, start, start + 1, message, remedy, without_odd(text))
    if text.rstrip(" \t").endswith("\\"):
        message = "cron joins no lines: the value ends here, with the backslash"
        yield Found(
            commands.CONTINUATION, len(text.rstrip()) - 1, len(text), message, "write one line"
        )
