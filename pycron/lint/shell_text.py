"""Checks of commands as the shell reads them: words of bash, passwords, parts of examples."""

import re
from collections.abc import Iterator
from dataclasses import replace

from pycron.crontab.odd_characters import ODD, described, without_odd
from pycron.lint.code import Code, note, warning
from pycron.lint.found import Entry, Found
from pycron.model.problem import Severity

PLACEHOLDER = warning(
    "placeholder",
    "A part of an example that was to be filled in.",
    "0 5 * * * /path/to/backup.sh",
    "0 5 * * * /usr/local/bin/backup.sh",
)
SECRET = warning(
    "secret",
    "Each user of the machine can read a password on a command line (ps), and it is in the mail's"
    " subject and in the history. Put it into a file that only the command can read.",
    "0 5 * * * mysqldump -u shop -pTu7kanu shop >/srv/shop.sql",
    "0 5 * * * mysqldump --defaults-extra-file=/etc/shop.cnf shop >/srv/shop.sql",
)
BASHISM = note(
    "bashism",
    "cron runs commands with /bin/sh, which on Debian and Ubuntu is dash: it does not know this"
    " word of bash. `SHELL=/bin/bash` above the entry changes the shell. It is a warning if the"
    " /bin/sh of this machine is not bash, and nothing if it is.",
    "0 5 * * * /usr/local/bin/backup &> /var/log/backup.log",
    "0 5 * * * /usr/local/bin/backup > /var/log/backup.log 2>&1",
)
ODD_CHARACTER = warning(
    "odd-character",
    "A character that looks like one of ASCII, but is none: a dash, a quote or a blank, as word"
    " processors and web pages write them. The shell takes it for a letter.",
    "0 5 * * * /usr/local/bin/backup \u2013verbose",
    "0 5 * * * /usr/local/bin/backup -verbose",
)

_PLACEHOLDER = re.compile(
    r"/?path/to/?\b|/path_to/|<(?:your|my|the)?[ _-]?[A-Za-z]+(?:[ _-][A-Za-z]+)*>(?![ \t]*[/\w.])"
    r"|\b(?:YOUR|MY)[_-][A-Z][A-Z_-]*|\byour[_-](?:user|name|domain|server|site|app|project|script"
    r"|host|token|key|id)\w*|\{\{[^{}]*\}\}|(?<![\w.])@[A-Za-z_]+@(?![\w.])|\bCHANGE_?ME\b"
)
# The gaps between two words are bounded, so that a hostile command costs linear time.
_SECRETS = tuple(
    map(
        re.compile,
        (
            r"--(?:password|passwd|pass|token|secret|api-?key)[= ](?=[^ \t$\"'<>-])[^ \t;|&]{3,}",
            r"""--(?:password|passwd|pass|token|secret|api-?key)[= ](["'])(?!\$)[^"'$`]+\1""",
            r"""\b(?:mysql|mariadb)\w{0,20}\b[^|;&]{0,200}? -p["']?(?=[^ \t$`"'<])[^ \t;|&]{2,}""",
            r"""\b(?:PGPASSWORD|MYSQL_PWD|SSHPASS|RESTIC_PASSWORD|BORG_PASSPHRASE)="""
            r"""["']?(?=[^ \t$`"'])[^ \t;|&]+""",
            r"\bsshpass[ \t]+-p[ \t]*(?=[^ \t$])[^ \t;|&]+",
            r"""\b(?:curl|wget)\b[^|;&]{0,200}? (?:-u|--user)[= ]?["']?[\w.@-]+:"""
            r"""(?=[^ \t$"'])[^ \t;|&]+""",
            r"\b(?:https?|s?ftps?)://[\w.%-]+:(?=[^@/ \t$])[^@/ \t]+@",
        ),
    )
)
_BASHISM = re.compile(
    r"(&>>?)|(\[\[)(?=[ \t])|(<<<)|(?<![\w<>])([<>]\()|(?:^|[;&|(][ \t]*|[ \t](?:then|do)[ \t]+)"
    r"(source|pushd|popd|shopt)(?=[ \t])|(\{[0-9]+\.\.[0-9]+\})|(\|&)"
    r"|[ \t](==)(?=[ \t][^]]{0,200}\])"
)
_VARIABLE_OF_BASH = re.compile(
    r"(\$(?:RANDOM\b|BASH_\w+|\{RANDOM[}%:]|\(\([ \t]*RANDOM\b))"
    r"|(\$\{[A-Za-z_]\w{0,60}(?:/|:[0-9]|\^|,))"
)
_AMPERSAND_REDIRECT = re.compile(r"&(>>?)[ \t]*+([^ \t|&;<>()]++)")
_OPTION_DASH = re.compile("(?<=[ \t])[\u2010-\u2015\u2212]+-?(?=[A-Za-z])")
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff]")
_SECRET_WORD = re.compile(r"pass|PASS|_PWD|token|secret|api-?key|mysql|mariadb|curl|wget|://")
_POSIX_SHELLS = ("/sh", "/dash", "/ash")
_SURE_BASHISM = replace(BASHISM, severity=Severity.WARNING)


def checks(entry: Entry, sh: str | None) -> Iterator[Found]:
    """What is wrong with the text of a command. `sh`: see CheckContext."""
    command = entry.command
    if not command.isascii():
        yield from _odd_characters(entry)
    yield from _placeholders(entry)
    yield from _secrets(entry)
    if sh != "bash" and entry.variables.get("SHELL", "/bin/sh").endswith(_POSIX_SHELLS):
        yield from _bashisms(entry, _SURE_BASHISM if sh else BASHISM)


def _placeholders(entry: Entry) -> Iterator[Found]:
    match = _PLACEHOLDER.search(entry.command)
    if match:
        message = f'"{match[0]}" is a part of an example'
        yield entry.found(PLACEHOLDER, match, message, "fill it in")


def _secrets(entry: Entry) -> Iterator[Found]:
    command = entry.command
    if not _SECRET_WORD.search(command):
        return
    for pattern in _SECRETS:
        match = pattern.search(command)
        if match:
            message = "a password on the command line, which each user of the machine can read"
            remedy = "put it into a file that only the command can read"
            yield entry.found(SECRET, match, message, remedy)
            return


def _bashisms(entry: Entry, code: Code) -> Iterator[Found]:
    match = _BASHISM.search(entry.unquoted) or _VARIABLE_OF_BASH.search(entry.without_literals)
    if match is None:
        return
    word = next(filter(None, match.groups()))
    redirect = _AMPERSAND_REDIRECT.match(entry.unquoted, match.start())
    fix = None
    remedy = "set SHELL=/bin/bash above, or write it for sh"
    if redirect:
        start, end = redirect.span()
        written = f"{redirect[1]}{entry.command[redirect.start(2) : end]} 2>&1"
        fix = entry.with_command(entry.command[:start] + written + entry.command[end:])
        remedy = f"write {written}"
    message = f'"{word}" is a word of bash, but the shell is sh'
    yield entry.found(code, match, message, remedy, fix)


def _odd_characters(entry: Entry) -> Iterator[Found]:
    """Outside quotes, each of them; inside, only what nobody sees."""
    unquoted = entry.unquoted
    match = (
        _INVISIBLE.search(entry.command) or _OPTION_DASH.search(unquoted) or ODD.search(unquoted)
    )
    if match is None:
        return
    fixed = "".join(
        without_odd(plain) if plain == character or _INVISIBLE.match(character) else character
        for plain, character in zip(unquoted, entry.command, strict=True)
    )
    message = f"the command has {described(match[0][0])}"
    message, _, remedy = message.partition(": ")
    is_option = _OPTION_DASH.match(unquoted, match.start())  # which may have had two dashes
    fix = None if is_option else entry.with_command(fixed)
    yield entry.found(ODD_CHARACTER, match, message, remedy, fix)
