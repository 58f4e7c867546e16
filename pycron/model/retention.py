"""How much of the history is kept, and who gives up what is too much."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How many Runs (of each Job, and in all) and dead letters are kept.

    What is kept in all is shared between the users (`surpluses`).

    `output_bytes`, `job_output_bytes`: bytes of output, in all and of each Job. `database_bytes`:
    the size of the database.
    """

    runs: int
    job_runs: int
    dead: int
    output_bytes: int
    database_bytes: int
    job_output_bytes: int


def surpluses(uses: Mapping[U, int], most: int) -> dict[U, int]:
    """How much each user gives up so that all users together use at most `most`.

    Whoever uses most gives up first: all users above one level come down to it (max-min fairness).
    So no user with at most `most` divided by the number of users gives up anything, however much
    the others use. The users who give up most come first.
    """
    order = sorted(uses, key=lambda user: uses[user])
    left = most
    for position, user in enumerate(order):
        level = max(0, left) // (len(order) - position)
        if uses[user] > level:
            return {each: uses[each] - level for each in reversed(order[position:])}
        left -= uses[user]
    return {}
