"""Requests on the control socket about users' own tables, for pycrontab(1)."""

from typing import ClassVar

from pycron.protocol.control_checks import TABLE_TEXT
from pycron.protocol.control_messages import checked_by, request
from pycron.protocol.table_answers import (
    DeleteAnswer,
    InstallAnswer,
    TableAnswer,
    VersionAnswer,
    VersionsAnswer,
)


@request
class TableRequest:
    """The text of a user's table; `user` None: the one who asks."""

    verb: ClassVar = "table"
    answer: ClassVar = TableAnswer
    user: str | None = None


@request
class InstallRequest:
    """Replace a user's table. `origin`: where the text comes from (edit, file or stdin)."""

    verb: ClassVar = "install"
    answer: ClassVar = InstallAnswer
    text: str = checked_by(TABLE_TEXT)
    user: str | None = None
    origin: str = ""


@request
class DeleteRequest:
    """Delete a user's table."""

    verb: ClassVar = "delete"
    answer: ClassVar = DeleteAnswer
    user: str | None = None


@request
class VersionsRequest:
    """The last versions of a user's table."""

    verb: ClassVar = "versions"
    answer: ClassVar = VersionsAnswer
    user: str | None = None


@request
class VersionRequest:
    """The text of one version of a user's table."""

    verb: ClassVar = "version"
    answer: ClassVar = VersionAnswer
    number: int = 0
    user: str | None = None


@request
class RestoreRequest:
    """Install a version of a user's table again."""

    verb: ClassVar = "restore"
    answer: ClassVar = InstallAnswer
    number: int = 0
    user: str | None = None
