"""Refused fire times: rows of the table `gaps` of a kind of their own, `wall` 2.

Their reason begins with the user and the number of the fire times: `alice 9 the queue of …`. So
the schema, which has to fit on one page, has no further columns. All functions raise sqlite3.Error.
"""

import sqlite3

from pycron.engine.refusals import RefusedRange
from pycron.model.history import RefusedFilter
from pycron.storage.errors import BadValue
from pycron.storage.rows import second, text

_KIND = 2
_OF_USER = "wall = 2 AND substr(reason, 1, length(?)) = ?"


def write_refused(database: sqlite3.Connection, refused: RefusedRange) -> None:
    """Add a range, or replace the one of the same user that begins at the same second."""
    user = f"{refused.user} "
    reason = f"{user}{refused.count} {refused.reason}"
    query = f"UPDATE gaps SET until = ?, reason = ? WHERE after = ? AND {_OF_USER}"
    if not database.execute(query, (refused.until, reason, refused.after, user, user)).rowcount:
        database.execute(
            "INSERT INTO gaps (after, until, wall, reason) VALUES (?, ?, ?, ?)",
            (refused.after, refused.until, _KIND, reason),
        )


def read_refused(database: sqlite3.Connection, wanted: RefusedFilter) -> list[RefusedRange]:
    """Ranges of fire times that got no Run, newest first."""
    conditions, values = [f"wall = {_KIND}"], list[object]()
    if wanted.user is not None:
        conditions.append(_OF_USER)
        values += [f"{wanted.user} "] * 2
    if wanted.since is not None:
        conditions.append("until >= ?")
        values.append(wanted.since)
    if wanted.until is not None:
        conditions.append("after < ?")
        values.append(wanted.until - 1)
    query = (
        f"SELECT after, until, reason FROM gaps WHERE {' AND '.join(conditions)}"
        " ORDER BY after DESC, number DESC LIMIT ?"
    )
    return [_range(row) for row in database.execute(query, (*values, wanted.limit))]


def _range(row: sqlite3.Row) -> RefusedRange:
    user, count, reason = [*text(row, "reason").split(" ", 2), "", ""][:3]
    if not count.isdecimal():
        raise BadValue(f"a gap that begins at {row['after']} has no number of fire times")
    return RefusedRange(user, second(row, "after"), second(row, "until"), int(count), reason)
