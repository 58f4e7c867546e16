"""Every interleaving of the transactions of several sessions, on a real PostgreSQL.

A session calls one function of the schema in a transaction of its own. The functions get pauses:
before each statement that could matter, a session waits for an advisory lock that the test holds.
The test lets one session go on, waits until each session pauses, waits for a lock of another one
or has its answer, and chooses again; a session that has its answer commits when it is chosen.
`explore` does this for all choices.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import pq

from pycron.cluster import calls
from pycron.cluster.answer_checks import Fields
from pycron.cluster.database import prepare
from pycron.cluster.migrations import steps
from tests.support.cluster_database import CLUSTER

_PATIENCE = 60.0  # seconds until all sessions pause, wait or have their answers
_STEPS = 40  # of a session at most
# Statements before which a session pauses. The first one after the locks sees what they protect.
_PAUSES = (
    r"PERFORM pycron\.lock_items",
    r"SELECT \* INTO (?!run FROM pycron\.runs r\n +WHERE r\.cluster = run)",
    r"FOR run IN",
    r"standing := pycron\.standing",
    r"PERFORM pycron\.expire_before",
    r"held := pycron\.count_others",
    r"IF \(SELECT count",
    r"ELSIF pycron\.count_others",
    r"reason := pycron\.full_pool",
    r"INSERT INTO pycron",
    r"UPDATE pycron\.\w+ (?:[rh] )?SET (?!changed = r)",
    r"IF EXISTS \(SELECT FROM pycron\.runs",
    r"PERFORM pycron\.end_attempt",
    r"PERFORM pycron\.end_waiting",
)
_PAUSE = """
CREATE OR REPLACE FUNCTION pycron.pause() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    slot text := current_setting('pycron.slot', true);
    step integer := coalesce(nullif(current_setting('pycron.step', true), ''), '0')::integer;
BEGIN
    IF coalesce(slot, '') <> '' THEN
        PERFORM set_config('pycron.step', (step + 1)::text, false);
        PERFORM pg_advisory_lock_shared(slot::integer * 1000 + step);
        PERFORM pg_advisory_unlock_shared(slot::integer * 1000 + step);
    END IF;
    RETURN true;
END
$$;
"""
_WAITS = """
SELECT a.pid, l.locktype = 'advisory' AND l.objsubid = 1
FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted
WHERE a.pid = ANY(%s)
"""


def with_pauses(sql: str) -> str:
    """The functions of the schema, with pauses, and without a limit for waiting."""
    functions = sql.replace(" SET lock_timeout = '5s'", "")
    pattern = rf"^( +)({'|'.join(_PAUSES)})"

    def pause(match: re.Match[str]) -> str:
        indent, statement = match[1], match[2]
        if statement.startswith("ELSIF"):  # between two conditions there is no room
            condition = statement.removeprefix("ELSIF ")
            return f"{indent}ELSIF pycron.pause() AND {condition}"
        return f"{indent}PERFORM pycron.pause();\n{indent}{statement}"

    first, *others = functions.split("CREATE OR REPLACE FUNCTION")
    for i, function in enumerate(others):
        if "LANGUAGE plpgsql" in function:
            others[i] = re.sub(pattern, pause, function, flags=re.MULTILINE)
    return _PAUSE + "CREATE OR REPLACE FUNCTION".join([first, *others])


_FUNCTION = re.compile(
    r"^CREATE (?:OR REPLACE )?FUNCTION (pycron\.\w+)(\(.*?^\$\$;\n)", re.MULTILINE | re.DOTALL
)


def schema() -> str:
    """All functions, as the last step leaves them."""
    text = "".join(step.text for step in steps())
    found = {match[1]: match[2] for match in _FUNCTION.finditer(text)}
    return "".join(f"CREATE OR REPLACE FUNCTION {name}{rest}" for name, rest in found.items())


@dataclass
class Session:
    """`answer`: that of its call, when it has one."""

    connection: "psycopg.Connection[Any]"
    slot: int
    parse: Callable[[Fields], calls.Answer] | None = None
    step: int = 0
    state: str = "new"
    answer: Any = None
    committed: bool = False

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    def begin(self, function: str, request: dict[str, Any]) -> None:
        self.step, self.answer, self.committed = 0, None, False
        self.connection.execute("SELECT set_config('pycron.step', '0', false)")
        self.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        text = json.dumps({"cluster": CLUSTER, **request})
        sql = f"SELECT pycron.{function}($1::jsonb)".encode()
        self.connection.pgconn.send_query_params(sql, [text.encode()])
        self.connection.pgconn.flush()

    def take_answer(self) -> None:
        connection = self.connection.pgconn
        while (result := connection.get_result()) is not None:
            assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message.decode()
            value = json.loads(result.get_value(0, 0) or b"null")
            self.answer = self.parse(Fields(value)) if self.parse else value

    def commit(self) -> None:
        self.connection.execute("COMMIT")
        self.committed = True


@dataclass
class Ended:
    """What a schedule has led to. `order`: the sessions in the order of their commits."""

    answers: list[Any]
    order: list[int]
    choices: list[int] = field(default_factory=list)


class Explorer:
    """Sessions of one server, and the connection that chooses which one goes on."""

    def __init__(self, address: str, sessions: int) -> None:
        self._control = psycopg.connect(address, autocommit=True)
        self._sessions = []
        for slot in range(1, sessions + 1):
            connection = psycopg.connect(address, autocommit=True)
            connection.execute("SELECT set_config('pycron.slot', %s, false)", [str(slot)])
            self._sessions.append(Session(connection, slot))

    def close(self) -> None:
        for session in self._sessions:
            session.connection.close()
        self._control.close()

    def explore(
        self,
        prepare_rows: Callable[[], None],
        wanted: Sequence[calls.Call | tuple[str, dict[str, Any]]],
        *,
        most: int = 100_000,
    ) -> Iterator[Ended]:
        """All interleavings of these calls, each beginning with `prepare_rows`."""
        prefix: list[int] = []
        for _ in range(most):
            prepare_rows()
            ended, open_choices = self._run(wanted, prefix)
            yield ended
            while open_choices and ended.choices[-1] == open_choices[-1][-1]:
                open_choices.pop()
                ended.choices.pop()
            if not open_choices:
                return
            last = open_choices[-1]
            prefix = [*ended.choices[:-1], last[last.index(ended.choices[-1]) + 1]]

    def _run(
        self, wanted: Sequence[calls.Call | tuple[str, dict[str, Any]]], prefix: list[int]
    ) -> tuple[Ended, list[list[int]]]:
        sessions = self._sessions[: len(wanted)]
        self._hold_all(len(wanted))
        for session, call in zip(sessions, wanted, strict=True):
            if isinstance(call, tuple):
                session.parse = None
                session.begin(*call)
            else:
                function, request, session.parse = prepare(call)
                session.begin(function, request)
        order: list[int] = []
        choices: list[int] = []
        possible: list[list[int]] = []
        while len(order) < len(sessions):
            self._wait_until_stable(sessions)
            ready = [i for i, s in enumerate(sessions) if s.state in ("paused", "answered")]
            assert ready, "they wait for each other"
            chosen = prefix[len(choices)] if len(choices) < len(prefix) else ready[0]
            choices.append(chosen)
            possible.append(ready)
            session = sessions[chosen]
            if session.state == "answered":
                session.commit()
                order.append(chosen)
            else:
                self._let_go(session)
        return Ended([session.answer for session in sessions], order, choices), possible

    def _hold_all(self, sessions: int) -> None:
        self._control.execute("SELECT pg_advisory_unlock_all()")
        self._control.execute(
            "SELECT pg_advisory_lock(slot * 1000 + step) FROM generate_series(1, %s) AS slot,"
            " generate_series(0, %s) AS step",
            [sessions, _STEPS],
        )

    def _let_go(self, session: Session) -> None:
        key = session.slot * 1000 + session.step
        self._control.execute("SELECT pg_advisory_unlock(%s)", [key])
        session.step += 1

    def _wait_until_stable(self, sessions: Sequence[Session]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._are_stable(sessions):
            assert time.monotonic() < deadline, [session.state for session in sessions]
            time.sleep(0.0005)

    def _are_stable(self, sessions: Sequence[Session]) -> bool:
        """Whether each session pauses, waits for another one, or has its answer."""
        asked = [session for session in sessions if not session.committed]
        rows = self._control.execute(_WAITS, [[session.pid for session in asked]]).fetchall()
        waits: dict[int, bool | None] = dict(rows)
        for session in sessions:
            if session.committed:
                session.state = "committed"
                continue
            session.connection.pgconn.consume_input()
            if session.answer is not None or not session.connection.pgconn.is_busy():
                if session.answer is None:
                    session.take_answer()
                session.state = "answered"
            elif waits[session.pid] is None:
                return False
            else:
                session.state = "paused" if waits[session.pid] else "blocked"
        return True
