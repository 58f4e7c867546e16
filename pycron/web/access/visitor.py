"""Who uses the page."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user who has logged in. `user`: for whom the daemon answers.

    `may_change`: also start, kill, pause, resume and redrive; else the page only shows. `login`:
    how the user has logged in, for the log, such as `link` or `token ci`. `token`: the id of the
    token, which may be revoked.
    """

    user: str
    may_change: bool
    login: str
    token: str | None = None
