"""Records belong to a name and a uid: an account that gets a used name inherits nothing.

The records of the former account stay under its name and uid (`anna#1001`). Each function raises
sqlite3.Error.
"""

import sqlite3
from collections.abc import Mapping


def number_of(database: sqlite3.Connection, name: str, uid: int | None) -> int:
    """The row number of a user, who gets a row if there is none. `uid`: None if it is not known."""
    if uid is not None:
        disown(database, {name: uid})
    query = "INSERT OR IGNORE INTO users (name, uid) VALUES (?, ?)"
    database.execute(query, (name, uid))
    row = database.execute("SELECT number FROM users WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def replaced(database: sqlite3.Connection, uids: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The row number and the uid of each user whose name is that of another account now."""
    rows = database.execute("SELECT name, number, uid FROM users WHERE uid IS NOT NULL")
    return {row[0]: (row[1], row[2]) for row in rows if row[2] != uids.get(row[0], row[2])}


def disown(database: sqlite3.Connection, uids: Mapping[str, int]) -> None:
    """Rename the users who have another uid than the account of their name.

    A user whose uid was not recorded, by an earlier version, counts as the account.
    """
    unknown = database.execute("SELECT name FROM users WHERE uid IS NULL").fetchall()
    for (name,) in unknown:
        values = uids.get(name), name
        database.execute("UPDATE users SET uid = ? WHERE name = ?", values)
    for name, (number, uid) in replaced(database, uids).items():
        former = f"{name}#{uid}"
        # A name and a uid may come back more than once: the number of the row tells them apart.
        if database.execute("SELECT 1 FROM users WHERE name = ?", (former,)).fetchone():
            former += f".{number}"
        query = "UPDATE users SET name = ? WHERE number = ?"
        database.execute(query, (former, number))
