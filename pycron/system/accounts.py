"""User accounts from the passwd and group databases, cached for a minute."""

import os
import pwd
import time
from dataclasses import dataclass

_CACHED = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Account:
    """A user; `groups` are all gids, the primary one (`gid`) included."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class Accounts:
    """Looks up users, with their groups as in initgroups(3), at most once a minute each.

    `own`: the account of this process, which is known even if no database has it.
    """

    def __init__(self, own: Account | None = None) -> None:
        self._own = own
        self._known: dict[str, tuple[float, Account | None]] = {}

    def find(self, name: str) -> Account | None:
        """The account of this name; None if there is no such user."""
        if self._own is not None and self._own.uid != 0 and name == self._own.name:
            return self._own
        now = time.monotonic()
        found = self._known.get(name)
        if found is None or now - found[0] > _CACHED:
            found = self._known[name] = now, _look_up(name)
        return found[1]

    def exists(self, name: str) -> bool:
        return self.find(name) is not None

    def forget(self) -> None:
        self._known.clear()


def _look_up(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # a NUL in the name is a ValueError
        return None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def owners_of_table(user: str) -> set[int]:
    """The uids that the file of a user's table may belong to: root's and the user's.

    The account is looked up anew: its name may have got another uid.
    """
    account = _look_up(user)
    return {0, account.uid} if account else {0}


def own_account() -> Account:
    """The account of this process; a container may run as a uid that no database has."""
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        home = os.environ.get("HOME", "/")
        return Account(str(uid), uid, os.getegid(), tuple(os.getgroups()), home)
    account = _look_up(entry.pw_name)
    assert account is not None
    return account
