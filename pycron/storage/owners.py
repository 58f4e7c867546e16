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


def disown(database: sqlite3.Connection, uids: Mapping[str, int]) -> list[str]:
    """Rename the users who have another uid than the account of their name; the names.

    A user whose uid was not recorded, by an earlier version, counts as the account.
    """
    replaced = []
    for number, name, uid in database.execute("SELECT number, name, uid FROM users").fetchall():
        if uid is None and name in uids:
            query = "UPDATE users SET uid = ? WHERE number = ?"
            database.execute(query, (uids[name], number))
        elif uid != uids.get(name, uid):
            # A name and a uid may come back more than once: the number of the row tells them apart.
            taken = "SELECT 1 FROM users WHERE name = ?"
            former = f"{name}#{uid}"
            if database.execute(taken, (former,)).fetchone():
                former += f".{number}"
            query = "UPDATE users SET name = ? WHERE number = ?"
            database.execute(query, (former, number))
            replaced.append(name)
    return replaced
