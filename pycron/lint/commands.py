"""Checks of commands: what cron and the shell make of them before they run."""

import re
from collections.abc import Callable, Iterator

from pycron.crontab.other_cron import DEBIAN
from pycron.lint.code import warning
from pycron.lint.found import Entry, Found

PERCENT = warning(
    "percent",
    "cron ends the command at the first `%` without a backslash, and gives the rest to it as its"
    " standard input. Quotes do not help. `pycron list --json` and `pycron show` print what became"
    " the input.",
    "0 5 * * * tar cf /srv/backup-$(date +%F).tar /srv/data",
    "0 5 * * * tar cf /srv/backup-$(date +\\%F).tar /srv/data",
)
USER_COLUMN = warning(
    "user-column",
    "A user's own table has no user column, so the user's name is the program that the shell looks"
    " for. Only system tables, in /etc/cron.d and the like, have that column.",
    "0 5 * * * root /usr/local/sbin/backup",
    "0 5 * * * /usr/local/sbin/backup",
)
QUOTED_COMMAND = warning(
    "quoted-command",
    "The whole command is in quotes, so the shell looks for one program with blanks in its name.",
    "0 5 * * * '/usr/local/bin/backup --all'",
    "0 5 * * * /usr/local/bin/backup --all",
)
REDIRECT_ORDER = warning(
    "redirect-order",
    "`2>&1 >file` sends errors to where the output went before, so cron mails them, and only the"
    " output to the file. For both, `2>&1` comes last.",
    "0 5 * * * /usr/local/bin/backup 2>&1 >/var/log/backup.log",
    "0 5 * * * /usr/local/bin/backup >/var/log/backup.log 2>&1",
)
RELATIVE_COMMAND = warning(
    "relative-command",
    "A command starts in the home directory of its user, so that is where a path without a leading"
    " slash is looked for.",
    "0 5 * * * ./backup.sh",
    "0 5 * * * /srv/backup/backup.sh",
)
COMMAND_NOT_FOUND = warning(
    "command-not-found",
    "The PATH of the Job has no such program. cron's PATH is /usr/bin:/bin unless the table sets"
    " another: shorter than that of a login. Checked for tables of this machine only.",
)
CONTINUATION = warning(
    "continuation",
    "The line ends with a backslash. cron joins no lines: the command ends here, and the next line"
    " is an entry of its own, and a bad one.",
    "0 5 * * * rsync -a /srv/data \\",
    "0 5 * * * rsync -a /srv/data backup:/srv/data",
)

_USERS = frozenset(("root", "www-data", "nobody", "apache", "ubuntu", "ec2-user", "vagrant"))
_DATE_FORMAT = re.compile(r"\bdate\b[^|;&%]{0,200}\+[^|;&% \t]{0,200}$")
_OPENERS = re.compile(r"""\\.|\$\(|[()"'`]""", re.DOTALL)
_WHOLLY_QUOTED = re.compile(r"""[ \t]*+(?:"([^"$`\\]*+)"|'([^']*+)')[ \t]*+""")
_REDIRECTS = re.compile(
    r"2>&1[ \t]*+(>>?[ \t]*+[^ \t|&;<>()]++)(?=[ \t]*+(?:[&;)]|$|[^|&;<>() \t]))"
)
_RELATIVE = re.compile(r"[ \t]*+(\.{1,2}/[^ \t;|&]*+|[A-Za-z0-9_][\w.-]*+/[\w./-]*+)(?=[ \t;|&]|$)")
_FIRST_WORD = re.compile(
    r"""[ \t]*+(?:[A-Za-z_]\w*+=[^ \t"'$`;|&()]*+[ \t]++)*([\w./+@-]++)(?=[ \t;|&<>]|$)"""
)
_BACKSLASHES = re.compile(r"(?<!\\)(\\++)[ \t]*+$")
_OWN_PROGRAMS = frozenset(("pycron", "pycrontab", "pycrond"))  # the daemon adds their directory
_BUILT_IN = frozenset((
    "if", "for", "while", "until", "case", "[", "[[", "test", "cd", "echo", "printf", "exit",
    "export", "eval", "exec", "source", ".", "true", "false", ":", "set", "unset", "umask",
    "ulimit", "read", "trap", "wait", "alias", "command", "type", "kill", "then", "do", "else",
    "{", "(", "!", "time", "function", "pushd", "popd", "let", "local", "shopt", "shift", "hash",
))  # fmt: skip


def checks(entry: Entry, is_program: Callable[[str], bool] | None) -> Iterator[Found]:
    """What is wrong with a command. `is_program`: see CheckContext."""
    if "%" in entry.text:
        yield from _percent(entry)
    if entry.owner is not None:
        yield from _user_column(entry)
    if entry.command[:1] in ("'", '"'):
        yield from _quoted_command(entry)
    if "2>&1" in entry.text:
        yield from _redirect_order(entry)
    if "/" in entry.text:
        yield from _relative_command(entry)
    if entry.text.rstrip(" \t").endswith("\\"):
        yield from _continuation(entry)
    if is_program is not None:
        yield from _command_not_found(entry, is_program)


def _percent(entry: Entry) -> Iterator[Found]:
    """A percent sign that ends the command within quotes, `$(…)` or a format of date."""
    before = entry.command
    at = entry.command_start + len(before)
    rest = entry.text[at:]
    if not rest or not (_is_open(before) or _DATE_FORMAT.search(before)):
        return
    fix = entry.text[:at] + re.sub(r"(?<!\\)%", r"\\%", rest)
    message = f'the command ends before this "%": its input is "{rest[1:41]}"'
    yield Found(PERCENT, at, at + 1, message, "write \\% for a percent sign", fix)


def _is_open(text: str) -> bool:
    """Whether a quote, a backquote or `$(` has no end in a text, by the rules of the shell."""
    inside: list[str] = []
    for match in _OPENERS.finditer(text):
        sign = match[0]
        top = inside[-1] if inside else ""
        if top == "'" or (top == '"' and sign in ("'", ")", "(")):
            if sign == top:
                inside.pop()
        elif sign == ")":
            if top in ("$(", "("):
                inside.pop()
        elif sign == top and sign in ("'", '"', "`"):
            inside.pop()
        elif len(sign) == 1 or sign == "$(":
            inside.append(sign)
    return any(sign != "(" for sign in inside)


def _user_column(entry: Entry) -> Iterator[Found]:
    user, _, rest = entry.command.partition(" ")
    if user in _USERS and rest.strip():
        start = entry.command_start
        message = f'"{user}" is run as the program: a user\'s own table has no user column'
        remedy = "delete the word; or check it as a system table (--system-table)"
        yield Found(USER_COLUMN, start, start + len(user), message, remedy)


def _quoted_command(entry: Entry) -> Iterator[Found]:
    match = _WHOLLY_QUOTED.fullmatch(entry.command)
    inner = (match[1] or match[2] or "").strip() if match else ""
    if match and " " in inner:
        message = "the shell looks for one program with this whole name"
        remedy = "leave the quotes out"
        yield entry.found(QUOTED_COMMAND, match, message, remedy, entry.with_command(inner))


def _redirect_order(entry: Entry) -> Iterator[Found]:
    match = _REDIRECTS.search(entry.unquoted)
    if match:
        target = entry.command[match.start(1) : match.end(1)]
        command = entry.command
        fix = f"{command[: match.start()]}{target} 2>&1{command[match.end() :]}"
        message = "errors do not go to the file: 2>&1 comes before it"
        remedy = f"write {target} 2>&1"
        yield entry.found(REDIRECT_ORDER, match, message, remedy, entry.with_command(fix))


def _relative_command(entry: Entry) -> Iterator[Found]:
    match = _RELATIVE.match(entry.command)
    if match and entry.settings.cwd is None and "HOME" not in entry.variables:
        message = f'"{match[1]}" is looked for in the home directory'
        yield entry.found(RELATIVE_COMMAND, match, message, "write the whole path, or set CRON_CWD")


def _continuation(entry: Entry) -> Iterator[Found]:
    match = _BACKSLASHES.search(entry.text)
    if match and len(match[1]) % 2:
        message = "cron joins no lines: the command ends here"
        yield Found(CONTINUATION, *match.span(1), message, "write it on one line")


def _command_not_found(entry: Entry, is_program: Callable[[str], bool]) -> Iterator[Found]:
    match = _FIRST_WORD.match(entry.command)
    if match is None or match[1] in _BUILT_IN or match[1] in _OWN_PROGRAMS:
        return
    word = match[1]
    start, end = (entry.command_start + place for place in match.span(1))
    if word.startswith("/"):
        if not is_program(word):
            message = f"there is no program {word} on this machine"
            yield Found(COMMAND_NOT_FOUND, start, end, message, "install it, or mend the path")
        return
    path = entry.variables.get("PATH", DEBIAN.path)
    if "/" not in word and not any(is_program(f"{each}/{word}") for each in path.split(":")):
        message = f"the PATH of this Job, {path}, has no program {word}"
        yield Found(COMMAND_NOT_FOUND, start, end, message, "write its whole path, or set PATH")
