"""The answers of the control socket about users' tables, for pycrontab(1)."""

from typing import NotRequired, TypedDict

from pycron.protocol.control_answers import FireTimeRow, ProblemRow


class ChangesRow(TypedDict):
    """How many entries of a table were added, changed and removed."""

    added: int
    changed: int
    removed: int


class NextDueRow(FireTimeRow):
    """`zone` is None if it is the machine's."""

    zone: str | None


class VersionRow(TypedDict):
    """A version of a user's table. `bytes` is None if the table was deleted.

    `author`: the user who changed it; None if somebody changed the file without the daemon.
    `origin`: edit, file, stdin, restore, delete, found or request. `restored`: the number of the
    version that was installed again. `local`: `time` in the machine's zone.
    """

    number: int
    time: str
    local: str
    author: str | None
    origin: str
    restored: int | None
    bytes: int | None
    entries: int
    current: bool


class TableAnswer(TypedDict):
    """`text` is None if the user has no table."""

    user: str
    text: str | None


class InstallAnswer(TypedDict):
    """`problems` are warnings; a table with errors is refused.

    `next`: when an entry of the table is due next; None if none ever is.
    """

    user: str
    problems: list[ProblemRow]
    jobs: int
    changes: NotRequired[ChangesRow]
    next: NotRequired[NextDueRow | None]


class DeleteAnswer(TypedDict):
    """`deleted` is false if the user had no table."""

    user: str
    deleted: bool


class VersionsAnswer(TypedDict):
    """The newest version first."""

    user: str
    rows: list[VersionRow]


class VersionAnswer(TypedDict):
    """`text` is None if the table was deleted."""

    user: str
    text: str | None
