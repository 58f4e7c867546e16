"""What a daemon is started with."""

from dataclasses import dataclass
from enum import StrEnum

from pycron.config import Config
from pycron.daemon.user_tables_adapter import UserTableDirectory
from pycron.system.accounts import Account
from pycron.system.paths import Paths
from pycron.tables.directories import TableLocation


class Mode(StrEnum):
    """How the daemon runs: for all users, for its own user, or in the foreground."""

    SYSTEM = "system"
    USER = "user"
    FOREGROUND = "foreground"


@dataclass(frozen=True, slots=True)
class Setup:
    """The values that the command line, the configuration and the machine give a daemon.

    `account` is the daemon's own. `host`: the value that `~` and `H` depend on.
    """

    mode: Mode
    paths: Paths
    tables: list[TableLocation]
    user_tables: UserTableDirectory | None
    config: Config
    account: Account
    host: str
