"""The messages between the runner and the process that opens PAM sessions (pycron/pam).

A message is one JSON object on a line (framing.py); each class here describes one. The runner sends
`open`, and gets one `opened` or `no_session` for it; later it sends `close`. A session is named by
the mark of its Attempt's process tree (system/marks.py). When the connection ends, the runner has
died: every session is then closed as if the runner had sent `close`. Unknown types and unknown keys
are passed over.

The version of these messages is in the command line of the process, so that a process that was
installed later than the runner can refuse to work for it.

Imported by the runner: it stays small.
"""

from typing import Literal, NotRequired, TypedDict

SESSION_PROTOCOL = 1


class OpenMessage(TypedDict):
    """Check the account of `user`, and open a session with the PAM service `service`.

    `uid`, `groups`: those of the user; an older runner sends no uid. `check_account`: False if only
    a session is wanted. `timeout`: seconds after which the session is given up.
    """

    type: Literal["open"]
    mark: int
    service: str
    user: str
    uid: NotRequired[int]
    groups: list[int]
    check_account: bool
    timeout: int


class CloseMessage(TypedDict):
    """The command has ended, or never began: close the session when no process of it is left."""

    type: Literal["close"]
    mark: int


class ProcessValues(TypedDict):
    """What PAM has changed in the process that opened the session.

    `limits`: numbers of setrlimit(2), each with its soft and its hard limit. The other values are
    None if PAM has not changed them. `login_uid` is for the kernel's audit (pam_loginuid(8)).
    """

    limits: list[list[int]]
    niceness: int | None
    umask: int | None
    groups: list[int] | None
    login_uid: int | None


class OpenedMessage(TypedDict):
    """The session is open. `environment`: the variables that PAM has set."""

    type: Literal["opened"]
    mark: int
    environment: dict[str, str]
    process: ProcessValues


class NoSessionMessage(TypedDict):
    """There is no session. `final`: PAM has refused the account and would do so again."""

    type: Literal["no_session"]
    mark: int
    reason: str
    final: bool


RunnerRequest = OpenMessage | CloseMessage
SessionAnswer = OpenedMessage | NoSessionMessage
