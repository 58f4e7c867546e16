"""Access rules: they depend on the user that the kernel names, not on the request.

Root, the daemon's own user and members of the operators' group see everything; any other user sees
their own Jobs, Runs and tables. Root, the daemon's own user and the owner may change these. The
account of the page may ask on behalf of a user: then that user's rights hold.
"""

import grp
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass

from pycron.config import Config
from pycron.control.server import Peer
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.system import paths
from pycron.system.accounts import own_account
from pycron.system.files import Unreadable
from pycron.system.user_lists import users_in_first


class Refusal(Exception):
    """The request is refused; the message tells its sender why."""


@dataclass(frozen=True, slots=True)
class Access:
    """The rules; the configuration names the group whose members see everything.

    `everyone`: whether every user may have a table if there is neither an allow nor a deny file.
    """

    config: Callable[[], Config]
    log: Callable[[Log], None]
    everyone: bool = True

    def sees_all(self, peer: Peer) -> bool:
        if has_full_rights(peer):
            return True
        try:
            group = grp.getgrnam(self.config().operators)
        except KeyError:
            return False
        return group.gr_gid in _groups_of(peer)

    def sight(self, peer: Peer) -> Callable[[str], bool]:
        """A function that says whether the peer may see the Jobs, Runs and tables of a user."""
        if self.sees_all(peer):
            return lambda _: True
        own = user_of(peer)
        return lambda user: user == own

    def power(self, peer: Peer) -> Callable[[str], bool]:
        """A function that says whether the peer may change the Jobs, Runs and tables of a user."""
        if has_full_rights(peer):
            return lambda _: True
        own = user_of(peer)
        return lambda user: user == own

    def check_may_change(self, peer: Peer, user: str) -> None:
        """Raises Refusal if the peer is neither this user nor has full rights."""
        if not self.power(peer)(user):
            raise Refusal("only its owner and root may do that")

    def is_worker(self, peer: Peer) -> bool:
        """Whether the peer may be a worker: it has full rights, or the account of workers."""
        try:
            account = pwd.getpwnam(self.config().worker_account)
        except KeyError:
            account = None
        return has_full_rights(peer) or (account is not None and account.pw_uid == peer.uid)

    def is_page(self, peer: Peer) -> bool:
        """Whether the peer is the account of the page, which may ask on behalf of users."""
        try:
            return peer.uid == pwd.getpwnam(self.config().web_user).pw_uid
        except KeyError:
            return False

    def on_behalf(self, peer: Peer, user: object) -> Peer:
        """The peer as the user for whom the page asks. Raises Refusal.

        Only the account of the page may do that, and root's rights only if the configuration says
        so.
        """
        if not self.is_page(peer):
            raise Refusal("only the account of the page may ask on behalf of a user (web.user)")
        try:
            account = pwd.getpwnam(user) if isinstance(user, str) else None
        except (KeyError, ValueError):  # a NUL in the name is a ValueError
            account = None
        if account is None:
            raise Refusal(f'unknown user: "{user}"')
        asked = Peer(peer.pid, account.pw_uid, account.pw_gid)
        if has_full_rights(asked) and not self.config().web_root:
            raise Refusal(f"the page may not act for {user} (web.root is false)")
        return asked

    def table_owner(self, peer: Peer, user: str | None, *, check_lists: bool) -> str:
        """The user whose table the peer wants to handle (None: the peer). Raises Refusal.

        `check_lists`: whether the allow and deny files are in force.
        """
        own = user_of(peer)
        owner = own if user is None else user
        if owner != own and peer.uid != 0:
            raise Refusal("only root may use -u: leave it out for your own table")
        if owner != own_account().name and not has_account(owner):
            raise Refusal(f'unknown user: "{owner}"')
        if peer.uid != 0 and check_lists and not self._is_allowed(own):
            self.log(Log(Event.ACCESS_DENIED, {"user": own, "pid": peer.pid}, bad=True))
            raise Refusal(f"you ({own}) are not allowed to use this program (pycrontab)")
        return owner

    def _is_allowed(self, user: str) -> bool:
        """As crontab(1): if there is an allow file, it lists the user; else the deny file does not.

        The files of pycron stand for those of another cron, which hold where pycron has none. If a
        file is there that cannot be trusted, nobody is allowed. Raises Refusal.
        """
        try:
            allowed = users_in_first(paths.ALLOW, paths.CRON_ALLOW)
            if allowed is not None:
                return user in allowed
            denied = users_in_first(paths.DENY, paths.CRON_DENY)
        except Unreadable as error:
            raise Refusal(f"{error} (until then only root may use pycrontab)") from None
        return self.everyone if denied is None else user not in denied


def has_full_rights(peer: Peer) -> bool:
    """Whether the peer is root or the daemon's own user."""
    return peer.uid in (0, os.geteuid())


def user_of(peer: Peer) -> str:
    """The name of the peer's user; `#UID` if it has none, as a user may be called `1000`.

    The daemon's own user always has a name: that of its table.
    """
    try:
        return pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        return own_account().name if peer.uid == os.geteuid() else f"#{peer.uid}"


def has_account(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except (KeyError, ValueError):  # a NUL in the name is a ValueError
        return False
    return True


def _groups_of(peer: Peer) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(peer.uid).pw_name, peer.gid)
    except KeyError:
        return [peer.gid]
