"""The values that a daemon is started with."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from pycron.config import Config, Configuration
from pycron.daemon.demands import NO_DEMANDS, TableDemands
from pycron.delivery.programs import MAIL_ACCOUNT, Sending
from pycron.engine.delivery_rules import DeliveryRules
from pycron.executor.environments import NOTHING_PASSED, Passed
from pycron.sender.programs import MessageOptions
from pycron.system.accounts import Account
from pycron.system.paths import Paths
from pycron.tables.directories import TableLocation
from pycron.tables.layouts import Layout
from pycron.tables.user_tables import UserTablePaths


class Mode(StrEnum):
    """How the daemon runs: for all users, for its own user, or in the foreground."""

    SYSTEM = "system"
    USER = "user"
    FOREGROUND = "foreground"


@dataclass(frozen=True, slots=True)
class Setup:
    """The values that the command line, the configuration and the machine give a daemon.

    `account` is the daemon's own. `host`: the value that `~` and `H` depend on. `layout`: where the
    system's tables are; None in the other modes. `demands`: what the tables must fulfil. `passed`:
    what commands get of what the daemon was started with. `once`: the beginning of the minute (UTC
    seconds) whose Jobs run once; None for a daemon that follows the clock. `metrics`: the address
    at which a process of its own serves metrics.
    """

    mode: Mode
    paths: Paths
    tables: list[TableLocation]
    user_tables: UserTablePaths | None
    configuration: Configuration
    account: Account
    host: str
    layout: Layout | None = None
    demands: TableDemands = NO_DEMANDS
    passed: Passed = NOTHING_PASSED
    once: int | None = None
    metrics: str | None = None

    @property
    def config(self) -> Config:
        """The options in force; a reload changes them."""
        return self.configuration.config

    @property
    def everyone_may(self) -> bool:
        """Whether users may have tables if there is neither an allow nor a deny file."""
        return self.layout is None or self.layout.everyone

    @property
    def users_of_senders(self) -> dict[str, Collection[str] | None]:
        """The senders that tables may name; see Config."""
        return self.config.users_of_senders(system=self.mode is Mode.SYSTEM)

    @property
    def delivery_rules(self) -> DeliveryRules:
        return self.config.delivery_rules(
            system=self.mode is Mode.SYSTEM, foreground=self.mode is Mode.FOREGROUND
        )

    @property
    def sending(self) -> Sending:
        """How deliveries are sent. Only root can give the programs an account of their own."""
        account = MAIL_ACCOUNT if self.mode is Mode.SYSTEM else None
        return Sending(self.configuration.current, self.paths.output, self.paths.receipts, account)

    @property
    def messages(self) -> MessageOptions:
        """How messages are sent: never as an owner, who must not see the address of the broker."""
        system = self.mode is Mode.SYSTEM
        return MessageOptions(
            self.configuration.current,
            self.paths.receipts,
            MAIL_ACCOUNT if system else self.account.name,
            self.host,
            for_all=not system,
        )
