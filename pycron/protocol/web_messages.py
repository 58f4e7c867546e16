"""Requests of the page about itself and about logins; see control_messages.py for the rules."""

from typing import ClassVar, TypedDict

from pycron.protocol.control_messages import request

# What changes something and may be asked through the page. It edits no tables.
CHANGES = frozenset({"start", "kill", "pause", "resume", "redrive", "drop"})


class WebAnswer(TypedDict):
    """`acts_for_others`: the one who asks is the account of the page. `passwords`: can be checked.

    `user`: the name of the one who asks. `account`: that of the page for all users.
    """

    acts_for_others: bool
    account: str
    passwords: bool
    user: str


@request
class WebRequest:
    """Ask what a page may do that the user runs who sends this request."""

    verb: ClassVar = "web"
    answer: ClassVar = WebAnswer


class LoginAnswer(TypedDict):
    """`check`: the number of the check that has begun."""

    check: int


@request
class LoginRequest:
    """Begin to check the password of a user, with PAM."""

    verb: ClassVar = "login"
    answer: ClassVar = LoginAnswer
    user: str = ""
    password: str = ""


class LoginResultAnswer(TypedDict):
    """`done`: the check has ended; ask again until it has. `accepted`: the password was right."""

    done: bool
    accepted: bool


@request
class LoginResultRequest:
    """How a check has ended."""

    verb: ClassVar = "login-result"
    answer: ClassVar = LoginResultAnswer
    check: int = 0
