"""User accounts from the passwd and group databases.

They are cached for a minute, which matters for a directory service. A change of the machine's own
files is seen at once: an account may be deleted, and another one may get its name.
"""

import os
import pwd
import time
from dataclasses import dataclass

_CACHED = 60.0  # seconds
_PASSWD, _GROUP = "/etc/passwd", "/etc/group"


@dataclass(frozen=True, slots=True)
class Account:
    """A user; `groups` are all gids, the primary one (`gid`) included."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class Accounts:
    """Looks up users, with their groups as in initgroups(3).

    `own`: the account of this process, which is known even if no database has it. `gone`: names
    that are no accounts at the moment, whatever the databases say.
    """

    def __init__(self, own: Account | None = None) -> None:
        self._own = own
        self._known: dict[str, tuple[float, Account | None]] = {}
        self._files = _files()
        self.gone: set[str] = set()

    def find(self, name: str) -> Account | None:
        """The account of this name; None if there is no such user."""
        own = self._own
        # Root's is looked up again; but a container may have no account at all, not even root's.
        if own is not None and name == own.name and (own.uid != 0 or name == "0"):
            return own
        if name in self.gone:
            return None
        files = _files()
        if files != self._files:
            self._known.clear()
            self._files = files
        now = time.monotonic()
        found = self._known.get(name)
        if found is None or now - found[0] > _CACHED:
            found = self._known[name] = now, _look_up(name)
        return found[1]

    def exists(self, name: str) -> bool:
        return self.find(name) is not None

    def uid_of(self, name: str) -> int | None:
        account = self.find(name)
        return None if account is None else account.uid

    def forget(self) -> None:
        self._known.clear()


def _look_up(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # a NUL in the name is a ValueError
        return None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def _files() -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(map(_version, (_PASSWD, _GROUP)))


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class LocalUids:
    """The uids of the accounts in the machine's own file, read when the file has changed."""

    def __init__(self) -> None:
        self._version: tuple[int, int, int] | None = None

    def changed(self) -> dict[str, int] | None:
        """All of them by name; None if the file is the one that the last call has read."""
        version = _version(_PASSWD)
        if version == self._version:
            return None
        self._version = version
        try:
            with open(_PASSWD, encoding="utf-8", errors="surrogateescape") as file:
                fields = [line.split(":", 3) for line in file]
        except OSError:
            return {}
        return {each[0]: int(each[2]) for each in fields if len(each) > 3 and each[2].isdecimal()}


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
