"""The mistakes that people make in lines that cannot be read: what the message names.

A reader that goes from left to right says `bad month: "nightly"` of prose, of six fields and of a
line that goes on after a backslash. Only a line with an error comes here, so the daemon imports
this module when there is one.
"""

import re
from collections.abc import Iterator

from pycron.crontab.line import LineError
from pycron.crontab.odd_characters import ODD, described
from pycron.crontab.users import MISSING_COLUMN, is_command
from pycron.model.settings import SETTINGS
from pycron.schedule.durations import UNITS
from pycron.schedule.expressions import NICKNAMES, ScheduleError, parse_cron
from pycron.schedule.fields import FIELDS, FieldError

_FIELD = re.compile(r"[-0-9*?,/~#LWH()]+|(?:[0-9]+-)?[A-Za-z]{3}(?:[-,#/][0-9A-Za-z]+)*")
_BEGINNING = re.compile(r"[ \t]*+(?:[0-9*@~#]|H(?![A-Za-z]))")
_WORD = re.compile(r"[ \t]*+([^\W\d_]++(?=[.,:!?]?+(?:[ \t]|$))|//|;|--|/\*)")
_COMMENT_OF_C = re.compile(r"[ \t]*+(\*)/?(?:[ \t]++[^\W\d_]{2}|[ \t]*+$)")
_PLACEHOLDER = re.compile(r"[ \t]*+(\$\{|\{\{|\{%|%%|@@|__[A-Z]|<[A-Za-z])[^ \t]*+")
_EXPORT = re.compile(r"[ \t]*+(export|set|setenv|declare -x)[ \t]++([A-Za-z_][A-Za-z0-9_]*+)"
                     r"[ \t]*+=?[ \t]*+(.*)")  # fmt: skip
_QUOTED = re.compile(r"""[ \t]*+([^ \t="']++)[ \t]*+=[ \t]*+(["'])""")
_SETTING = re.compile(r"[ \t]*+(CRON_[A-Z_]++)[ \t]*+=[ \t]*+([^ \t\"']++)[ \t]++(.*)")
_BAD_WORD = re.compile(r'bad [\w -]+: "(@?[A-Za-z/][^"]+)" \(')
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_EXPLAINED = frozenset((
    "bad-command", "bad-username", "bad-option", "bad-time-specifier",
    *(f"bad-{field}" for field in FIELDS),
))  # fmt: skip


def explained(error: LineError, line: str, before: str) -> LineError:
    """The error of a line, in terms of what its author did. `before`: the line above."""
    if error.code not in _EXPLAINED:
        return error
    for find in _FINDERS:
        better = find(error, line)
        if better is not None:
            return better
    if before.endswith("\\") and not _BEGINNING.match(line):
        reason = "the line above ends with a backslash, but cron joins no lines: write one line"
        return _explained(error, "continuation", reason)
    return _prose(line) or error


def _explained(error: LineError, code: str, reason: str, column: int | None = None) -> LineError:
    """The error with another reason in parentheses."""
    what, _, _ = str(error).partition(" (")
    return LineError(code, f"{what} ({reason})", error.column if column is None else column)


def _odd_character(error: LineError, line: str) -> LineError | None:
    """A dash, a quote or a blank that is none of ASCII, in one of the five fields."""
    fields = re.match(r"[ \t]*+(?:[^ \t]++[ \t]*+){1,5}", line)
    match = ODD.search(line, 0, fields.end()) if fields else None
    if match is None:
        return None
    return _explained(error, "odd-character", described(match[0]), match.start())


def _export(_error: LineError, line: str) -> LineError | None:
    match = _EXPORT.fullmatch(line)
    if match is None:
        return None
    word, name, value = match.groups()
    shown = f"{word} {name}"
    message = f'bad variable: "{shown}" (a table is no shell script: write {name}={value})'
    return LineError("export", message, match.start(1))


def _quotes(_error: LineError, line: str) -> LineError | None:
    """A variable whose value has a quote without partner, or text behind the second quote."""
    match = _QUOTED.match(line)
    if match is None or match[1].startswith("CRON_"):
        return None
    reason = "nothing may follow the closing quote, also no comment; a quote needs a partner"
    return LineError("bad-quotes", f'bad variable: "{match[1]}" ({reason})', match.start(2))


def _missing_field(error: LineError, _line: str) -> LineError | None:
    """`0 2 * * backup`: the command stands where the fifth field should be."""
    word = _BAD_WORD.match(str(error))
    if error.code != f"bad-{FIELDS[-1]}" or word is None or word[1][:3].lower() in _DAYS:
        return None
    return _explained(error, error.code, f"a field is missing: five, then the command, {word[1]}")


def _nickname(error: LineError, _line: str) -> LineError | None:
    """`@dayly`."""
    import difflib  # 300 KiB, and only a mistake asks for it

    word = _BAD_WORD.match(str(error))
    known = [*NICKNAMES, "@reboot"]
    if error.code != "bad-time-specifier" or word is None or word[1].lower() in known:
        return None
    alike = difflib.get_close_matches(word[1][:20].lower(), known, n=1, cutoff=0.7)
    return _explained(error, error.code, f"did you mean {alike[0]}?") if alike else None


def _user(error: LineError, line: str) -> LineError | None:
    """`5 * * * * test -x /x` in a system table: the option is behind what should be the user."""
    words = line[: error.column].split()
    if error.code != "bad-option" or not words or not is_command(words[-1]):
        return None
    message = f'bad username: "{words[-1]}" ({MISSING_COLUMN})'
    return LineError("bad-username", message, line.index(words[-1]))


def _setting_with_blanks(_error: LineError, line: str) -> LineError | None:
    """`CRON_TIMEOUT=1 hour`: what follows the value is no entry."""
    match = _SETTING.fullmatch(line)
    if match is None or match[1] not in SETTINGS:
        return None
    name, value, rest = match.groups()
    words = list(_words_before_fields(rest))
    if not words:
        return None
    unit = UNITS.get(words[0].lower()) if value.isdecimal() else None
    remedy = f"write {value}{unit}" if unit else f"{SETTINGS[name].form}; quotes around blanks"
    shown = "not shown" if SETTINGS[name].secret else f'"{" ".join([value, *words])}"'
    return LineError("bad-setting", f"bad {name}: {shown} ({remedy})", match.start(2))


def _words_before_fields(text: str) -> Iterator[str]:
    """The words before something that begins as an entry or a setting does."""
    for word in text.split():
        if word[0] in "@*" or word[0].isdecimal() or "=" in word:
            return
        yield word


def _six_fields(error: LineError, line: str) -> LineError | None:
    """Seconds in front of the five fields, as Quartz, Spring and cron of Go have them."""
    words = line.split(maxsplit=6)[:6]
    if len(words) < 6 or words[0][0] not in "0123456789*" or not all(map(_FIELD.fullmatch, words)):
        return None
    five = [re.sub("^0/", "*/", word.replace("?", "*")) for word in words[1:]]
    try:
        parse_cron(tuple(five))
    except (FieldError, ScheduleError):
        return None
    reason = f"six fields, but cron has no field for seconds: write {' '.join(five)}"
    return _explained(error, "seconds-field", reason)


def _placeholder(_error: LineError, line: str) -> LineError | None:
    match = _PLACEHOLDER.match(line)
    if match is None:
        return None
    reason = "a placeholder that nobody has filled in, or HTML"
    return LineError("placeholder", f'bad minute: "{match[0].strip()}" ({reason})', match.start(1))


def _prose(line: str) -> LineError | None:
    """A line that begins with a word, as no entry does."""
    match = _WORD.match(line) or _COMMENT_OF_C.match(line)
    if match is None or match[1] == "H":
        return None
    nickname = f"@{match[1].lower()}"
    reason = "no entry: it begins with five fields or a nickname such as @daily; a comment with #"
    if nickname in NICKNAMES or nickname == "@reboot":
        reason = f"did you mean {nickname}?"
    return LineError("prose", f'bad minute: "{match[1]}" ({reason})', match.start(1))


_FINDERS = (_odd_character, _export, _quotes, _setting_with_blanks, _six_fields, _missing_field,
            _nickname, _user, _placeholder)  # fmt: skip
