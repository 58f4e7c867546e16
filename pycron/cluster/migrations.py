"""The numbered steps of the database's schema, and what applies them (`pycron cluster init`).

A step is a file schema/NNNN.sql and never changes once it is released. An agent works with every
schema that is not older than its own: a step keeps the functions that earlier versions call.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg

from pycron.cluster.calls import CallFailed
from pycron.cluster.connection import session_address

_LOCK = 1_886_552_945  # an advisory lock: two `init` at once wait for each other


@dataclass(frozen=True, slots=True)
class Step:
    """`digest`: of its text; a database in which the same step has another one is refused."""

    number: int
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def steps() -> list[Step]:
    """All steps, in their order."""
    found = (resources.files("pycron.cluster") / "schema").iterdir()
    texts = {each.name: each.read_text(encoding="utf-8") for each in found if _is_step(each.name)}
    return [Step(int(name[:4]), texts[name]) for name in sorted(texts)]


def _is_step(name: str) -> bool:
    return name.endswith(".sql") and name[:4].isdigit()


LATEST = steps()[-1].number


def upgrade(address: str) -> list[int]:
    """Apply the steps that the database does not have, all or none; their numbers.

    Raises CallFailed.
    """
    try:
        with psycopg.connect(session_address(address, options=False)) as connection:
            return _upgrade(connection)
    except psycopg.Error as error:
        text = " ".join(str(error).split())[:300]
        raise CallFailed(f"the schema was not changed: {text}") from None


def _upgrade(connection: "psycopg.Connection[tuple[Any, ...]]") -> list[int]:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":  # a name that it cannot write would keep a batch of claims unanswered
        raise CallFailed(
            f"the database has the encoding {encoding}, and pycron needs UTF8:"
            " CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'"
        )
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute("CREATE SCHEMA IF NOT EXISTS pycron")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS pycron.steps (number integer PRIMARY KEY, digest text NOT NULL,"
        " applied timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    applied = dict(connection.execute("SELECT number, digest FROM pycron.steps").fetchall())
    missing = [step for step in steps() if step.number not in applied]
    for step in steps():
        if applied.get(step.number, step.digest) != step.digest:
            raise CallFailed(f"step {step.number} of the schema is not the one of this version")
    for step in missing:
        connection.execute(step.text.encode())
        connection.execute(
            "INSERT INTO pycron.steps (number, digest) VALUES (%s, %s)", [step.number, step.digest]
        )
    return [step.number for step in missing]
