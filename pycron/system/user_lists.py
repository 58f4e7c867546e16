"""Allow and deny files: crontab(1)."""

from pathlib import Path

from pycron.system.files import ROOTS, FileRules, Unreadable, read_checked

_MOST_BYTES = 2**20
# Root may keep the file of another cron elsewhere, as that cron allows it.
_FOREIGN = FileRules(owners=lambda _: {0}, link_owners=frozenset({0}))


def users_in(text: str) -> list[str]:
    """The users that a text lists, with blanks or newlines between them. `#` begins a comment."""
    return [user for line in text.splitlines() for user in line.partition("#")[0].split()]


def users_in_first(own: Path, foreign: Path) -> list[str] | None:
    """The users that pycron's own file lists, or else that of another cron; None without a file.

    A symlink to no file is a file that cannot be read. Raises Unreadable; the message names the
    file.
    """
    for path, rules in (own, ROOTS), (foreign, _FOREIGN):
        try:
            data = read_checked(str(path), rules, _MOST_BYTES).data
        except FileNotFoundError:
            continue
        except (Unreadable, OSError) as error:
            code = error.code if isinstance(error, Unreadable) else "unreadable"
            raise Unreadable(code, f"{path}: {error}") from None
        return users_in(data.decode(errors="replace"))
    return None
