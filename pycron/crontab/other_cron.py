r"""What another cron takes, as far as it differs from pycron: Debian's cron and cronie.

Sources: Debian's cron 3.0pl1-162 (entry.c, env.c, database.c, user.c) and cronie 1.7 (the same
files), and what they did when they were run.

    what                          Debian's cron                         cronie
    a bad line                    discards the whole table              skips the line
    no newline at the end         discards the whole table              drops the last line
    junk behind a field (1-3-5)   cuts it off                           bad line
    CRON_TZ                       a variable without effect             the zone, without DST rules
    NAME= without a value         bad line                              an empty value
    `-` before the fields         bad line                              no log
    flags before the command      a part of the command                 -n; -q and -s as Debian
    a command above 998 bytes     bad line                              taken
    a\\b in a command             a\b                                   unchanged
    a user that does not exist    discards the system table             the line fails when due
"""

import re
from dataclasses import dataclass

from pycron.crontab.line import RUN_PARTS_NAME, EntryLine
from pycron.schedule.fields import FIELDS, Field

_NICKNAMES = frozenset({"@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily",
                        "@midnight", "@hourly"})  # fmt: skip
_LONGEST_COMMAND = 998  # characters, in Debian's cron
_MOST_LINES = 10_000  # of a table, in Debian's cron


@dataclass(frozen=True, slots=True)
class OtherRules:
    """The rules of the other cron. `name`: in a sentence. `path`: the PATH of its commands.

    `discards`: a bad line makes it ignore the whole table. `has_zones`: it obeys CRON_TZ. `flags`:
    the flags before a command that it knows.
    """

    name: str
    path: str
    discards: bool
    has_zones: bool
    flags: str


DEBIAN = OtherRules("Debian's cron", "/usr/bin:/bin", discards=True, has_zones=False, flags="")
CRONIE = OtherRules("cronie", "/usr/bin:/bin:/usr/sbin:/sbin", discards=False, has_zones=True,
                    flags="n")  # fmt: skip


# ---- files


def name_is_ignored(rules: OtherRules, name: str) -> bool:
    """Whether the other cron passes over a file of /etc/cron.d because of its name."""
    if rules is DEBIAN:
        return RUN_PARTS_NAME.fullmatch(name) is None
    return name.startswith((".", "#")) or name.endswith(("~", ".rpmsave", ".rpmorig", ".rpmnew"))


def why_file_is_ignored(
    rules: OtherRules, mode: int, links: int, *, is_user_table: bool, right_owner: bool
) -> str | None:
    """Why the other cron does not run a table file; None if it does. `mode`: permission bits."""
    if not right_owner:
        return "it belongs to the wrong user"
    if rules is DEBIAN and is_user_table and mode != 0o600:
        return f"its mode is {mode:04o}, not 0600"
    if rules is DEBIAN and not is_user_table and mode & 0o022:
        return f"others can write to it (mode {mode:04o})"
    if rules is CRONIE and mode & 0o7533 != 0o400:
        return f"its mode is {mode:04o}"
    if links != 1 and (rules is DEBIAN or is_user_table):
        return f"it has {links} names"
    return None


def why_text_is_discarded(rules: OtherRules, text: str) -> str | None:
    """Why the other cron takes nothing of a text, whatever its lines are."""
    if not rules.discards:
        return None
    if not is_empty_line(text.rpartition("\n")[2]):
        return "its last line has no newline at its end"
    if text.count("\n") > _MOST_LINES:
        return f"it has more than {_MOST_LINES} lines"
    return None


# ---- lines that pycron takes


def is_empty_line(line: str) -> bool:
    """Whether a line is blank or a comment."""
    return line.lstrip(" \t")[:1] in ("", "#")


def why_variable_is_bad(rules: OtherRules, line: str) -> str | None:
    """Why the other cron takes a variable's line for a bad entry."""
    if rules.discards and line.rstrip(" \t").endswith("="):
        return 'no value behind the = (write NAME="")'
    return None


_MAILTO = re.compile(r"""[ \t]*+["']?+MAILTO["']?+[ \t]*+=[ \t]*+""")


def sends_no_mail(rules: OtherRules, line: str) -> bool:
    """Whether a line sets MAILTO to what the other cron calls unsafe. cronie expands `$`."""
    match = _MAILTO.match(line)
    value = line[match.end() :].rstrip(" \t\r") if match else ""
    if value[:1] in ("'", '"') and len(value) > 1 and value[0] == value[-1]:
        value = value[1:-1]
    if not value or ("$" in value and not rules.discards):
        return False
    more = "=/" if rules.discards else ""
    return re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9@!:%.,_+{more}-]*+", value, re.ASCII) is None


def why_entry_is_bad(rules: OtherRules, entry: EntryLine) -> str | None:
    """Why the other cron does not take an entry; None if it takes at least a part of it."""
    words = entry.words
    if words[0].startswith("@"):
        return None if words[0] in _NICKNAMES else f'bad time specifier: "{words[0]}"'
    if has_leading_dash(entry) and rules.discards:
        return 'bad minute: a "-" before the fields'
    for field, text in zip(FIELDS, words, strict=True):
        if debian_field(text, field) is None if rules.discards else _OURS.search(text):
            return f'bad {field}: "{text}"'
    if rules.discards and len(entry.command) + len(entry.stdin or "") > _LONGEST_COMMAND:
        return f"a command of more than {_LONGEST_COMMAND} characters"
    return None


def has_leading_dash(entry: EntryLine) -> bool:
    """Whether a `-` stands before the fields (cronie: no log)."""
    return bool(entry.flags) and entry.flags[0].column < entry.column


# Elements that cronie does not know: ?, H, L, L-3, 15W, 5L, 5#2, and a step behind `~`.
_OURS = re.compile(
    r"(?:^|,)(?:\?|H(?![A-Za-z])|(?i:LW?(?![A-Za-z])|[0-9]+[LW]|[A-Za-z]{3}L)|[0-9A-Za-z]+#"
    r"|[^,]*~[^,]*/)"
)


def cut_field(entry: EntryLine) -> tuple[str, str] | None:
    """The first field of which Debian's cron takes a part only, and that part."""
    if entry.words[0].startswith("@"):
        return None
    for field, text in zip(FIELDS, entry.words, strict=True):
        taken = debian_field(text, field)
        if taken is not None and taken != text:
            return text, taken
    return None


_VALUE = r"(?:[0-9]+|[A-Za-z]{3})(?![0-9A-Za-z])"
_PART = rf"(?:\*|{_VALUE}-{_VALUE})(?:/[0-9]+(?![0-9A-Za-z]))?|{_VALUE}(?![/-])"
_LIST = re.compile(rf"(?:{_PART})(?:,(?:{_PART}))*(?!,)", re.ASCII)


def debian_field(text: str, field: Field) -> str | None:
    """What Debian's cron takes of a field: it skips what follows; None if the field is bad."""
    match = _LIST.match(text)
    if match is None or re.search("/0+(?![0-9])", match[0]):
        return None
    values = re.findall(r"(?<![/0-9A-Za-z])[0-9A-Za-z]+", match[0])
    return match[0] if all(_is_value(value, field) for value in values) else None


def _is_value(text: str, field: Field) -> bool:
    if text.isdecimal():
        return field.low <= int(text) <= field.high
    return text.lower() in field.names


def debian_takes_fields(line: str) -> bool:
    """Whether the five fields of a line are good for Debian's cron."""
    words = line.split()
    if len(words) <= len(FIELDS):
        return False
    return all(debian_field(text, field) is not None
               for text, field in zip(words, FIELDS, strict=False))  # fmt: skip
