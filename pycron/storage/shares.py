"""The users' shares of what is kept in all: who has how much, and whose records are deleted.

Each function raises sqlite3.Error. Users are the numbers of their rows.
"""

import math
import sqlite3
from collections.abc import Mapping
from itertools import islice

from pycron.model.retention import surpluses
from pycron.model.run import Outcome

RUNS = "runs"  # what a user has of it, in terms of the columns of a Job
OUTPUT = "output_kept"
# About the bytes of the database: a Run has 400 of them, and at most 1000 of output.
DATABASE = "size + runs * 400 + min(output_kept, runs * 1000)"

_USERS_PER_STEP = 50
# The oldest Runs of a user: those of each outcome come from an index, in their order.
_OLDEST = " UNION ALL ".join(
    "SELECT * FROM (SELECT number, fire_time, outcome IS NULL OR dead AS stays FROM runs"
    f" WHERE outcome {which} AND user = :user ORDER BY fire_time LIMIT :most)"
    for which in ("IS NULL", *(f"= '{outcome.value}'" for outcome in Outcome))
)


def used(database: sqlite3.Connection, what: str) -> dict[int, int]:
    """How much of RUNS, OUTPUT or DATABASE each user has."""
    return dict(map(tuple, database.execute(f"SELECT user, sum({what}) FROM jobs GROUP BY user")))


def with_writing(
    database: sqlite3.Connection, output: Mapping[int, int], writing: Mapping[str, int]
) -> dict[int, int]:
    """The bytes of output of each user, with those of the files that are still being written."""
    total = dict(output)
    for name, size in writing.items():
        row = database.execute("SELECT number FROM users WHERE name = ?", (name,)).fetchone()
        if row is not None:
            total[row[0]] = total.get(row[0], 0) + size
    return total


def surplus_runs(database: sqlite3.Connection, most: int, full: float) -> dict[int, int]:
    """How many Runs each user gives up.

    `full`: the bytes of the database divided by those that it may have. Above 1, users also give up
    Runs in proportion to the bytes that they have too many.
    """
    runs = used(database, RUNS)
    surplus = surpluses(runs, most)
    if full > 1:
        sizes = used(database, DATABASE)
        for user, size in surpluses(sizes, int(sum(sizes.values()) / full)).items():
            number = math.ceil(runs[user] * size / sizes[user])
            surplus[user] = max(surplus.get(user, 0), number)
    return surplus


def choose_oldest(database: sqlite3.Connection, surplus: Mapping[int, int], at_once: int) -> None:
    """Put the oldest Runs of users who have too many into the table `gone`: at most `at_once`.

    Dead letters and Runs that have not ended stay, but count.
    """
    for user, number in most_first(surplus):
        values = {"user": user, "most": min(number, at_once)}
        at_once -= database.execute(
            "INSERT OR IGNORE INTO gone SELECT number FROM"
            f" (SELECT * FROM ({_OLDEST}) ORDER BY fire_time LIMIT :most) WHERE NOT stays",
            values,
        ).rowcount
        if at_once <= 0:
            return


def release_dead_letters(database: sqlite3.Connection, most: int, at_once: int) -> None:
    """Make the oldest dead letters of users who have too many ordinary Runs."""
    query = "SELECT user, count(*) FROM runs WHERE dead GROUP BY user"
    surplus = surpluses(dict(map(tuple, database.execute(query))), most)
    for user, number in most_first(surplus):
        at_once -= database.execute(
            "UPDATE runs SET dead = 0 WHERE number IN (SELECT number FROM runs"
            " WHERE dead AND user = ? ORDER BY fire_time LIMIT ?)",
            (user, min(number, at_once)),
        ).rowcount
        if at_once <= 0:
            return


def most_first(surplus: Mapping[int, int]) -> list[tuple[int, int]]:
    """The users with the largest surplus, so that a step has a bounded number of queries."""
    ordered = sorted(surplus.items(), key=lambda each: each[1], reverse=True)
    return list(islice(ordered, _USERS_PER_STEP))
