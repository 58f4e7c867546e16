"""Users of a system table whom the machine does not know."""

import re
from collections.abc import Callable, Iterator

from pycron.crontab.entries import Entries
from pycron.model.problem import Problem, Severity
from pycron.model.text import printable

UNKNOWN_USER = "unknown-user"

# First words of commands. In a table without a user column they stand where the user should be.
_COMMANDS = (
    r"(?:cd|test|echo|exit|export|source|sleep|exec|eval|env|nice|ionice|timeout|flock|if|for|while"
    r"|(?:ba|da|z|k)?sh|php[0-9.]*|python[0-9.]*|perl|ruby|node|npm|java|make|docker|curl|wget|tar"
    r"|rsync|rm|cp|mv|find|touch|cat|mkdir|ls|git|mail|mysqldump|pg_dump|certbot|run-parts"
    r"|systemctl|service|apt-get|sudo|su|logrotate|ntpdate|bundle|rake|chronic|lockfile|zfs)"
)

MISSING_COLUMN = "is the user column missing? a system table has the user before the command"


def is_command(word: str) -> bool:
    """Whether a word is surely the beginning of a command. Compiled when it is asked for."""
    return re.fullmatch(_COMMANDS, word) is not None


def unknown_users(entries: Entries, exists: Callable[[str], bool]) -> Iterator[Problem]:
    """Warnings only: a directory service may know the user by the time the Job is due."""
    for user, line in entries.users().items():
        if not exists(user):
            message = printable(f'no such user: "{user}" ({_reason(user, entries)})')
            yield Problem(entries.source.name, line, 1, Severity.WARNING, UNKNOWN_USER, message)


def _reason(user: str, entries: Entries) -> str:
    if entries.source.owner is None and is_command(user):
        return MISSING_COLUMN
    return "its commands fail until there is one"
