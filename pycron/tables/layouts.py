"""Where the system's tables are: in pycron's own directories, or where another cron has them.

In the directories of another cron, its rules for names, owners, modes and symlinks hold, so pycron
runs the tables that this cron would run. Sources: Debian's cron 3.0pl1 (database.c), cronie 1.7
(database.c, misc.c).
"""

import grp
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pycron.config import Config
from pycron.crontab.other_cron import CRONIE, name_is_ignored
from pycron.system import paths
from pycron.system.accounts import Accounts, owners_of_table
from pycron.system.files import ROOTS, FileRules
from pycron.tables.directories import TableLocation, not_a_run_parts_name, not_a_user_name
from pycron.tables.spool_form import SpoolForm, no_header, vixie_header


def _not_a_cronie_name(name: str) -> str | None:
    """The names that cronie passes over in /etc/cron.d (misc.c, not_a_crontab)."""
    if name_is_ignored(CRONIE, name):
        return "cronie takes it for a copy: its name begins with #, or ends with ~ or .rpm*"
    return None


def _not_in_a_foreign_spool(name: str) -> str | None:
    """The spool of another cron also contains tables that its crontab(1) is about to install."""
    return "crontab(1) is about to install it" if name[:4] == "tmp." else not_a_user_name(name)


_OWN_RULES = replace(ROOTS, checked_links=True)


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of the system's tables.

    `system`: the files and directories of system tables. `system_rules`: what these files must be.
    `why_not`: why a name in these directories is no table. `spool`: the directory of users' tables;
    if it is missing, it is made with `spool_mode`. `spool_group`: the group of the spool and of its
    files. `header`: the lines in front of a user's table. `user_forbidden_mode`: the permission
    bits that a user's table must not have. `everyone`: whether every user may have a table where
    neither an allow nor a deny file exists.
    """

    system: tuple[Path, ...] = (paths.DROP_INS,)
    system_rules: FileRules = _OWN_RULES
    why_not: Callable[[str], str | None] = not_a_run_parts_name
    spool: Path = paths.SPOOL
    spool_mode: int = 0o700
    spool_group: str | None = None
    header: Callable[[float], str] = no_header
    user_forbidden_mode: int = 0o022
    everyone: bool = True

    @property
    def is_foreign(self) -> bool:
        """Whether users' tables are in the spool of another cron."""
        return self.spool != paths.SPOOL

    def locations(self) -> list[TableLocation]:
        """All places where the daemon finds tables."""
        system = [
            TableLocation(path, directory=True, rules=self.system_rules, why_not=self.why_not)
            for path in self.system
        ]
        return [self._spool_location(), *system]

    def form(self) -> SpoolForm:
        """What the files of users' tables look like. A file belongs to its user, so that no later
        account of the same name gets the table.
        """

        def owner(user: str) -> tuple[int, int] | None:
            account, gid = Accounts().find(user), self.spool_gid
            return (account.uid, account.gid if gid is None else gid) if account else None

        return SpoolForm(owner, self.header)

    def _spool_location(self) -> TableLocation:
        return TableLocation(
            self.spool,
            users=True,
            directory=True,
            rules=FileRules(owners_of_table, self.user_forbidden_mode),
            why_not=_not_in_a_foreign_spool if self.is_foreign else None,
        )

    @property
    def spool_gid(self) -> int | None:
        """The group of the spool and of its files; None if the other cron's group is missing."""
        try:
            return grp.getgrnam(self.spool_group).gr_gid if self.spool_group else None
        except KeyError:
            return None


_FOREIGN = (paths.DROP_INS, paths.CRONTAB, paths.CRON_DROP_INS)

LAYOUTS = {
    "pycron": Layout(),
    "debian": Layout(
        system=_FOREIGN,
        system_rules=replace(ROOTS, link_owners=frozenset({0})),
        spool=paths.DEBIAN_SPOOL,
        spool_mode=0o1730,
        spool_group="crontab",
        header=vixie_header,
        user_forbidden_mode=0o7177,
    ),
    "cronie": Layout(
        system=_FOREIGN,
        system_rules=replace(ROOTS, forbidden_mode=0o7133, link_owners=frozenset({0})),
        why_not=_not_a_cronie_name,
        spool=paths.CRONIE_SPOOL,
        user_forbidden_mode=0o7133,
        everyone=False,
    ),
}


def layout_of(config: Config) -> Layout:
    """The layout that the section [tables] of the configuration describes."""
    layout = LAYOUTS[config.tables_layout]
    if config.tables_system is not None:
        layout = replace(layout, system=config.tables_system)
    if config.tables_spool is not None:
        layout = replace(layout, spool=config.tables_spool)
    return layout


def unread_tables(layout: Layout) -> list[str]:
    """The users whose tables are in pycron's own spool while the daemon reads another one."""
    try:
        return sorted(path.name for path in paths.SPOOL.iterdir()) if layout.is_foreign else []
    except OSError:
        return []
