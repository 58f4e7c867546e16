"""Who may see and do what: decided by the user that the kernel names, never by the request.

Root, the daemon's own user and members of the operators' group see everything; any other user sees
what is theirs. Root, the daemon's own user and the owner change what is there.
"""

import grp
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pycron.control.server import Peer
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.protocol.framing import Message
from pycron.system import paths


class Refusal(Exception):
    """A request that is answered with a no: why, and what more there is to say."""

    def __init__(self, message: str, **more: object) -> None:
        super().__init__(message)
        self.more = more


@dataclass(frozen=True, slots=True)
class Access:
    """`operators`: the group whose members see everything."""

    operators: str
    log: Callable[[Log], None]

    def sees_all(self, peer: Peer) -> bool:
        if is_master(peer):
            return True
        try:
            group = grp.getgrnam(self.operators)
        except KeyError:
            return False
        return group.gr_gid in _groups_of(peer)

    def sight(self, peer: Peer) -> Callable[[str], bool]:
        """Whether the peer may see what belongs to a user."""
        if self.sees_all(peer):
            return lambda _: True
        own = user_of(peer)
        return lambda user: user == own

    def check_may_change(self, peer: Peer, user: str) -> None:
        """Raises Refusal for who is neither the owner nor root."""
        if not is_master(peer) and user != user_of(peer):
            raise Refusal("only its owner and root may do that")

    def table_owner(self, peer: Peer, request: Message, *, listed: bool) -> str:
        """Whose table a request is about, when the peer may handle it.

        `listed`: whether the allow and deny files hold. Raises Refusal.
        """
        own = user_of(peer)
        user = request.get("user")
        if user is None:
            user = own
        elif user != own and peer.uid != 0:
            raise Refusal("only root may use -u: leave it out for your own table")
        try:
            pwd.getpwnam(str(user))
        except (KeyError, ValueError):
            raise Refusal(f'unknown user: "{user}"') from None
        if peer.uid != 0 and listed and not _is_allowed(own):
            self.log(Log(Event.ACCESS_DENIED, {"user": own, "pid": peer.pid}, bad=True))
            raise Refusal(f"you ({own}) are not allowed to use this program (pycrontab)")
        return str(user)


def is_master(peer: Peer) -> bool:
    return peer.uid in (0, os.geteuid())


def user_of(peer: Peer) -> str:
    """The name of the peer; without one, what is no user's: one may be called `1000`."""
    try:
        return pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        return f"#{peer.uid}"


def _groups_of(peer: Peer) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(peer.uid).pw_name, peer.gid)
    except KeyError:
        return [peer.gid]


def _is_allowed(user: str) -> bool:
    """As crontab(1) of Debian: in the allow file if there is one, else not in the deny file."""
    allowed = _names_in(paths.ALLOW)
    return user in allowed if allowed is not None else user not in (_names_in(paths.DENY) or ())


def _names_in(path: Path) -> list[str] | None:
    """The users that a file lists; None when there is no file. One that can't be read refuses."""
    try:
        return path.read_text(errors="replace").split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refusal(f"{path}: cannot be read: {error.strerror}") from None
